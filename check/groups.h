/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_GROUPS_H
#define VFM_CHECK_GROUPS_H

#include "check/check.h"

/* A table per group, each in the file of its name; ends with a row without a
 * name. */
extern const struct check checks_features[];
extern const struct check checks_states[];
extern const struct check checks_loads[];
extern const struct check checks_refusals[];
extern const struct check checks_resets[];
extern const struct check checks_repeats[];
extern const struct check checks_registers[];
extern const struct check checks_dma[];
extern const struct check checks_logs[];
extern const struct check checks_log_errors[];
extern const struct check checks_interrupts[];
extern const struct check checks_sessions[];
extern const struct check checks_pieces[];
extern const struct check checks_precopy[];
extern const struct check checks_estimates[];
extern const struct check checks_timing[];

#endif
