/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_MIGRATION_H
#define VFM_EMULATOR_MIGRATION_H

/*
 * The parts of migration.c, for mutants that put them together wrongly.
 */

#include <stddef.h>
#include <stdint.h>

#include "emulator/device.h"

/* One step to @to.  Returns 0 or a negative errno. */
int migration_step(struct device *d, uint32_t to);

/* Ends up in @state by no way at all. */
void migration_leave_in(struct device *d, uint32_t state);

void migration_begin_saving(struct device *d);
void migration_begin_loading(struct device *d);

/* Sets up the saver, or the loader, for the state of this device. */
void migration_open_saver(struct device *d);
void migration_open_loader(struct device *d);

/* What the session gives; 0: nothing now. */
size_t migration_read(struct device *d, void *buf, size_t size);

#endif
