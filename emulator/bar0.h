/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_BAR0_H
#define VFM_EMULATOR_BAR0_H

/* The device's registers (registers.h), as words of four bytes. */

#include <stdint.h>

#include "emulator/device.h"

/* @offset is a multiple of 4.  device_advance() must have been called. */
uint32_t bar0_read(const struct device *d, uint32_t offset);
void bar0_write(struct device *d, uint32_t offset, uint32_t value);

#endif
