/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_REGION_H
#define VFM_EMULATOR_REGION_H

/*
 * The regions of the device and accesses to them: registers.h says what is
 * in them.
 */

#include <stdint.h>

#include "emulator/device.h"

/* Bytes of region @index; 0: the device does not have it. */
uint64_t region_size(const struct device *d, uint32_t index);

/* May the client map parts of it? */
bool region_is_mappable(const struct device *d, uint32_t index);

/* Return 0, or -EINVAL for an access that is not inside a region. */
int region_read(struct device *d, uint32_t index, uint64_t offset, void *to,
                uint32_t size);
int region_write(struct device *d, uint32_t index, uint64_t offset,
                 const void *from, uint32_t size);

#endif
