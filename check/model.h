/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_MODEL_H
#define VFM_CHECK_MODEL_H

/*
 * The kernel uAPI's states and arcs, written down a second time, from the uAPI
 * and not from the library: what a device is held against by `vfmig check`,
 * the library's own table by its tests, and what their fake device lives by.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/device.h>

#define MODEL_STATES 8

struct model_path {
    enum vfm_state steps[MODEL_STATES]; /* without the first, with the last */
    unsigned int len;
    unsigned int ways; /* how many paths are as short */
};

/* Whether a device of these features has @state. */
bool model_has(enum vfm_state state, uint64_t migration);
bool model_saves(enum vfm_state state);
bool model_runs(enum vfm_state state);
/* Whether @from -> @to is one step. */
bool model_is_arc(enum vfm_state from, enum vfm_state to, uint64_t migration);

/* The shortest path; false if the uAPI refuses the transition. */
bool model_find_path(enum vfm_state from, enum vfm_state to, uint64_t migration,
                     struct model_path *path);

#endif
