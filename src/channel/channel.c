/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The channel's handle: sending and receiving counted, limited, and failing
 * for good; finishing apart from closing.
 *
 * How bytes move is the transports' business (socket.c, fd.c, file.c, exec.c),
 * opening is open.c's, waiting poll.c's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/channel.h"
#include "util/clock.h"
#include "util/error.h"

/* More buffers than this are sent with the next call. */
#define SEND_IOV_MAX 256

int channel_new(const struct channel_ops *ops, int fd, const char *name,
                const struct vfm_channel_options *opts,
                struct vfm_channel **chp, struct vfm_error *err)
{
    struct vfm_channel *ch = calloc(1, sizeof(*ch));

    if (ch == NULL || asprintf(&ch->name, "%.*s", ADDRESS_SHOWN, name) < 0) {
        free(ch);
        return error_set(err, -ENOMEM, "%.*s: out of memory", ADDRESS_SHOWN,
                         name);
    }
    ch->ops = ops;
    ch->fd = fd;
    ch->pollable = true;
    ch->end_fd = -1;
    ch->cancel_fd = opts->cancel_fd;
    ch->finish_timeout_ms = opts->finish_timeout_ms;
    limit_set_rate(&ch->limit, clock_now(), opts->max_bandwidth);
    *chp = ch;
    return 0;
}

void channel_free(struct vfm_channel *ch)
{
    free(ch->name);
    free(ch);
}

/* Returns what failed before, again. */
static int fail(struct vfm_error *why, struct vfm_error *err)
{
    if (err != NULL)
        *err = *why;
    return why->code;
}

/* The one place where it is decided what a send waits for. */
static void enter_hold(struct vfm_channel *ch, enum hold now)
{
    int64_t time;

    if (ch->hold == now)
        return;
    time = clock_now();
    ch->held_ns[ch->hold] += time - ch->hold_since;
    ch->hold = now;
    ch->hold_since = time;
}

static ssize_t hold_send(struct vfm_channel *ch, enum hold why,
                         struct vfm_error *err)
{
    enter_hold(ch, why);
    return error_set(err, -EAGAIN, "%s: sending would wait for the %s",
                     ch->name, why == HOLD_PEER ? "peer" : "bandwidth limit");
}

static int break_send(struct vfm_channel *ch, int code, struct vfm_error *err)
{
    enter_hold(ch, HOLD_NONE);
    if (ch->ops->explain == NULL ||
        ch->ops->explain(ch, code, &ch->send_error) == 0)
        error_set(&ch->send_error, code, "%s: cannot send: %s", ch->name,
                  strerror(-code));
    return fail(&ch->send_error, err);
}

static int break_recv(struct vfm_channel *ch, int code, struct vfm_error *err)
{
    error_set(&ch->recv_error, code, "%s: cannot receive: %s", ch->name,
              strerror(-code));
    return fail(&ch->recv_error, err);
}

/* Copies to @to what @most bytes of @iov are.  Returns the entries used. */
static int clip(struct iovec *to, const struct iovec *iov, int n, uint64_t most)
{
    int used = 0;

    for (int i = 0; i < n && used < SEND_IOV_MAX && most > 0; i++) {
        if (iov[i].iov_len == 0)
            continue;
        to[used] = iov[i];
        if (to[used].iov_len > most)
            to[used].iov_len = most;
        most -= to[used++].iov_len;
    }
    return used;
}

/* Bytes in @iov.  Absurd lengths saturate: a call sends less anyway. */
static uint64_t total(const struct iovec *iov, int n)
{
    uint64_t sum = 0;

    for (int i = 0; i < n; i++)
        if (__builtin_add_overflow(sum, iov[i].iov_len, &sum))
            return UINT64_MAX;
    return sum;
}

/* Why nothing can be sent at all; 0: no reason. */
static int check_send(struct vfm_channel *ch, struct vfm_error *err)
{
    if (ch->send_error.code != 0)
        return fail(&ch->send_error, err);
    if (!ch->can_send)
        return error_set(err, -EBADF, "%s: can only be received from",
                         ch->name);
    if (ch->finish_begun)
        return error_set(err, -EPIPE, "%s: cannot send: finished", ch->name);
    return 0;
}

ssize_t vfm_channel_send(struct vfm_channel *ch, const struct iovec *iov, int n,
                         struct vfm_error *err)
{
    struct iovec part[SEND_IOV_MAX];
    uint64_t most = total(iov, n);
    int64_t now = 0;
    ssize_t ret = check_send(ch, err);

    if (ret < 0 || most == 0)
        return ret;

    if (ch->limit.rate != 0) {
        now = clock_now();
        most = limit_allowance(&ch->limit, now, most);
        if (most == 0)
            return hold_send(ch, HOLD_LIMIT, err);
    }
    ret = ch->ops->send(ch, part, clip(part, iov, n, most));
    if (ret == -EAGAIN)
        return hold_send(ch, HOLD_PEER, err);
    if (ret < 0)
        return break_send(ch, (int)ret, err);

    limit_take(&ch->limit, now, (uint64_t)ret);
    enter_hold(ch, HOLD_NONE);
    ch->bytes_sent += (uint64_t)ret;
    return ret;
}

ssize_t channel_recvv(struct vfm_channel *ch, const struct iovec *iov, int n,
                      struct vfm_error *err)
{
    ssize_t ret;

    if (ch->recv_error.code != 0)
        return fail(&ch->recv_error, err);
    if (!ch->can_recv)
        return error_set(err, -EBADF, "%s: can only be sent to", ch->name);

    ret = ch->ops->recv(ch, iov, n);
    if (ret == -EAGAIN)
        return error_set(err, -EAGAIN, "%s: nothing to receive yet", ch->name);
    if (ret < 0)
        return break_recv(ch, (int)ret, err);
    ch->bytes_received += (uint64_t)ret;
    return ret;
}

ssize_t vfm_channel_recv(struct vfm_channel *ch, void *buf, size_t len,
                         struct vfm_error *err)
{
    const struct iovec whole = { buf, len };

    return channel_recvv(ch, &whole, 1, err);
}

int vfm_channel_finish(struct vfm_channel *ch, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret;

    if (ch->finished)
        return 0;
    if (ch->finish_error.code != 0)
        return fail(&ch->finish_error, err);
    /* What lost bytes must not look whole. */
    if (ch->send_error.code != 0)
        return fail(&ch->send_error, err);

    if (!ch->finish_begun) {
        ch->finish_begun = true;
        ch->finish_deadline = clock_deadline(ch->finish_timeout_ms);
        enter_hold(ch, HOLD_NONE);
    }
    ret = ch->ops->finish(ch, &why);
    if (ret < 0) {
        if (ret != -EAGAIN)
            ch->finish_error = why;
        return fail(&why, err);
    }
    ch->finished = true;
    return 0;
}

void vfm_channel_close(struct vfm_channel *ch)
{
    if (ch == NULL)
        return;
    if (ch->ops->close != NULL)
        ch->ops->close(ch);
    if (ch->fd >= 0)
        close(ch->fd);
    channel_free(ch);
}

bool vfm_channel_is_duplex(const struct vfm_channel *ch)
{
    return ch->duplex;
}

uint64_t vfm_channel_max_bandwidth(const struct vfm_channel *ch)
{
    return ch->limit.rate;
}

void vfm_channel_set_max_bandwidth(struct vfm_channel *ch,
                                   uint64_t bytes_per_second)
{
    limit_set_rate(&ch->limit, clock_now(), bytes_per_second);
}

uint64_t vfm_channel_bytes_sent(const struct vfm_channel *ch)
{
    return ch->bytes_sent;
}

uint64_t vfm_channel_bytes_received(const struct vfm_channel *ch)
{
    return ch->bytes_received;
}

static int64_t held_ns(const struct vfm_channel *ch, enum hold why)
{
    int64_t ns = ch->held_ns[why];

    return ch->hold == why ? ns + clock_now() - ch->hold_since : ns;
}

int64_t vfm_channel_blocked_ns(const struct vfm_channel *ch)
{
    return held_ns(ch, HOLD_PEER);
}

int64_t vfm_channel_limited_ns(const struct vfm_channel *ch)
{
    return held_ns(ch, HOLD_LIMIT);
}

const char *vfm_channel_name(const struct vfm_channel *ch)
{
    return ch->name;
}
