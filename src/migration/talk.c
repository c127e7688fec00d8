/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The channel: sends what is in the outbox, fills the inbox, and knows how long
 * the peer has been silent.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "channel/channel.h"
#include "migration/hello.h"
#include "migration/migration.h"
#include "util/clock.h"
#include "util/error.h"

/* Times the peer's timeout; see stuck_until() and answered_until(). */
#define STUCK_FACTOR 4

/* A channel's own error says what happened there; that the peer may know more
 * is the unwinding's business. */
static int channel_failed(struct vfm_migration *m, int ret)
{
    m->failed_at_peer = true;
    return ret;
}

int talk_flush(struct vfm_migration *m, struct vfm_error *err)
{
    size_t before = m->outbox.sent;
    enum vfm_cause cause = spend(m, VFM_CAUSE_LINK);
    int ret = outbox_send(&m->outbox, m->channel, err);

    spend(m, cause);
    if (m->outbox.sent != before) {
        m->told_at = clock_now();
        /* What a socket takes says nothing of a peer that would answer. */
        if (!peer_is(m, VFM_PEER_VFMIG))
            m->heard_at = m->told_at;
    }
    if (m->outbox.sent != before || ret == 0)
        m->taken_at = clock_now();
    if (ret == -EAGAIN)
        m->wishes.send = true;
    return ret == 0 || ret == -EAGAIN ? ret : channel_failed(m, ret);
}

int talk_say(struct vfm_migration *m, enum message_type type,
             const void *payload, size_t len, struct vfm_error *err)
{
    int ret = talk_flush(m, err);

    if (ret < 0 || m->said)
        return ret;
    message_put(&m->outbox, type, payload, len);
    m->said = true;
    return talk_flush(m, err);
}

int talk_fill(struct vfm_migration *m, struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_LINK);
    ssize_t n = inbox_fill(&m->inbox, m->channel, err);

    spend(m, cause);
    if (n > 0) {
        m->heard_at = clock_now();
        return 0;
    }
    if (n == 0)
        return -ENODATA;
    if (n == -EAGAIN)
        m->wishes.recv = true;
    return n == -EAGAIN ? -EAGAIN : channel_failed(m, (int)n);
}

int talk_land(struct vfm_migration *m, struct landing *l, struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_LINK);
    bool came;
    int ret = landing_fill(l, &m->inbox, m->channel, &came, err);

    spend(m, cause);
    if (came)
        m->heard_at = clock_now();
    if (ret == -EAGAIN)
        m->wishes.recv = true;
    return ret >= 0 || ret == -EAGAIN ? ret : channel_failed(m, ret);
}

int talk_hear_hello(struct vfm_migration *m, const char **json, size_t *len,
                    struct vfm_error *err)
{
    int ret;

    while ((ret = hello_next(&m->inbox, json, len, err)) == 0) {
        ret = talk_fill(m, err);
        if (ret == -ENODATA)
            return error_set(err, -ECONNRESET,
                             "%s: the %s hung up where its hello should be",
                             vfm_channel_name(m->channel),
                             is_source(m) ? "target" : "source");
        if (ret < 0)
            return ret;
    }
    return ret < 0 ? ret : 0;
}

/* When the peer's silence becomes a failure. */
static int64_t silent_until(const struct vfm_migration *m)
{
    return m->heard_at + peer_timeout_ns(m);
}

/* When a peer that talks, but takes nothing from us, has had its time: longer
 * than one that is silent, for its devices may be slow. */
static int64_t stuck_until(const struct vfm_migration *m)
{
    int64_t until = CLOCK_NEVER;

    if (m->wishes.send)
        until = m->taken_at + STUCK_FACTOR * peer_timeout_ns(m);
    if (m->wishes.lanes_send != 0)
        until = clock_min(until, m->lanes_taken_at +
                                     STUCK_FACTOR * peer_timeout_ns(m));
    return until;
}

/* When a target that only says that it is busy has had its time: while it is
 * waited for the devices are stopped, or nothing is sent. */
static int64_t answered_until(const struct vfm_migration *m)
{
    bool asked = is_source(m) &&
                 (m->stage == VFM_STAGE_LOADED || m->stage == VFM_STAGE_START);
    bool announced = is_source(m) && m->stage == VFM_STAGE_SETUP &&
                     m->source.announced_at != 0;

    if (!asked && !announced)
        return CLOCK_NEVER;
    return (asked ? m->stage_began_at : m->source.announced_at) +
           STUCK_FACTOR * peer_timeout_ns(m);
}

/* What is wrong, probably, where a peer is silent. */
static const char *hint(const struct vfm_migration *m)
{
    if (peer_is(m, VFM_PEER_QEMU) && m->stage == VFM_STAGE_SETUP &&
        m->options.channels > 0)
        return "; a QEMU begins when it has as many channels as its "
               "multifd-channels says";
    return m->stage == VFM_STAGE_HELLO && peer_is(m, VFM_PEER_VFMIG)
               ? "; if nobody answers there, the peer is none"
               : "";
}

/* Whether somebody who answers nothing has to do something all the same: take
 * what is sent, or go on with what has begun. */
static bool is_expected(const struct vfm_migration *m)
{
    return m->wishes.send ||
           (m->wishes.recv && vfm_channel_bytes_received(m->channel) > 0);
}

/* While it is us who keep the peer waiting its time does not run. */
static void spare_peer(struct vfm_migration *m, bool for_peer)
{
    bool is_limited = m->wishes.send && channel_is_limited(m->channel);

    if (is_limited)
        m->taken_at = clock_now();
    /* A vfmig says now and then that it is there. */
    if (!for_peer || (is_limited && !peer_is(m, VFM_PEER_VFMIG)))
        m->heard_at = clock_now();
}

int talk_wait(struct vfm_migration *m, int ret, struct vfm_error *err)
{
    bool for_peer = m->wishes.send || m->wishes.recv ||
                    m->wishes.lanes_send != 0 || m->wishes.lanes_recv != 0;
    int64_t silent;
    int64_t until;

    if (ret != -EAGAIN)
        return ret;
    spare_peer(m, for_peer);
    if (peer_is(m, VFM_PEER_NONE) && !is_expected(m))
        return ret;
    silent = silent_until(m);
    until = clock_min(silent, clock_min(stuck_until(m), answered_until(m)));
    if (clock_now() < until) {
        wish_wake(m, until);
        return -EAGAIN;
    }
    m->failed_at_peer = true;
    return error_set(err, -ETIMEDOUT,
                     "%s: the peer got nothing done for %lld ms in stage %s%s",
                     vfm_channel_name(m->channel),
                     (long long)(peer_timeout_ns(m) / NS_PER_MS *
                                 (until < silent ? STUCK_FACTOR : 1)),
                     vfm_stage_name(m->stage), hint(m));
}

int talk_failure(const struct vfm_migration *m, const struct message *msg,
                 struct vfm_error *err)
{
    char text[sizeof(err->message) / 2];

    message_text(msg, text, sizeof(text));
    return error_set(
        err, -EREMOTEIO, "%s: the %s %s: %s", vfm_channel_name(m->channel),
        is_source(m) ? "target" : "source",
        msg->type == MESSAGE_RETURNED ? "gave the devices back" : "failed",
        text);
}

/* Machine types before 11.1 have their source wait for one acknowledgement,
 * which stands for all devices; later ones, and ours, for one of each
 * announcement. What the names of machine types end in is their version. */
bool acknowledges_once(const struct vfm_migration *m, const char *machine)
{
    const char *dash = strrchr(machine, '-');
    unsigned int major;
    unsigned int minor;

    if (!peer_is(m, VFM_PEER_QEMU) || dash == NULL ||
        sscanf(dash, "-%3u.%3u", &major, &minor) != 2)
        return false;
    return major < 11 || (major == 11 && minor < 1);
}
