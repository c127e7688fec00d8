/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DIRTY_TRACKER_H
#define VFM_SRC_DIRTY_TRACKER_H

/*
 * A tracker from inside.
 *
 *   tracker.c        what holds for all of them
 *   device-log.c     the one that speaks to a device, through its backend
 *   tracker-*.c      those that ask the kernel; kernel.c, kvm.c what they share
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

/* What vfm_dirty_tracker_collect() does with a tracker's opaque. */
typedef int dirty_collect_fn(void *opaque, struct vfm_error *err);
void dirty_tracker_set_collect(struct vfm_dirty_tracker *tracker,
                               dirty_collect_fn *collect);

#endif
