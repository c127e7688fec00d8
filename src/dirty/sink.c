/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where reports go: whatever their page size and alignment, every page of ours
 * that a marked one touches is marked.  What trackers say is not believed to
 * lie within anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirty/bitmap.h"
#include "dirty/sink.h"
#include "util/error.h"

#define PAGE VFM_DIRTY_PAGE_SIZE

struct vfm_dirty_sink {
    struct dirty_target *targets; /* by address */
    size_t *index;                /* of the caller's ranges in these */
    size_t n;
    bool owns_bitmaps;
};

static uint64_t last_of(const struct vfm_dirty_range *r)
{
    return r->address + (r->length - 1);
}

static uint64_t pages_of(const struct vfm_dirty_range *r)
{
    return r->length / PAGE;
}

void vfm_dirty_sink_free(struct vfm_dirty_sink *sink)
{
    if (sink == NULL)
        return;
    for (size_t i = 0; sink->owns_bitmaps && i < sink->n; i++)
        free(sink->targets[i].bitmap);
    free(sink->targets);
    free(sink->index);
    free(sink);
}

static int check_range(const struct vfm_dirty_range *r, struct vfm_error *err)
{
    if (r->length == 0 || r->address % PAGE != 0 || r->length % PAGE != 0 ||
        r->length - 1 > UINT64_MAX - r->address)
        return error_set(
            err, -EINVAL, "dirty: 0x%llx bytes at 0x%llx are no range of pages",
            (unsigned long long)r->length, (unsigned long long)r->address);
    return 0;
}

/* Puts @target in its place among the @sink->n that are there. */
static int insert(struct vfm_dirty_sink *sink,
                  const struct dirty_target *target, struct vfm_error *err)
{
    size_t at = sink->n;

    while (at > 0 &&
           sink->targets[at - 1].range.address > target->range.address)
        at--;
    if ((at > 0 &&
         last_of(&sink->targets[at - 1].range) >= target->range.address) ||
        (at < sink->n &&
         last_of(&target->range) >= sink->targets[at].range.address))
        return error_set(err, -EINVAL,
                         "dirty: the range at 0x%llx overlaps another",
                         (unsigned long long)target->range.address);
    memmove(&sink->targets[at + 1], &sink->targets[at],
            (sink->n - at) * sizeof(*target));
    for (size_t i = 0; i < sink->n; i++)
        sink->index[i] += sink->index[i] >= at;
    sink->targets[at] = *target;
    sink->index[sink->n++] = at;
    return 0;
}

static int fill(struct vfm_dirty_sink *sink, const struct dirty_target *targets,
                size_t n, struct vfm_error *err)
{
    int ret = 0;

    sink->targets = calloc(n + 1, sizeof(*sink->targets));
    sink->index = calloc(n + 1, sizeof(*sink->index));
    if (sink->targets == NULL || sink->index == NULL)
        return error_set(err, -ENOMEM, "dirty: out of memory");
    for (size_t i = 0; ret == 0 && i < n; i++) {
        ret = check_range(&targets[i].range, err);
        if (ret == 0)
            ret = insert(sink, &targets[i], err);
    }
    return ret;
}

int dirty_sink_new_over(const struct dirty_target *targets, size_t n,
                        struct vfm_dirty_sink **sinkp, struct vfm_error *err)
{
    struct vfm_dirty_sink *sink = calloc(1, sizeof(*sink));
    int ret;

    *sinkp = NULL;
    if (sink == NULL)
        return error_set(err, -ENOMEM, "dirty: out of memory");
    ret = fill(sink, targets, n, err);
    if (ret < 0) {
        vfm_dirty_sink_free(sink);
        return ret;
    }
    *sinkp = sink;
    return 0;
}

static int add_bitmaps(struct vfm_dirty_sink *sink, struct vfm_error *err)
{
    sink->owns_bitmaps = true;
    for (size_t i = 0; i < sink->n; i++) {
        size_t words = bitmap_words(pages_of(&sink->targets[i].range));

        /* One more: an empty range is refused, but not by everybody's eyes. */
        sink->targets[i].bitmap = calloc(words + 1, sizeof(uint64_t));
        if (sink->targets[i].bitmap == NULL)
            return error_set(err, -ENOMEM, "dirty: out of memory");
    }
    return 0;
}

int vfm_dirty_sink_new(const struct vfm_dirty_range *ranges, size_t n,
                       struct vfm_dirty_sink **sinkp, struct vfm_error *err)
{
    struct dirty_target *targets = calloc(n + 1, sizeof(*targets));
    int ret;

    *sinkp = NULL;
    if (targets == NULL)
        return error_set(err, -ENOMEM, "dirty: out of memory");
    for (size_t i = 0; i < n; i++)
        targets[i].range = ranges[i];
    ret = dirty_sink_new_over(targets, n, sinkp, err);
    free(targets);
    if (ret == 0)
        ret = add_bitmaps(*sinkp, err);
    if (ret < 0) {
        vfm_dirty_sink_free(*sinkp);
        *sinkp = NULL;
    }
    return ret;
}

/* The first target that ends at or behind @address; n if there is none. */
static size_t find(const struct vfm_dirty_sink *sink, uint64_t address)
{
    size_t low = 0;
    size_t high = sink->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (last_of(&sink->targets[middle].range) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Marks the pages of one target that have a byte from @first to @last. */
static void mark_target(const struct dirty_target *t, uint64_t first,
                        uint64_t last)
{
    uint64_t begin = t->range.address;
    uint64_t end = last_of(&t->range);

    first = first > begin ? first : begin;
    last = last < end ? last : end;
    bitmap_set_range(t->bitmap, t->first_bit + (first - begin) / PAGE,
                     (last - begin) / PAGE - (first - begin) / PAGE + 1);
}

static void mark_bytes(struct vfm_dirty_sink *sink, uint64_t first,
                       uint64_t last)
{
    for (size_t i = find(sink, first);
         i < sink->n && sink->targets[i].range.address <= last; i++)
        mark_target(&sink->targets[i], first, last);
}

void vfm_dirty_mark_range(struct vfm_dirty_sink *sink, uint64_t address,
                          uint64_t length)
{
    if (length > UINT64_MAX - address)
        length = UINT64_MAX - address + (address == 0 ? 0 : 1);
    if (length > 0)
        mark_bytes(sink, address, address + (length - 1));
}

/* Pages like ours: bitmaps are merged, target by target. */
static void merge_pages(struct vfm_dirty_sink *sink, uint64_t address,
                        const uint64_t *bitmap, uint64_t num_pages)
{
    uint64_t last = address + (num_pages * PAGE - 1);

    for (size_t i = find(sink, address);
         i < sink->n && sink->targets[i].range.address <= last; i++) {
        const struct dirty_target *t = &sink->targets[i];
        uint64_t begin =
            t->range.address > address ? t->range.address : address;
        uint64_t end = last_of(&t->range) < last ? last_of(&t->range) : last;

        bitmap_merge(t->bitmap,
                     t->first_bit + (begin - t->range.address) / PAGE, bitmap,
                     (begin - address) / PAGE, (end - begin) / PAGE + 1);
    }
}

/* The last byte of page @page, or the last there is. */
static uint64_t last_byte(uint64_t address, uint64_t page_size, uint64_t page)
{
    uint64_t end;

    if (__builtin_mul_overflow(page, page_size, &end) ||
        __builtin_add_overflow(end, address, &end) ||
        page_size - 1 > UINT64_MAX - end)
        return UINT64_MAX;
    return end + (page_size - 1);
}

/* Others: runs of marked pages are ranges of bytes. */
static void mark_runs(struct vfm_dirty_sink *sink, uint64_t address,
                      uint64_t page_size, const uint64_t *bitmap,
                      uint64_t num_pages)
{
    uint64_t page = bitmap_next(bitmap, 0, num_pages);

    while (page < num_pages) {
        uint64_t end = bitmap_next_zero(bitmap, page, num_pages);

        mark_bytes(sink, address + page * page_size,
                   last_byte(address, page_size, end - 1));
        page = bitmap_next(bitmap, end, num_pages);
    }
}

void vfm_dirty_mark(struct vfm_dirty_sink *sink, uint64_t address,
                    uint64_t page_size, const uint64_t *bitmap,
                    uint64_t num_pages)
{
    uint64_t most;

    if (page_size == 0)
        return; /* such pages have no bytes */
    /* No address is beyond 2^64: bits for what lies there say nothing. */
    most = (UINT64_MAX - address) / page_size + 1;
    if (most != 0 && num_pages > most)
        num_pages = most;
    if (num_pages == 0)
        return;
    if (page_size == PAGE && address % PAGE == 0)
        merge_pages(sink, address, bitmap, num_pages);
    else
        mark_runs(sink, address, page_size, bitmap, num_pages);
}

uint64_t *vfm_dirty_sink_bitmap(struct vfm_dirty_sink *sink, size_t index)
{
    return index < sink->n ? sink->targets[sink->index[index]].bitmap : NULL;
}

uint64_t vfm_dirty_sink_count(const struct vfm_dirty_sink *sink)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < sink->n; i++) {
        const struct dirty_target *t = &sink->targets[i];

        sum += bitmap_count(t->bitmap, t->first_bit, pages_of(&t->range));
    }
    return sum;
}

void vfm_dirty_sink_clear(struct vfm_dirty_sink *sink)
{
    for (size_t i = 0; i < sink->n; i++) {
        const struct dirty_target *t = &sink->targets[i];

        bitmap_clear_range(t->bitmap, t->first_bit, pages_of(&t->range));
    }
}
