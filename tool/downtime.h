/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_DOWNTIME_H
#define VFM_TOOL_DOWNTIME_H

/*
 * What the downtime went to, as a table and as JSON: by stage and cause here,
 * and while the other side was waited for, by cause there.  All of it, to the
 * nanosecond.
 */

#include <stdio.h>

#include <vfmig/migration.h>

struct json_tree;

/* Prints the table on @out; nothing if nothing stood still. */
void downtime_print(const struct vfm_migration *m, FILE *out);

/* Adds "stages_causes_ns", "there_ns" and "named" to @downtime. */
void downtime_add(struct json_tree *downtime, const struct vfm_spent *spent);

/* What each cause took. */
struct json_tree *downtime_causes(const uint64_t ns[VFM_CAUSES_MAX]);

#endif
