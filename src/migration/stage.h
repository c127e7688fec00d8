/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_STAGE_H
#define VFM_SRC_MIGRATION_STAGE_H

#include "migration/migration.h"

/*
 * The functions of the table of stages.  Each is called until it returns 0,
 * which ends the stage, or an error, which ends the migration; -EAGAIN waits.
 */
typedef int stage_fn(struct vfm_migration *m, struct vfm_error *err);

stage_fn source_hello, target_hello;
stage_fn source_setup, target_setup;
stage_fn source_pre_copy, target_pre_copy;
stage_fn source_stop;
stage_fn source_pre_switchover;
stage_fn source_complete, target_complete;
stage_fn target_check;
stage_fn source_loaded, target_loaded;
stage_fn source_yours, target_yours;
stage_fn source_start, target_start;
stage_fn source_cleanup, target_cleanup;

#endif
