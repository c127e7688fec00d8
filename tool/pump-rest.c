/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is kept of a stream: all bytes but those that are marked as a device's.
 * A byte is held until somebody has said which it is, which for a stream's last
 * sections is at its end: as long as the decoder holds them, too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pump.h"
#include "util/error.h"

#define FILL_BYTES ((size_t)256 << 10)

/* The decoder's own limits are below. */
#define RAW_MAX    ((size_t)64 << 20)

int tap_open(struct tap *tap, struct vfm_channel *from, const char *rest,
             struct vfm_error *err)
{
    char *uri;
    int ret;

    *tap = (struct tap){ .from = from, .keep = true };
    if (rest == NULL)
        return 0;
    tap->name = strdup(rest);
    if (tap->name == NULL || asprintf(&uri, "file:%s", rest) < 0)
        return error_set(err, -ENOMEM, "%s: out of memory", rest);
    ret = vfm_channel_connect(uri, NULL, &tap->rest, err);
    free(uri);
    return ret;
}

void tap_close(struct tap *tap)
{
    vfm_channel_close(tap->from);
    vfm_channel_close(tap->rest);
    free(tap->name);
    free(tap->raw);
    *tap = (struct tap){ 0 };
}

/* What events point to is used up when more is wanted. */
static int enlarge(struct tap *tap, struct vfm_error *err)
{
    size_t size = tap->raw_size > 0 ? 2 * tap->raw_size : 2 * FILL_BYTES;
    uint8_t *raw;

    if (tap->start > 0)
        memmove(tap->raw, tap->raw + tap->start, tap->raw_len);
    tap->start = 0;
    if (tap->raw_size - tap->raw_len >= FILL_BYTES)
        return 0;
    raw = size <= RAW_MAX ? realloc(tap->raw, size) : NULL;
    if (raw == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory",
                         vfm_channel_name(tap->from));
    tap->raw = raw;
    tap->raw_size = size;
    return 0;
}

int tap_fill(struct tap *tap, struct vfm_error *err)
{
    ssize_t n;
    int ret;

    if (tap->ended)
        return 0;
    ret = enlarge(tap, err);
    if (ret < 0)
        return ret;
    n = vfm_channel_recv(tap->from, tap->raw + tap->raw_len, FILL_BYTES, err);
    if (n == -EAGAIN)
        return 0;
    if (n < 0)
        return (int)n;
    tap->raw_len += (size_t)n;
    tap->ended = n == 0;
    return 1;
}

int tap_insert(struct tap *tap, const void *data, size_t len,
               struct vfm_error *err)
{
    const uint8_t *p = data;

    while (tap->rest != NULL && len > 0) {
        const struct iovec iov = { (void *)p, len };
        ssize_t n = vfm_channel_send(tap->rest, &iov, 1, err);

        if (n == -EAGAIN)
            n = vfm_channel_wait(tap->rest, POLLOUT, VFM_CHANNEL_NEVER, err) < 0
                    ? -EIO
                    : 0;
        if (n < 0)
            return (int)n;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int tap_mark(struct tap *tap, uint64_t offset, bool keep, struct vfm_error *err)
{
    size_t len = offset > tap->raw_at ? (size_t)(offset - tap->raw_at) : 0;
    int ret = tap->keep ? tap_insert(tap, tap->raw + tap->start, len, err) : 0;

    if (ret < 0)
        return ret;
    tap->raw_at += len;
    tap->start += len;
    tap->raw_len -= len;
    tap->fed -= len;
    tap->keep = keep;
    return 0;
}

int tap_finish(struct tap *tap, struct vfm_error *err)
{
    return tap->rest == NULL ? 0 : vfm_channel_finish(tap->rest, err);
}
