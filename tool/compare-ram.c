/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compares guest pages of two streams, record by record, as they come.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "compare.h"

/* Goes on to the next record of RAM.  Returns 1, 0 at the end. */
static int next_ram(struct stream_reader *reader, struct vfm_stream_event *ev,
                    struct vfm_error *err)
{
    int ret;

    do
        ret = stream_reader_next(reader, ev, err);
    while (ret > 0 && (ev->type < VFM_STREAM_RAM_BLOCK ||
                       ev->type > VFM_STREAM_RAM_XBZRLE));
    return ret;
}

static bool is_same(const struct vfm_stream_event *a,
                    const struct vfm_stream_event *b)
{
    return a->type == b->type && strcmp(a->u.ram.block, b->u.ram.block) == 0 &&
           a->u.ram.block_size == b->u.ram.block_size &&
           a->u.ram.address == b->u.ram.address && a->len == b->len &&
           (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void describe(struct difference *diff, const struct vfm_stream_event *ev)
{
    diff->found = true;
    diff->kind = OBJECT_SECTION;
    diff->section = "ram";
    if (ev->type == VFM_STREAM_RAM_BLOCK)
        snprintf(diff->what, sizeof(diff->what),
                 "the blocks of RAM differ, at '%s'", ev->u.ram.block);
    else
        snprintf(diff->what, sizeof(diff->what),
                 "the pages of RAM differ, at 0x%" PRIx64 " of '%s'",
                 ev->u.ram.address, ev->u.ram.block);
}

static void place(struct extent *place, const struct vfm_stream_event *ev)
{
    *place = (struct extent){ .offset = ev->offset,
                              .len = 1,
                              .type = (uint8_t)ev->section.type };
}

static int compare(struct stream_reader readers[2], struct difference *diff,
                   const char **culprit, struct vfm_error *err)
{
    struct vfm_stream_event ev[2];
    int ret[2];

    do {
        for (int i = 0; i < 2; i++) {
            ret[i] = next_ram(&readers[i], &ev[i], err);
            *culprit = readers[i].file.name;
            if (ret[i] < 0)
                return ret[i];
        }
        if (ret[0] != ret[1]) {
            describe(diff, &ev[ret[0] > 0 ? 0 : 1]);
        } else if (ret[0] > 0 && !is_same(&ev[0], &ev[1])) {
            describe(diff, &ev[0]);
            place(&diff->place[0], &ev[0]);
            place(&diff->place[1], &ev[1]);
            diff->has_places = true;
        }
    } while (ret[0] > 0 && !diff->found);
    return 0;
}

int ram_compare(const char *a, const char *b, struct difference *diff,
                const char **culprit, struct vfm_error *err)
{
    struct stream_reader readers[2] = { 0 };
    int ret;

    *culprit = a;
    ret = stream_reader_open(&readers[0], a, err);
    if (ret == 0) {
        *culprit = b;
        ret = stream_reader_open(&readers[1], b, err);
    }
    if (ret == 0)
        ret = compare(readers, diff, culprit, err);
    stream_reader_close(&readers[0]);
    stream_reader_close(&readers[1]);
    return ret;
}
