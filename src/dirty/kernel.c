/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirty/bitmap.h"
#include "dirty/kernel.h"
#include "util/error.h"

int kernel_failed(struct vfm_error *err, int ret, const char *what)
{
    return error_set(err, ret, "%s: %s", what, strerror(-ret));
}

int kernel_tracker_new(const struct vfm_dirty_ops *ops, void *opaque,
                       struct vfm_dirty_tracker **trackerp,
                       struct vfm_error *err)
{
    struct vfm_dirty_ops sized = *ops;
    int ret;

    *trackerp = NULL;
    if (opaque == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", ops->name);
    sized.size = sizeof(sized);
    ret = vfm_dirty_tracker_new(&sized, opaque, trackerp, err);
    if (ret < 0)
        sized.free(opaque);
    return ret;
}

int kernel_ranges_set(struct kernel_ranges *kr,
                      const struct vfm_dirty_range *ranges, size_t n)
{
    kernel_ranges_free(kr);
    kr->ranges = calloc(n + 1, sizeof(*ranges));
    if (kr->ranges == NULL)
        return -ENOMEM;
    if (n > 0)
        memcpy(kr->ranges, ranges, n * sizeof(*ranges));
    kr->n = n;
    return 0;
}

void kernel_ranges_free(struct kernel_ranges *kr)
{
    free(kr->ranges);
    *kr = (struct kernel_ranges){ 0 };
}

/* The most that is asked for at once. */
static uint64_t largest_piece(const struct kernel_ranges *kr,
                              uint64_t page_size, uint64_t max_pages)
{
    uint64_t pages = 0;

    for (size_t i = 0; i < kr->n; i++)
        if (kr->ranges[i].length / page_size > pages)
            pages = kr->ranges[i].length / page_size;
    return pages < max_pages ? pages : max_pages;
}

static int report_range(const struct vfm_dirty_range *range, uint64_t page_size,
                        uint64_t piece_pages, uint64_t *bitmap,
                        kernel_get_fn *get, void *opaque,
                        struct vfm_dirty_sink *sink)
{
    for (uint64_t at = 0; at < range->length;) {
        uint64_t left = range->length - at;
        uint64_t max = piece_pages * page_size;
        uint64_t length = left < max ? left : max;
        uint64_t pages = length / page_size;
        size_t bytes = bitmap_words(pages) * sizeof(*bitmap);
        int ret;

        memset(bitmap, 0, bytes);
        ret = get(opaque, range->address + at, length, bitmap, bytes);
        if (ret < 0)
            return ret;
        vfm_dirty_mark(sink, range->address + at, page_size, bitmap, pages);
        at += length;
    }
    return 0;
}

int kernel_report(const struct kernel_ranges *kr, uint64_t page_size,
                  uint64_t max_pages, kernel_get_fn *get, void *opaque,
                  struct vfm_dirty_sink *sink)
{
    uint64_t pages = largest_piece(kr, page_size, max_pages);
    uint64_t *bitmap = malloc((bitmap_words(pages) + 1) * sizeof(*bitmap));
    int ret = bitmap == NULL ? -ENOMEM : 0;

    for (size_t i = 0; i < kr->n && ret == 0; i++)
        ret = report_range(&kr->ranges[i], page_size, pages, bitmap, get,
                           opaque, sink);
    free(bitmap);
    return ret;
}
