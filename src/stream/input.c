/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input in pieces.  What the bytes mean is the decoders' business, and so is
 * the limit of what they ask for.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream/input.h"

#define PENDING_MIN 512

void input_free(struct input *in)
{
    free(in->pending);
}

void input_feed(struct input *in, const void *window, size_t len)
{
    in->window = window;
    in->len = len;
    in->moved = 0;
}

size_t input_available(const struct input *in)
{
    return in->pending_len + in->len;
}

/* Makes room for @len bytes; doubling keeps the copying linear. */
static int enlarge(struct input *in, size_t len)
{
    size_t size = in->pending_size > 0 ? in->pending_size : PENDING_MIN;
    uint8_t *p;

    while (size < len)
        size *= 2;
    if (size == in->pending_size)
        return 0;

    p = realloc(in->pending, size);
    if (p == NULL)
        return -ENOMEM;
    in->pending = p;
    in->pending_size = size;
    return 0;
}

static int keep(struct input *in, size_t len)
{
    int ret = enlarge(in, in->pending_len + len);

    if (ret < 0)
        return ret;
    memcpy(in->pending + in->pending_len, in->window, len);
    in->pending_len += len;
    in->moved += len;
    in->window += len;
    in->len -= len;
    return 0;
}

int input_need(struct input *in, size_t len, const uint8_t **p)
{
    size_t missing;
    int ret;

    if (in->pending_len == 0 && in->len >= len) {
        *p = in->window;
        return 1;
    }
    if (in->pending_len < len && in->len > 0) {
        missing = len - in->pending_len;
        ret = keep(in, missing < in->len ? missing : in->len);
        if (ret < 0)
            return ret;
    }
    *p = in->pending;
    return in->pending_len >= len;
}

void input_consume(struct input *in, size_t len)
{
    size_t surplus = in->pending_len > len ? in->pending_len - len : 0;
    size_t from_window = len - (in->pending_len - surplus);

    assert(surplus <= in->moved && from_window <= in->len);
    in->window += from_window;
    in->len -= from_window;
    in->window -= surplus;
    in->len += surplus;
    in->pending_len = 0;
    in->moved = 0;
    in->offset += len;
}

size_t input_take(struct input *in, uint64_t max, const uint8_t **p)
{
    size_t len = in->len < max ? in->len : (size_t)max;

    assert(in->pending_len == 0);
    *p = in->window;
    in->window += len;
    in->len -= len;
    in->offset += len;
    return len;
}
