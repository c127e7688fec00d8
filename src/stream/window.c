/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which indices of a device's packets came: a bitmap that moves along.
 *
 * What is in the packets, and where it waits until those before it have come,
 * is the caller's business.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <vfmig/stream.h>

#include "util/error.h"

#define SPAN_MAX  1048576
#define WORD_BITS 64

struct vfm_multifd_window {
    uint32_t span;
    uint32_t next; /* the lowest that is missing */
    uint32_t last; /* the configuration's, if it came */
    uint32_t highest;
    bool any;
    bool has_last;
    uint64_t bits[]; /* of the indices next .. next + span - 1, modulo span */
};

int vfm_multifd_window_new(uint32_t span, struct vfm_multifd_window **winp,
                           struct vfm_error *err)
{
    struct vfm_multifd_window *win;
    size_t words = ((size_t)span + WORD_BITS - 1) / WORD_BITS;

    if (span == 0 || span > SPAN_MAX)
        return error_set(err, -EINVAL,
                         "stream: a window of %" PRIu32 " packets", span);
    win = calloc(1, sizeof(*win) + words * sizeof(win->bits[0]));
    if (win == NULL)
        return error_set(err, -ENOMEM, "stream: out of memory");
    win->span = span;
    *winp = win;
    return 0;
}

void vfm_multifd_window_free(struct vfm_multifd_window *win)
{
    free(win);
}

static uint64_t *word(struct vfm_multifd_window *win, uint32_t index)
{
    return &win->bits[index % win->span / WORD_BITS];
}

static uint64_t bit(const struct vfm_multifd_window *win, uint32_t index)
{
    return UINT64_C(1) << (index % win->span % WORD_BITS);
}

static bool is_set(struct vfm_multifd_window *win, uint32_t index)
{
    return (*word(win, index) & bit(win, index)) != 0;
}

static void flip(struct vfm_multifd_window *win, uint32_t index)
{
    *word(win, index) ^= bit(win, index);
}

static int check(struct vfm_multifd_window *win, uint32_t index, bool config,
                 struct vfm_error *err)
{
    if (index >= win->next && index - win->next >= win->span)
        return error_set(err, -ERANGE,
                         "packet %" PRIu32 " came before packet %" PRIu32
                         ", which is too far behind",
                         index, win->next);
    if (index < win->next || is_set(win, index))
        return error_set(err, -EEXIST, "packet %" PRIu32 " came twice", index);
    if (config && win->has_last)
        return error_set(
            err, -EPROTO,
            "packet %" PRIu32 " brings a second configuration record", index);
    if (config && win->any && index < win->highest)
        return error_set(err, -EPROTO,
                         "packet %" PRIu32
                         " has the configuration record, but packet %" PRIu32
                         " came",
                         index, win->highest);
    if (win->has_last && index > win->last)
        return error_set(err, -ERANGE,
                         "packet %" PRIu32 " is beyond the last one, %" PRIu32,
                         index, win->last);
    return 0;
}

int vfm_multifd_window_add(struct vfm_multifd_window *win, uint32_t index,
                           bool config, struct vfm_error *err)
{
    int ret = check(win, index, config, err);

    if (ret < 0)
        return ret;
    flip(win, index);
    if (!win->any || index > win->highest)
        win->highest = index;
    win->any = true;
    if (config) {
        win->has_last = true;
        win->last = index;
    }
    while (is_set(win, win->next)) {
        flip(win, win->next);
        win->next++;
    }
    return 0;
}

uint32_t vfm_multifd_window_next(const struct vfm_multifd_window *win)
{
    return win->next;
}

bool vfm_multifd_window_complete(const struct vfm_multifd_window *win)
{
    return win->has_last && win->next > win->last;
}
