/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_TRACKING_H
#define VFM_SRC_MIGRATION_TRACKING_H

/*
 * Who is asked what was written to memory: the trackers that the caller gave,
 * and the devices' own logs.  All are asked at the same time, so that asking
 * takes as long as the slowest.
 *
 * What a failure means is decided here, once:
 *   a tracker of the processors cannot be started   the migration fails
 *   a device's cannot                               the device is untracked
 *   a report fails                                  all counts as written
 *   it cannot be stopped                            a warning
 */

#include <vfmig/dirty.h>

#include "migration/member.h"

/* The caller's, and a log for each device. */
#define TRACKERS_MAX (2 * VFM_DEVICES_MAX)

struct vfm_migration;
struct tracked;

/* What one tracker is asked to do: 0, -EAGAIN, or an error that ends the
 * migration. */
typedef int tracked_fn(struct vfm_migration *m, struct tracked *t,
                       struct vfm_error *err);

struct tracked {
    struct vfm_dirty_tracker *tracker;
    const struct member *member; /* NULL: the processors, the VMM */
    bool is_ours;                /* made here, freed here */
    bool started;
    bool under_way; /* what all are asked to do, this one has not done */
};

struct tracking {
    struct tracked trackers[TRACKERS_MAX];
    unsigned int count;
    bool prepared;   /* for the devices, too */
    tracked_fn *ask; /* what all are asked to do; NULL: nothing */
    uint32_t failures;
};

/* Returns 0, -ENOENT or -E2BIG, as vfm_migration_add_tracker(). */
int tracking_add(struct vfm_migration *m, struct vfm_dirty_tracker *tracker,
                 const struct vfm_device *dev, struct vfm_error *err);

/* Each returns 0 when all trackers have done it, -EAGAIN, or an error that ends
 * the migration.  The first also finds out what nobody tracks. */
int tracking_start(struct vfm_migration *m, struct vfm_error *err);
int tracking_report(struct vfm_migration *m, struct vfm_error *err);
int tracking_stop(struct vfm_migration *m);

/* Waits for what is under way, whatever it comes to.  0 or -EAGAIN. */
int tracking_settle(struct vfm_migration *m);

void tracking_close(struct tracking *t);

#endif
