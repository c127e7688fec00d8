/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DEVICE_STATE_H
#define VFM_SRC_DEVICE_STATE_H

#include <stdbool.h>

#include <vfmig/device.h>

#define NUM_STATES 8

enum session {
    SESSION_NONE,
    SESSION_SAVE,
    SESSION_LOAD,
};

/* The kind of session a device in @state has. */
enum session state_session(enum vfm_state state);

/* Whether the device does its work in @state. */
bool state_is_running(enum vfm_state state);

/* Whether a device with the VFM_MIGRATION_* bits @migration has @state. */
bool state_exists(enum vfm_state state, uint64_t migration);

/*
 * The state after the first step of the move @from -> @to, for a device with
 * the VFM_MIGRATION_* bits @migration; ERROR if the move is refused.  Walked
 * to its end it gives the uAPI's path of a combined transition: the shortest,
 * with no saving state inside it, P2P states skipped where there are none.
 */
enum vfm_state state_next(enum vfm_state from, enum vfm_state to,
                          uint64_t migration);

#endif
