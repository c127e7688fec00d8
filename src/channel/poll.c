/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What to wait for, and waiting for it, so that a caller can do either.
 */
#include <errno.h>
#include <string.h>

#include "channel/channel.h"
#include "channel/wait.h"
#include "util/clock.h"
#include "util/error.h"

/* When a send is worth trying: 0 now, CLOCK_NEVER when poll() says so. */
static int64_t send_ready_at(const struct vfm_channel *ch)
{
    int64_t at = limit_ready_at(&ch->limit);

    /* The call will say why it cannot be done. */
    if (!ch->can_send || ch->finish_begun || ch->send_error.code != 0)
        return 0;
    if (at > 0 && at > clock_now())
        return at;
    return ch->pollable ? CLOCK_NEVER : 0;
}

static int64_t recv_ready_at(const struct vfm_channel *ch)
{
    if (!ch->can_recv || ch->recv_error.code != 0 || !ch->pollable)
        return 0;
    return CLOCK_NEVER;
}

static bool is_finishing(const struct vfm_channel *ch)
{
    return ch->finish_begun && !ch->finished && ch->finish_error.code == 0 &&
           ch->end_fd >= 0;
}

int vfm_channel_poll_fds(const struct vfm_channel *ch, bool want_send,
                         bool want_recv, struct pollfd fds[2],
                         int64_t *ready_at)
{
    int64_t send_at = want_send ? send_ready_at(ch) : CLOCK_NEVER;
    int64_t recv_at = want_recv ? recv_ready_at(ch) : CLOCK_NEVER;
    short events = 0;
    int n = 0;

    if (want_send && send_at == CLOCK_NEVER)
        events |= POLLOUT;
    if (want_recv && recv_at == CLOCK_NEVER)
        events |= POLLIN;
    *ready_at = clock_min(send_at, recv_at);

    if (events != 0)
        fds[n++] = (struct pollfd){ .fd = ch->fd, .events = events };
    if (is_finishing(ch)) {
        fds[n++] = (struct pollfd){ .fd = ch->end_fd, .events = POLLIN };
        *ready_at = clock_min(*ready_at, ch->finish_deadline);
    }
    /* Nothing wanted and nothing under way: do not wait for ever. */
    if (!want_send && !want_recv && n == 0)
        *ready_at = 0;
    return n;
}

/* What a poll entry's events make worth trying: a broken or ended connection
 * is found out by using it. */
static short worth_trying(short revents)
{
    short broken = (revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;

    return (short)(revents | (broken ? POLLIN | POLLOUT : 0));
}

static int wait_failed(const struct vfm_channel *ch, int code,
                       struct vfm_error *err)
{
    if (code == -ECANCELED)
        return error_set(err, code, "%s: cancelled", ch->name);
    if (code == -ETIMEDOUT)
        return error_set(err, code, "%s: the peer took too long", ch->name);
    return error_set(err, code, "%s: cannot wait: %s", ch->name,
                     strerror(-code));
}

int vfm_channel_wait(struct vfm_channel *ch, short events, int64_t deadline,
                     struct vfm_error *err)
{
    struct pollfd fds[2];
    int64_t ready_at;
    short ready = 0;
    int n = vfm_channel_poll_fds(ch, events & POLLOUT, events & POLLIN, fds,
                                 &ready_at);
    int ret = wait_events(fds, n, clock_min(ready_at, deadline), ch->cancel_fd);

    if (ret == -ETIMEDOUT && ready_at <= clock_now())
        return events;
    if (ret < 0)
        return wait_failed(ch, ret, err);

    if (fds[0].fd == ch->fd)
        ready = worth_trying(fds[0].revents) & events;
    /* Else the command ended, which may have ended anything. */
    return ready != 0 ? ready : events;
}
