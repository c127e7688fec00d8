/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DIRTY_KERNEL_H
#define VFM_SRC_DIRTY_KERNEL_H

/*
 * What trackers that ask the kernel have in common.
 */

#include <vfmig/dirty.h>

/* Sets @err to @what and what @ret, a negative errno value, stands for. */
int kernel_failed(struct vfm_error *err, int ret, const char *what);

/* A tracker of functions that the library itself has: @ops needs no size. Takes
 * @opaque, which may be NULL for want of memory, and frees it if it fails. */
int kernel_tracker_new(const struct vfm_dirty_ops *ops, void *opaque,
                       struct vfm_dirty_tracker **trackerp,
                       struct vfm_error *err);

/* The ranges that a tracker was started for. */
struct kernel_ranges {
    struct vfm_dirty_range *ranges;
    size_t n;
};

/* Copies them. */
int kernel_ranges_set(struct kernel_ranges *kr,
                      const struct vfm_dirty_range *ranges, size_t n);
void kernel_ranges_free(struct kernel_ranges *kr);

/* Asks for @length bytes from @address on; @bitmap is all zeroes. */
typedef int kernel_get_fn(void *opaque, uint64_t address, uint64_t length,
                          uint64_t *bitmap, size_t bitmap_bytes);

/* Pieces of this many pages keep the bitmap small. */
#define KERNEL_PIECE_PAGES (UINT64_C(1) << 22)

/* Asks for all of @kr, at most @max_pages of @page_size at a time, and marks
 * what the answer says.  0 or a negative errno value. */
int kernel_report(const struct kernel_ranges *kr, uint64_t page_size,
                  uint64_t max_pages, kernel_get_fn *get, void *opaque,
                  struct vfm_dirty_sink *sink);

#endif
