/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DIRTY_SINK_H
#define VFM_SRC_DIRTY_SINK_H

/*
 * Where trackers report to: ranges of addresses, and a bitmap for each, which
 * may be a part of a larger one that somebody else owns.
 */

#include <vfmig/dirty.h>

/* The pages of @range are the bits of @bitmap from @first_bit on. */
struct dirty_target {
    struct vfm_dirty_range range;
    uint64_t *bitmap;
    uint64_t first_bit;
};

/* Makes a sink over the caller's bitmaps, which must outlive it.  Several
 * ranges may share one.  Fails as vfm_dirty_sink_new(). */
int dirty_sink_new_over(const struct dirty_target *targets, size_t n,
                        struct vfm_dirty_sink **sinkp, struct vfm_error *err);

#endif
