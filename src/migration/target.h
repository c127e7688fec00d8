/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_TARGET_H
#define VFM_SRC_MIGRATION_TARGET_H

/*
 * What the stages of a target share.
 */

#include "migration/migration.h"
#include "migration/stage.h"

/* target-load.c: takes the stream until @until says stop, or it is over; 0
 * then. */
typedef bool until_fn(const struct vfm_migration *m);
int target_load(struct vfm_migration *m, until_fn *until,
                struct vfm_error *err);

/* target-use.c: does what m->target.event says.  0 when it is used up,
 * -EAGAIN, or an error. */
int target_use_event(struct vfm_migration *m, struct vfm_error *err);

/* target-tell.c: tells the source now and then how far we are. */
void target_tell_progress(struct vfm_migration *m);
/* Tells the source what was done when, if it wants to know.  Returns 0 when all
 * was sent, -EAGAIN, or an error. */
int target_tell_spans(struct vfm_migration *m);

#endif
