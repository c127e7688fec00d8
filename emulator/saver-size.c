/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much a saving session still has to say: exact as long as the device
 * rewrites nothing meanwhile.  Follows the rules of saver.c for where frames
 * are cut.
 */
#include "emulator/saver.h"

/* Pages [@first, @end) of one kind. */
static uint64_t run_bytes(uint64_t first, uint64_t end, size_t page_bytes)
{
    uint64_t pages = end > first ? end - first : 0;
    uint64_t frames = (pages + STREAM_FRAME_PAGES - 1) / STREAM_FRAME_PAGES;

    return pages * page_bytes + frames * STREAM_OVERHEAD;
}

/* Pages [@first, @end). */
static uint64_t pages_bytes(const struct memory *m, uint64_t first,
                            uint64_t end)
{
    uint64_t hot = memory_first_hot(m);

    return run_bytes(first, end < hot ? end : hot, EDEV_PAGE_SIZE) +
           run_bytes(first > hot ? first : hot, end,
                     EDEV_PAGE_SIZE + sizeof(uint32_t));
}

static uint64_t final_bytes(size_t msix_size)
{
    return sizeof(struct stream_registers) + EDEV_BAR2_SIZE + msix_size +
           sizeof(struct stream_end) + 4 * STREAM_OVERHEAD;
}

static uint64_t frame_left(const struct saver *s)
{
    return s->in_frame ? s->frame.length + STREAM_OVERHEAD - s->at : 0;
}

/* Pages that were sent and rewritten since, in the order of the search. */
static uint64_t rewritten_bytes(const struct saver *s)
{
    uint64_t first = memory_first_hot(s->memory);
    uint64_t hot = s->memory->hot_size / EDEV_PAGE_SIZE;
    uint64_t bytes = 0, run = 0;

    for (uint64_t i = 0; i < hot; i++) {
        uint64_t h = (s->scan + i) % hot;
        uint32_t now = (uint32_t)memory_generation(s->memory, first + h) + 1;
        bool dirty = s->sent[h] != 0 && s->sent[h] != now;

        if (run > 0 && (!dirty || h == 0 || run == STREAM_FRAME_PAGES)) {
            bytes += run_bytes(0, run, EDEV_PAGE_SIZE + sizeof(uint32_t));
            run = 0;
        }
        run += dirty;
    }
    return bytes + run_bytes(0, run, EDEV_PAGE_SIZE + sizeof(uint32_t));
}

uint64_t saver_initial_bytes(const struct saver *s)
{
    uint64_t bytes = 0;

    if (s->in_frame && s->frame_is_initial)
        bytes += frame_left(s);
    if (s->stage == SAVER_HEADER)
        bytes += sizeof(struct stream_header) + STREAM_OVERHEAD;
    if (s->stage <= SAVER_INITIAL)
        bytes += pages_bytes(s->memory, s->initial, s->initial_pages);
    return bytes;
}

uint64_t saver_dirty_bytes(const struct saver *s)
{
    uint64_t from = s->bulk > s->initial_pages ? s->bulk : s->initial_pages;
    uint64_t bytes = 0;

    if (s->in_frame && !s->frame_is_initial)
        bytes += frame_left(s);
    if (s->stage <= SAVER_BULK)
        bytes += pages_bytes(s->memory, from, memory_num_pages(s->memory));
    if (s->stage <= SAVER_DIRTY)
        bytes += rewritten_bytes(s);
    return bytes;
}

uint64_t saver_left(const struct saver *s)
{
    static const size_t small[] = {
        [SAVER_REGISTERS] = sizeof(struct stream_registers),
        [SAVER_BAR2] = EDEV_BAR2_SIZE,
        [SAVER_END] = sizeof(struct stream_end),
    };
    uint64_t bytes = saver_initial_bytes(s) + saver_dirty_bytes(s);

    for (unsigned i = SAVER_REGISTERS; i <= SAVER_END; i++)
        if (i >= s->stage)
            bytes +=
                STREAM_OVERHEAD + (i == SAVER_MSIX ? s->msix_size : small[i]);
    return bytes;
}

uint64_t saver_total(const struct memory *m, uint64_t initial_size,
                     size_t msix_size)
{
    uint64_t pages = memory_num_pages(m);
    uint64_t initial = initial_size / EDEV_PAGE_SIZE;

    if (initial > pages)
        initial = pages;
    return sizeof(struct stream_header) + STREAM_OVERHEAD +
           pages_bytes(m, 0, initial) + pages_bytes(m, initial, pages) +
           final_bytes(msix_size);
}
