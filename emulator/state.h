/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_STATE_H
#define VFM_EMULATOR_STATE_H

/*
 * The migration states of the emulated device and the ways between them.
 *
 * Written from the kernel's rules, and on purpose not from the library's
 * table: the two check each other.  States are the numbers UAPI_STATE_*.
 *
 * Threads: pure functions.
 */

#include <stdbool.h>
#include <stdint.h>

/* No path is longer: RESUMING, STOP, RUNNING_P2P, RUNNING, PRE_COPY. */
#define STATE_PATH_MAX 8

/* "RUNNING", or "?" for a number that is no state. */
const char *state_name(uint32_t state);

/* The number of the state called @name; -EINVAL if there is none. */
int state_parse(const char *name);

/* Does a device with these abilities have the state at all? */
bool state_exists(uint32_t state, bool pre_copy, bool p2p);

/* Does the device work (count, rewrite its memory) in this state? */
bool state_runs(uint32_t state);

/* May the device access guest memory in this state? */
bool state_does_dma(uint32_t state);

bool state_saves(uint32_t state);

/*
 * Finds the way from @from to @to: the shortest, over saving states only if
 * both ends are saving states, for a device with or without P2P states.
 *
 * Returns the number of steps and fills @path with the states they lead to;
 * 0 if @from is @to; -EINVAL if there is no way.
 */
int state_path(uint32_t from, uint32_t to, bool p2p,
               uint32_t path[STATE_PATH_MAX]);

#endif
