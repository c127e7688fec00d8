/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DIRTY_TRACKER_H
#define VFM_SRC_DIRTY_TRACKER_H

/*
 * A tracker from inside.
 *
 *   tracker.c        what holds for all of them
 *   device-log.c     the one that speaks to a device
 *   sink.c           where they report to
 *   bitmap.c         bits
 */

#include <vfmig/dirty.h>

/*
 * The public functions without waiting: -EAGAIN until they are over, called
 * again with the same arguments.  One at a time.
 *
 * A report that fails marks all that the tracker was started for.  A tracker
 * that was told to stop is stopped, even if that failed.
 */
int dirty_tracker_start(struct vfm_dirty_tracker *tracker,
                        const struct vfm_dirty_range *ranges, size_t n,
                        struct vfm_error *err);
int dirty_tracker_report(struct vfm_dirty_tracker *tracker,
                         struct vfm_dirty_sink *sink, struct vfm_error *err);
int dirty_tracker_stop(struct vfm_dirty_tracker *tracker,
                       struct vfm_error *err);

#endif
