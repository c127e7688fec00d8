/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frames of a bench.  Whoever is at the other end is a stranger.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "bench-wire.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"

#define FRAME_SIZE 32
#define TEXT_MAX   400
#define CHUNK      (1 << 20)

static const char magic[4] = { 'v', 'f', 'm', 'B' };

/* One that trickles is as good as one that is silent, so there is one deadline
 * for all of it. */
static int send_all(struct vfm_channel *ch, const void *buf, size_t len,
                    int64_t deadline, struct vfm_error *err)
{
    for (size_t done = 0; done < len;) {
        struct iovec iov = { .iov_base = (char *)(uintptr_t)buf + done,
                             .iov_len = len - done };
        ssize_t n = vfm_channel_send(ch, &iov, 1, err);
        int ret;

        if (n >= 0) {
            done += (size_t)n;
            continue;
        }
        if (n != -EAGAIN)
            return (int)n;
        ret = vfm_channel_wait(ch, POLLOUT, deadline, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int recv_all(struct vfm_channel *ch, void *buf, size_t len,
                    int64_t deadline, struct vfm_error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = vfm_channel_recv(ch, (char *)buf + done, len - done, err);
        int ret;

        if (n == 0)
            return error_set(err, -ECONNRESET, "%s: the other side hung up",
                             vfm_channel_name(ch));
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n != -EAGAIN)
            return (int)n;
        ret = vfm_channel_wait(ch, POLLIN, deadline, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

int wire_send(struct vfm_channel *ch, const struct wire *wire,
              struct vfm_error *err)
{
    char frame[FRAME_SIZE] = { 0 };

    memcpy(frame, magic, sizeof(magic));
    put_be16(frame + 4, WIRE_VERSION);
    put_be16(frame + 6, wire->type);
    put_be64(frame + 8, wire->a);
    put_be64(frame + 16, wire->b);
    put_be64(frame + 24, wire->c);
    return send_all(ch, frame, sizeof(frame), clock_deadline(WIRE_TIMEOUT_MS),
                    err);
}

static int take_refusal(struct vfm_channel *ch, uint64_t len, int64_t deadline,
                        struct vfm_error *err)
{
    char text[TEXT_MAX + 1] = { 0 };
    int ret;

    if (len > TEXT_MAX)
        return error_set(err, -EPROTO, "%s: a refusal of %llu bytes",
                         vfm_channel_name(ch), (unsigned long long)len);
    ret = recv_all(ch, text, (size_t)len, deadline, err);
    if (ret < 0)
        return ret;
    return error_set(err, -EREMOTEIO, "%s: the other side: %s",
                     vfm_channel_name(ch), text);
}

int wire_recv(struct vfm_channel *ch, uint16_t want, struct wire *wire,
              int64_t deadline, struct vfm_error *err)
{
    char frame[FRAME_SIZE];
    int ret = recv_all(ch, frame, sizeof(frame), deadline, err);

    if (ret < 0)
        return ret;
    if (memcmp(frame, magic, sizeof(magic)) != 0)
        return error_set(err, -EPROTO, "%s: the other side is no vfmig bench",
                         vfm_channel_name(ch));
    if (get_be16(frame + 4) != WIRE_VERSION)
        return error_set(err, -EPROTO,
                         "%s: the other side speaks version %u of a bench, not "
                         "%u",
                         vfm_channel_name(ch), get_be16(frame + 4),
                         WIRE_VERSION);
    wire->type = get_be16(frame + 6);
    wire->a = get_be64(frame + 8);
    wire->b = get_be64(frame + 16);
    wire->c = get_be64(frame + 24);
    if (wire->type == WIRE_REFUSED)
        return take_refusal(ch, wire->a, deadline, err);
    if (want != 0 && wire->type != want)
        return error_set(err, -EPROTO, "%s: a message of type %u, not %u",
                         vfm_channel_name(ch), wire->type, want);
    return 0;
}

int wire_refuse(struct vfm_channel *ch, const char *text, struct vfm_error *err)
{
    size_t len = strnlen(text, TEXT_MAX);
    const struct wire wire = { .type = WIRE_REFUSED, .a = len };
    int ret = wire_send(ch, &wire, err);

    return ret < 0
               ? ret
               : send_all(ch, text, len, clock_deadline(WIRE_TIMEOUT_MS), err);
}

static int bulk(struct vfm_channel *ch, uint64_t bytes, bool is_sent,
                int64_t deadline, struct vfm_error *err)
{
    char *buf = calloc(1, CHUNK);
    int ret = 0;

    if (buf == NULL)
        return error_set(err, -ENOMEM, "bench: out of memory");
    while (ret == 0 && bytes > 0) {
        size_t len = bytes < CHUNK ? (size_t)bytes : CHUNK;

        ret = is_sent ? send_all(ch, buf, len, deadline, err)
                      : recv_all(ch, buf, len, deadline, err);
        bytes -= len;
    }
    free(buf);
    return ret;
}

int wire_send_bulk(struct vfm_channel *ch, uint64_t bytes, int64_t deadline,
                   struct vfm_error *err)
{
    return bulk(ch, bytes, true, deadline, err);
}

int wire_recv_bulk(struct vfm_channel *ch, uint64_t bytes, int64_t deadline,
                   struct vfm_error *err)
{
    return bulk(ch, bytes, false, deadline, err);
}
