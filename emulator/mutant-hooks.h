/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_MUTANT_HOOKS_H
#define VFM_EMULATOR_MUTANT_HOOKS_H

/*
 * What mutants do that would bend the correct code.  A device that is none is
 * left alone by all of these.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "emulator/device.h"

/*
 * States (mutant-state.c).
 */

/* Does the bug decide what becomes of a change of state?  Then *@ret. */
bool mutant_sets_state(struct device *d, uint32_t want, int *ret);

/* After a step from @from, and before or after the device runs. */
void mutant_stepped(struct device *d, uint32_t from);
void mutant_starts(struct device *d);
void mutant_stopped(struct device *d);

/* What the device says its state is. */
uint32_t mutant_told_state(struct device *d);

/* Does the bug do without a reset?  And what does one not reset? */
bool mutant_stays_unreset(const struct device *d);
void mutant_was_reset(struct device *d, const struct stream_registers *before);

/* Is there no session for a step to @to? */
bool mutant_is_out_of_sessions(struct device *d, uint32_t to);

/*
 * Saving (mutant-save.c).
 */

/* Does the bug begin the session, instead of the saver? */
bool mutant_begins_saving(struct device *d);

/* Does the session go on after @from, which it belonged to? */
bool mutant_keeps_session(struct device *d, uint32_t from);

bool mutant_allows_read(const struct device *d);
bool mutant_allows_info(const struct device *d);

/* Returns what a read gives, or a negative errno. */
ssize_t mutant_read(struct device *d, void *buf, size_t size);

/* Spoil what is saved, and what is told of it. */
void mutant_spoil_image(const struct device *d, struct image *image);
uint64_t mutant_data_size(const struct device *d, uint64_t right);
void mutant_spoil_info(const struct device *d, struct vfu_precopy_info *info);

/*
 * Loading (mutant-load.c).
 */

/* Does the bug go on with what was written in an earlier session? */
bool mutant_begins_loading(struct device *d);

/* Does a write succeed, and do nothing, in this state? */
bool mutant_allows_write(const struct device *d);

/* How many of @size bytes are taken. */
size_t mutant_written(const struct device *d, size_t size);

/* Is a load taken that is to be refused?  Then the loader's result is what
 * the device shall become. */
bool mutant_takes_load(struct device *d);

/* After a load was refused. */
void mutant_refused_load(struct device *d);

/* After the device has become what was loaded; @before: what it was. */
void mutant_spoil_load(struct device *d, const struct stream_registers *before);

#endif
