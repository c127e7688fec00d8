/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saving: decides which frame comes next and produces its bytes.
 *
 * Pages are generated straight into the reader's buffer and hashed while
 * they are in the cache.  How much is left is computed in saver-size.c.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/saver.h"
#include "util/pages.h"

int saver_init(struct saver *s, const struct memory *m)
{
    uint64_t hot = m->hot_size / EDEV_PAGE_SIZE;

    *s = (struct saver){ .memory = m };
    s->small = pages_new(STREAM_SMALL_MAX);
    s->sent = calloc(hot > 0 ? hot : 1, sizeof(*s->sent));
    s->hash = XXH3_createState();
    if (s->small == NULL || s->sent == NULL || s->hash == NULL) {
        saver_free(s);
        return -ENOMEM;
    }
    return 0;
}

void saver_free(struct saver *s)
{
    free(s->small);
    free(s->sent);
    XXH3_freeState(s->hash);
    *s = (struct saver){ 0 };
}

void saver_begin(struct saver *s, const struct stream_header *header,
                 uint64_t initial_size, uint64_t reinit_after)
{
    uint64_t pages = memory_num_pages(s->memory);
    uint64_t hot = s->memory->hot_size / EDEV_PAGE_SIZE;

    s->active = true;
    s->header = *header;
    s->initial_pages = initial_size / EDEV_PAGE_SIZE;
    if (s->initial_pages > pages)
        s->initial_pages = pages;
    s->reinit_after = reinit_after;
    s->msix_size = (size_t)header->vectors * 16;
    s->stage = SAVER_HEADER;
    s->initial = s->bulk = s->scan = 0;
    s->reinit_done = s->reinit = false;
    s->sequence = s->bytes = 0;
    s->in_frame = false;
    memset(s->sent, 0, hot * sizeof(*s->sent));
}

void saver_end(struct saver *s)
{
    s->active = false;
    s->in_frame = false;
}

static void begin_frame(struct saver *s, enum stream_type type, uint64_t offset,
                        uint64_t length)
{
    s->frame = (struct stream_frame){
        .magic = STREAM_MAGIC,
        .type = type,
        .sequence = s->sequence++,
        .offset = offset,
        .length = length,
    };
    s->in_frame = true;
    s->frame_is_initial = s->stage <= SAVER_INITIAL;
    s->at = 0;
    XXH3_64bits_reset(s->hash);
}

static void begin_small(struct saver *s, enum stream_type type,
                        const void *payload, size_t length)
{
    assert(length <= STREAM_SMALL_MAX);
    memcpy(s->small, payload, length);
    begin_frame(s, type, 0, length);
}

/* Begins a frame of at most @count pages; returns how many it has. */
static uint64_t begin_pages(struct saver *s, uint64_t first, uint64_t count)
{
    uint64_t hot = memory_first_hot(s->memory);
    uint64_t n = count < STREAM_FRAME_PAGES ? count : STREAM_FRAME_PAGES;

    if (first < hot) {
        n = n < hot - first ? n : hot - first;
        begin_frame(s, STREAM_COLD, first * EDEV_PAGE_SIZE, n * EDEV_PAGE_SIZE);
        return n;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint32_t g = (uint32_t)memory_generation(s->memory, first + i);

        s->generations[i] = g;
        s->sent[first + i - hot] = g + 1;
    }
    begin_frame(s, STREAM_HOT, first * EDEV_PAGE_SIZE,
                n * (EDEV_PAGE_SIZE + sizeof(uint32_t)));
    return n;
}

static bool is_dirty(const struct saver *s, uint64_t hot_page)
{
    uint64_t page = memory_first_hot(s->memory) + hot_page;

    return s->sent[hot_page] !=
           (uint32_t)memory_generation(s->memory, page) + 1;
}

/* Begins a frame of pages rewritten since they were sent, if there are. */
static bool begin_dirty(struct saver *s)
{
    uint64_t hot = s->memory->hot_size / EDEV_PAGE_SIZE;

    for (uint64_t seen = 0; seen < hot; seen++) {
        uint64_t page = s->scan;
        uint64_t run = 0;

        while (page + run < hot && run < STREAM_FRAME_PAGES &&
               is_dirty(s, page + run))
            run++;
        s->scan = (page + (run > 0 ? run : 1)) % hot;
        if (run > 0) {
            begin_pages(s, memory_first_hot(s->memory) + page, run);
            return true;
        }
    }
    return false;
}

static bool begin_initial(struct saver *s)
{
    if (s->initial < s->initial_pages) {
        s->initial += begin_pages(s, s->initial, s->initial_pages - s->initial);
        return true;
    }
    if (s->bulk < s->initial_pages)
        s->bulk = s->initial_pages;
    s->stage = SAVER_BULK;
    return false;
}

static bool begin_bulk(struct saver *s)
{
    uint64_t pages = memory_num_pages(s->memory);

    if (s->bulk < pages) {
        s->bulk += begin_pages(s, s->bulk, pages - s->bulk);
        return true;
    }
    s->stage = SAVER_DIRTY;
    return false;
}

static bool begin_final(struct saver *s, const struct image *stopped)
{
    struct stream_end end = { .frames = s->sequence, .bytes = s->bytes };

    switch (s->stage++) {
    case SAVER_REGISTERS:
        begin_small(s, STREAM_REGISTERS, &stopped->registers,
                    sizeof(stopped->registers));
        return true;
    case SAVER_BAR2:
        begin_small(s, STREAM_BAR2, stopped->bar2, EDEV_BAR2_SIZE);
        return true;
    case SAVER_MSIX:
        begin_small(s, STREAM_MSIX, stopped->msix, stopped->msix_size);
        return true;
    default:
        begin_small(s, STREAM_END, &end, sizeof(end));
        return true;
    }
}

/* New initial data appears, once, while the device runs. */
static bool reinit_is_due(const struct saver *s, const struct image *stopped)
{
    return stopped == NULL && s->reinit_after > 0 && !s->reinit_done &&
           (s->stage == SAVER_BULK || s->stage == SAVER_DIRTY) &&
           s->bytes >= s->reinit_after;
}

static void start_reinit(struct saver *s)
{
    s->reinit_done = s->reinit = true;
    s->initial = 0;
    s->stage = SAVER_HEADER;
}

/* Begins the next frame; false: there is none now. */
static bool next_frame(struct saver *s, const struct image *stopped)
{
    if (reinit_is_due(s, stopped))
        start_reinit(s);
    if (s->stage == SAVER_HEADER) {
        begin_small(s, STREAM_HEADER, &s->header, sizeof(s->header));
        s->stage = SAVER_INITIAL;
        return true;
    }
    if (s->stage == SAVER_INITIAL && begin_initial(s))
        return true;
    s->reinit = false;
    if (s->stage == SAVER_BULK && begin_bulk(s))
        return true;
    if (s->stage == SAVER_DIRTY) {
        if (begin_dirty(s))
            return true;
        if (stopped == NULL)
            return false;
        s->stage = SAVER_REGISTERS;
    }
    return s->stage != SAVER_DONE && begin_final(s, stopped);
}

/* At most up to the end of one page. */
static size_t produce_page(const struct saver *s, uint64_t at, uint8_t *to,
                           size_t size)
{
    size_t in_page = at % EDEV_PAGE_SIZE;
    uint64_t index = at / EDEV_PAGE_SIZE;
    uint64_t page = s->frame.offset / EDEV_PAGE_SIZE + index;
    uint64_t generation =
        s->frame.type == STREAM_HOT ? s->generations[index] : 0;

    if (size > EDEV_PAGE_SIZE - in_page)
        size = EDEV_PAGE_SIZE - in_page;
    memory_fill(edev_page_base(s->memory->seed, page, generation), in_page, to,
                size);
    return size;
}

static size_t copy_part(const void *from, uint64_t at, size_t from_size,
                        uint8_t *to, size_t size)
{
    if (size > from_size - at)
        size = from_size - at;
    memcpy(to, (const uint8_t *)from + at, size);
    return size;
}

static size_t produce_payload(const struct saver *s, uint64_t at, uint8_t *to,
                              size_t size)
{
    size_t table = 0;

    if (s->frame.type != STREAM_COLD && s->frame.type != STREAM_HOT)
        return copy_part(s->small, at, s->frame.length, to, size);
    if (s->frame.type == STREAM_HOT)
        table = s->frame.length / (EDEV_PAGE_SIZE + sizeof(uint32_t)) *
                sizeof(uint32_t);
    if (at < table)
        return copy_part(s->generations, at, table, to, size);
    return produce_page(s, at - table, to,
                        size < s->frame.length - at ? size
                                                    : s->frame.length - at);
}

/* The next piece of the frame under way, which may be short. */
static size_t produce(struct saver *s, uint8_t *to, size_t size)
{
    uint64_t head = sizeof(s->frame);
    uint64_t body = head + s->frame.length;
    size_t n;

    if (s->at >= body) {
        n = copy_part(s->check, s->at - body, sizeof(s->check), to, size);
    } else {
        if (s->at < head)
            n = copy_part(&s->frame, s->at, head, to, size);
        else
            n = produce_payload(s, s->at - head, to, size);
        XXH3_64bits_update(s->hash, to, n);
    }
    s->at += n;
    s->bytes += n;
    if (s->at == body) {
        XXH64_hash_t check = XXH3_64bits_digest(s->hash);

        memcpy(s->check, &check, sizeof(check));
    }
    s->in_frame = s->at < body + STREAM_CHECK_SIZE;
    return n;
}

size_t saver_read(struct saver *s, const struct image *stopped, void *buf,
                  size_t size)
{
    uint8_t *to = buf;
    size_t done = 0;

    while (done < size) {
        if (!s->in_frame && !next_frame(s, stopped))
            break;
        done += produce(s, to + done, size - done);
    }
    return done;
}
