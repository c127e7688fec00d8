/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * One buffer of incoming bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "migration/inbox.h"
#include "util/pages.h"

int inbox_init(struct inbox *in, size_t size)
{
    *in = (struct inbox){ .size = size };
    in->buf = pages_new(size);
    return in->buf == NULL ? -ENOMEM : 0;
}

void inbox_close(struct inbox *in)
{
    free(in->buf);
    in->buf = NULL;
}

/* Moves what is left to the front if the rest of the buffer is short. */
static void make_room(struct inbox *in)
{
    size_t left = inbox_len(in);

    if (left > 0 && in->size - in->end >= in->size / 2)
        return;
    memmove(in->buf, inbox_data(in), left);
    in->start = 0;
    in->end = left;
}

ssize_t inbox_fill(struct inbox *in, struct vfm_channel *ch,
                   struct vfm_error *err)
{
    size_t len;
    ssize_t n;

    if (in->ended)
        return 0;
    make_room(in);
    if (in->end == in->size)
        return -ENOBUFS;
    len = in->size - in->end;
    if (in->most > 0 && in->most < len)
        len = in->most;
    n = vfm_channel_recv(ch, in->buf + in->end, len, err);
    if (n > 0)
        in->end += (size_t)n;
    else if (n == 0)
        in->ended = true;
    return n;
}
