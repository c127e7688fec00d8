/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading: takes a stream apart and refuses what is not one.
 *
 * Pages are compared with what they must hold where they lie in the caller's
 * buffer; only frames that are not memory are collected.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/loader.h"
#include "util/error.h"
#include "util/pages.h"

#define HOT_PAGE_BYTES (EDEV_PAGE_SIZE + sizeof(uint32_t))

static const char *const type_names[] = {
    [STREAM_HEADER] = "HEADER", [STREAM_COLD] = "COLD",
    [STREAM_HOT] = "HOT",       [STREAM_REGISTERS] = "REGISTERS",
    [STREAM_BAR2] = "BAR2",     [STREAM_MSIX] = "MSIX",
    [STREAM_END] = "END",
};

#define BIT(type) (1u << (type))

__attribute__((format(printf, 2, 3))) static int refuse(struct loader *l,
                                                        const char *fmt, ...)
{
    char text[sizeof(l->error.message)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return error_set(&l->error, -EINVAL, "frame %" PRIu64 ": %s", l->sequence,
                     text);
}

int loader_init(struct loader *l, const struct memory *m, uint32_t vectors)
{
    uint64_t hot = m->hot_size / EDEV_PAGE_SIZE;

    *l = (struct loader){ .memory = m };
    l->got = calloc(hot > 0 ? hot : 1, sizeof(*l->got));
    l->small = pages_new(STREAM_SMALL_MAX);
    l->result.bar2 = pages_new(EDEV_BAR2_SIZE);
    l->result.msix = malloc(vectors > 0 ? vectors * 16u : 1);
    l->hash = XXH3_createState();
    if (l->got == NULL || l->small == NULL || l->result.bar2 == NULL ||
        l->result.msix == NULL || l->hash == NULL) {
        loader_free(l);
        return -ENOMEM;
    }
    return 0;
}

void loader_free(struct loader *l)
{
    free(l->got);
    free(l->small);
    free(l->result.bar2);
    free(l->result.msix);
    XXH3_freeState(l->hash);
    *l = (struct loader){ 0 };
}

void loader_begin(struct loader *l, const struct stream_header *expected)
{
    uint64_t hot = l->memory->hot_size / EDEV_PAGE_SIZE;

    l->active = true;
    l->expected = *expected;
    l->error.code = 0;
    l->only_short = false;
    l->bytes = l->sequence = l->cold_next = 0;
    l->seen = 0;
    l->stage = LOADER_FRAME;
    l->at = 0;
    memset(l->got, 0, hot * sizeof(*l->got));
    XXH3_64bits_reset(l->hash);
}

void loader_end(struct loader *l)
{
    l->active = false;
}

static int check_memory_frame(struct loader *l, bool hot)
{
    const struct stream_frame *f = &l->frame;
    uint64_t first_hot = memory_first_hot(l->memory) * EDEV_PAGE_SIZE;
    uint64_t unit = hot ? HOT_PAGE_BYTES : EDEV_PAGE_SIZE;
    uint64_t begin = hot ? first_hot : 0;
    uint64_t end = hot ? l->memory->size : first_hot;
    uint64_t bytes = f->length / unit * EDEV_PAGE_SIZE;

    if (bytes == 0 || f->length % unit != 0 ||
        bytes > STREAM_FRAME_PAGES * EDEV_PAGE_SIZE)
        return refuse(l, "bad length %" PRIu64, f->length);
    if (f->offset % EDEV_PAGE_SIZE != 0 || f->offset < begin ||
        f->offset > end || bytes > end - f->offset)
        return refuse(l, "bad offset %" PRIu64, f->offset);
    if (!hot && f->offset > l->cold_next)
        return refuse(l, "memory from %" PRIu64 " to %" PRIu64 " is missing",
                      l->cold_next, f->offset);
    return 0;
}

/* Is this a kind of frame that may come now, with the length it must have? */
static int check_small_frame(struct loader *l)
{
    const struct stream_frame *f = &l->frame;
    const size_t lengths[] = {
        [STREAM_HEADER] = sizeof(struct stream_header),
        [STREAM_REGISTERS] = sizeof(struct stream_registers),
        [STREAM_BAR2] = EDEV_BAR2_SIZE,
        [STREAM_MSIX] = l->expected.vectors * 16u,
        [STREAM_END] = sizeof(struct stream_end),
    };

    if (f->length != lengths[f->type])
        return refuse(l, "bad length %" PRIu64, f->length);
    if (f->type != STREAM_HEADER && (l->seen & BIT(f->type)) != 0)
        return refuse(l, "a second %s", type_names[f->type]);
    return 0;
}

static int check_frame(struct loader *l)
{
    const struct stream_frame *f = &l->frame;

    if (f->magic != STREAM_MAGIC)
        return refuse(l, "%s, its magic number is %#" PRIx32,
                      l->sequence == 0 ? "not the state of such a device"
                                       : "not a frame",
                      f->magic);
    if (f->sequence != l->sequence)
        return refuse(l, "has number %" PRIu64, f->sequence);
    if (f->type < STREAM_HEADER || f->type > STREAM_END)
        return refuse(l, "unknown type %" PRIu32, f->type);
    if (l->seen == 0 && f->type != STREAM_HEADER)
        return refuse(l, "%s before the header", type_names[f->type]);
    l->pattern_wrong = false;
    if (f->type == STREAM_COLD || f->type == STREAM_HOT)
        return check_memory_frame(l, f->type == STREAM_HOT);
    return check_small_frame(l);
}

/* Compares, at most up to the end of one page; returns how far it got. */
static size_t take_page(struct loader *l, uint64_t at, const uint8_t *buf,
                        size_t size)
{
    size_t in_page = at % EDEV_PAGE_SIZE;
    uint64_t index = at / EDEV_PAGE_SIZE;
    uint64_t page = l->frame.offset / EDEV_PAGE_SIZE + index;
    uint64_t generation =
        l->frame.type == STREAM_HOT ? l->generations[index] : 0;
    uint64_t base = edev_page_base(l->result.seed, page, generation);

    if (size > EDEV_PAGE_SIZE - in_page)
        size = EDEV_PAGE_SIZE - in_page;
    if (!l->pattern_wrong && !memory_matches(base, in_page, buf, size)) {
        l->pattern_wrong = true;
        l->wrong_page = page;
    }
    return size;
}

static size_t collect(void *to, size_t to_size, size_t at, const uint8_t *buf,
                      size_t size)
{
    if (size > to_size - at)
        size = to_size - at;
    memcpy((uint8_t *)to + at, buf, size);
    return size;
}

static size_t take_payload(struct loader *l, const uint8_t *buf, size_t size)
{
    size_t length = l->frame.length;
    size_t table = 0;

    if (l->frame.type != STREAM_COLD && l->frame.type != STREAM_HOT)
        return collect(l->small, length, l->at, buf, size);
    if (l->frame.type == STREAM_HOT)
        table = length / HOT_PAGE_BYTES * sizeof(uint32_t);
    if (l->at < table)
        return collect(l->generations, table, l->at, buf, size);
    return take_page(l, l->at - table, buf,
                     size < length - l->at ? size : length - l->at);
}

static int finish_header(struct loader *l)
{
    struct stream_header h;

    memcpy(&h, l->small, sizeof(h));
    if (l->mutant == MUTANT_LOAD_IGNORES_HEADER) {
        l->result.seed = h.seed;
        return 0;
    }
    if (h.version != l->expected.version)
        return refuse(l, "version %" PRIu32 " of the state, not %" PRIu32,
                      h.version, l->expected.version);
    if (h.size != l->expected.size)
        return refuse(
            l, "from a device with %" PRIu64 " bytes of memory, not %" PRIu64,
            h.size, l->expected.size);
    if (h.hot_size != l->expected.hot_size)
        return refuse(
            l, "from a device that rewrites %" PRIu64 " bytes, not %" PRIu64,
            h.hot_size, l->expected.hot_size);
    if (h.vectors != l->expected.vectors)
        return refuse(l, "from a device with %" PRIu32 " vectors, not %" PRIu32,
                      h.vectors, l->expected.vectors);
    if (h.pci_vendor != l->expected.pci_vendor ||
        h.pci_device != l->expected.pci_device || h.page_size != EDEV_PAGE_SIZE)
        return refuse(l, "from another device, %04x:%04x", h.pci_vendor,
                      h.pci_device);
    if ((l->seen & BIT(STREAM_HEADER)) != 0 && h.seed != l->result.seed)
        return refuse(l, "two headers do not agree");
    l->result.seed = h.seed;
    return 0;
}

static int finish_end(struct loader *l)
{
    struct stream_end end;
    uint64_t before = l->bytes - sizeof(end) - STREAM_OVERHEAD;

    memcpy(&end, l->small, sizeof(end));
    if (l->mutant == MUTANT_LOAD_IGNORES_TRAILER)
        return 0;
    if (end.frames != l->sequence)
        return refuse(l, "the end counts %" PRIu64 " frames, not %" PRIu64,
                      end.frames, l->sequence);
    if (end.bytes != before)
        return refuse(l, "the end counts %" PRIu64 " bytes, not %" PRIu64,
                      end.bytes, before);
    return 0;
}

static int finish_memory(struct loader *l)
{
    uint64_t first_hot = memory_first_hot(l->memory);
    uint64_t page = l->frame.offset / EDEV_PAGE_SIZE;

    if (l->pattern_wrong && l->mutant != MUTANT_LOAD_IGNORES_MEMORY)
        return refuse(l, "page %" PRIu64 " does not hold what it must",
                      l->wrong_page);
    if (l->frame.type == STREAM_COLD) {
        uint64_t end = l->frame.offset + l->frame.length;

        l->cold_next = end > l->cold_next ? end : l->cold_next;
        return 0;
    }
    for (size_t i = 0; i < l->frame.length / HOT_PAGE_BYTES; i++)
        l->got[page + i - first_hot] = l->generations[i] + 1;
    return 0;
}

/* Is a bug blind for this frame's checksum? */
static bool mutant_ignores_checksum(const struct loader *l)
{
    switch (l->frame.type) {
    case STREAM_HEADER:
        return l->mutant == MUTANT_LOAD_IGNORES_HEADER;
    case STREAM_COLD:
    case STREAM_HOT:
        return l->mutant == MUTANT_LOAD_IGNORES_MEMORY;
    case STREAM_END:
        return l->mutant == MUTANT_LOAD_IGNORES_TRAILER;
    default:
        return l->mutant == MUTANT_LOAD_IGNORES_REGISTERS;
    }
}

static int finish_frame(struct loader *l)
{
    XXH64_hash_t want = XXH3_64bits_digest(l->hash);
    XXH64_hash_t got;

    memcpy(&got, l->check, sizeof(got));
    if (got != want && !mutant_ignores_checksum(l))
        return refuse(l, "checksum is %016" PRIx64 ", should be %016" PRIx64,
                      got, want);
    switch (l->frame.type) {
    case STREAM_HEADER:
        return finish_header(l);
    case STREAM_REGISTERS:
        memcpy(&l->result.registers, l->small, sizeof(l->result.registers));
        return 0;
    case STREAM_BAR2:
        memcpy(l->result.bar2, l->small, EDEV_BAR2_SIZE);
        return 0;
    case STREAM_MSIX:
        memcpy(l->result.msix, l->small, l->frame.length);
        return 0;
    case STREAM_END:
        return finish_end(l);
    default:
        return finish_memory(l);
    }
}

/* What to do when a part of the frame is complete. */
static int next_stage(struct loader *l)
{
    int ret = 0;

    l->at = 0;
    switch (l->stage) {
    case LOADER_FRAME:
        l->stage = LOADER_PAYLOAD;
        return check_frame(l);
    case LOADER_PAYLOAD:
        l->stage = LOADER_CHECK;
        return 0;
    case LOADER_CHECK:
        ret = finish_frame(l);
        l->seen |= BIT(l->frame.type);
        l->sequence++;
        l->stage = LOADER_FRAME;
        XXH3_64bits_reset(l->hash);
    }
    return ret;
}

static size_t stage_size(const struct loader *l)
{
    switch (l->stage) {
    case LOADER_FRAME:
        return sizeof(l->frame);
    case LOADER_PAYLOAD:
        return l->frame.length;
    default:
        return sizeof(l->check);
    }
}

/* Takes the next piece; it may be short of @size. */
static size_t take(struct loader *l, const uint8_t *buf, size_t size)
{
    size_t n;

    if (l->stage == LOADER_FRAME)
        n = collect(&l->frame, sizeof(l->frame), l->at, buf, size);
    else if (l->stage == LOADER_CHECK)
        n = collect(l->check, sizeof(l->check), l->at, buf, size);
    else
        n = take_payload(l, buf, size);
    if (l->stage != LOADER_CHECK)
        XXH3_64bits_update(l->hash, buf, n);
    l->at += n;
    return n;
}

void loader_write(struct loader *l, const void *buf, size_t size)
{
    const uint8_t *in = buf;

    while (size > 0 && l->error.code == 0) {
        size_t n;

        if ((l->seen & BIT(STREAM_END)) != 0) {
            if (l->mutant != MUTANT_LOAD_ACCEPTS_DOUBLED)
                refuse(l, "bytes after the end");
            break;
        }
        n = take(l, in, size);
        in += n;
        size -= n;
        l->bytes += n;
        if (l->at == stage_size(l))
            next_stage(l);
    }
    l->bytes += size;
}

/* Each hot page must be there as it was when the device stopped. */
static int check_hot_pages(struct loader *l)
{
    uint64_t hot = l->memory->hot_size / EDEV_PAGE_SIZE;
    uint64_t writes = l->result.registers.mem_writes;

    for (uint64_t i = 0; i < hot; i++) {
        uint32_t want = (uint32_t)edev_generation(writes, hot, i) + 1;

        if (l->got[i] == 0)
            return refuse(l, "hot page %" PRIu64 " is missing", i);
        if (l->got[i] != want)
            return refuse(l, "hot page %" PRIu64 " is not the last version", i);
    }
    return 0;
}

static int check_complete(struct loader *l)
{
    uint64_t cold = memory_first_hot(l->memory) * EDEV_PAGE_SIZE;

    for (unsigned t = STREAM_REGISTERS; t <= STREAM_END; t++)
        if ((l->seen & BIT(t)) == 0)
            return error_set(&l->error, -EINVAL,
                             "the stream ends after %" PRIu64
                             " bytes, in frame "
                             "%" PRIu64 ": no %s",
                             l->bytes, l->sequence, type_names[t]);
    if (l->cold_next != cold)
        return refuse(l, "memory from %" PRIu64 " to %" PRIu64 " is missing",
                      l->cold_next, cold);
    return check_hot_pages(l);
}

int loader_finish(struct loader *l, struct vfm_error *err)
{
    if (l->error.code == 0)
        l->only_short = check_complete(l) < 0;
    if (l->error.code != 0)
        return error_set(err, l->error.code, "%s", l->error.message);
    return 0;
}
