/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_SPENT_H
#define VFM_SRC_MIGRATION_SPENT_H

/*
 * What a migration spends its time on.
 *
 * At every moment there is one cause, so that what is told adds up to the time
 * that has passed: to the downtime, too.  A dispatch is our own time where it
 * calls nobody who may keep it waiting; between two of them somebody is waited
 * for.
 */

#include <stdint.h>

#include <vfmig/migration.h>

#define CAUSES (VFM_CAUSE_LOOP + 1)

struct spent {
    enum vfm_cause cause; /* since when: at */
    int64_t at;           /* 0: it has not begun */
    int64_t began_at;
    uint64_t stage_ns[VFM_STAGE_DONE][CAUSES];
    uint64_t total_ns[CAUSES];
    uint64_t before_ns[CAUSES]; /* of the total, when the VM stopped */
    uint64_t stage_before_ns[VFM_STAGE_DONE][CAUSES];
    uint64_t downtime_ns[CAUSES];
    uint64_t stopped_ns[VFM_STAGE_DONE][CAUSES];
};

/* From now on it is @cause; what went before is added to @stage. */
void spent_on(struct spent *spent, enum vfm_stage stage, enum vfm_cause cause);

/* Up to @ns of what was spent on the peer in stage @from belong to stage @to.
 */
void spent_move(struct spent *spent, enum vfm_stage from, enum vfm_stage to,
                uint64_t ns);

/* The VM is about to stop; it runs.  Both at the time of the last spent_on(),
 * which they return. */
int64_t spent_stopped(struct spent *spent);
int64_t spent_started(struct spent *spent);

#endif
