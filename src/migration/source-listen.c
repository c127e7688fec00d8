/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: takes what the target says, and keeps it from thinking that we are
 * dead.
 */
#include <errno.h>

#include "migration/source.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"

/* The value of pings that only keep the connection alive. */
#define PING_VALUE 0

static int note_progress(struct vfm_migration *m, const struct message *msg)
{
    struct source *s = &m->source;
    uint64_t bytes = message_u64(msg, 0);
    uint64_t ns = message_u64(msg, 1);

    if (bytes >= s->loaded_bytes && ns >= s->loaded_ns &&
        policy_rate_add(&s->loading, bytes - s->loaded_bytes,
                        ns - s->loaded_ns)) {
        s->loaded_bytes = bytes;
        s->loaded_ns = ns;
    }
    return 0;
}

static int note_ack(struct vfm_migration *m, struct vfm_error *err)
{
    if (m->source.acks_pending == 0)
        return error_set(err, -EPROTO,
                         "target: acknowledges initial data once too often");
    m->source.acks_pending--;
    m->source.look_at = 0; /* that may be what we waited for */
    return 0;
}

static int note_ready(struct vfm_migration *m, struct vfm_error *err)
{
    if (m->stage != VFM_STAGE_SETUP || m->source.ready)
        return error_set(err, -EPROTO, "target: says ready in stage %s",
                         vfm_stage_name(m->stage));
    m->source.ready = true;
    return 0;
}

static int note_loaded(struct vfm_migration *m, const struct message *msg,
                       struct vfm_error *err)
{
    if (m->stage != VFM_STAGE_LOADED || m->source.loaded)
        return error_set(err, -EPROTO, "target: says loaded in stage %s",
                         vfm_stage_name(m->stage));
    /* What that took it was part of our waiting: it gets a line of its own. */
    spent_move(&m->spent, m->stage, VFM_STAGE_CHECK, message_u64(msg, 0));
    m->source.loaded = true;
    return 0;
}

/* With it come the times that were said when both sides were awake: they are
 * closer than those of the hello, and of the downtime. */
static int note_running(struct vfm_migration *m, const struct message *msg,
                        struct vfm_error *err)
{
    if (!m->source.given)
        return error_set(err, -EPROTO,
                         "target: runs devices that were not given to it");
    if (m->source.clock.known && msg->len == 2 * sizeof(uint64_t))
        offset_take(&m->source.clock, m->source.asked_at,
                    (int64_t)message_u64(msg, 0), (int64_t)message_u64(msg, 1),
                    clock_now());
    m->source.running = true;
    return 0;
}

static int refuse_message(const struct message *msg, struct vfm_error *err)
{
    return error_set(err, -EPROTO, "target: message 0x%04x is not for a source",
                     (unsigned int)msg->type);
}

/* They come when all is over, and of what we did not ask for there is none.
 * One that cannot be is not worth a failure, nor a place in the list. */
static int note_spans(struct vfm_migration *m, const struct message *msg,
                      struct vfm_error *err)
{
    if (!m->source.clock.known || !m->source.running || m->source.told)
        return refuse_message(msg, err);
    for (size_t at = 0; at + SPAN_BYTES <= msg->len; at += SPAN_BYTES) {
        struct span span;

        if (span_get(&span, msg->payload + at, m->num_members,
                     m->source.clock.ns))
            spans_add(&m->spans, &span);
    }
    return 0;
}

static int note_spent(struct vfm_migration *m, const struct message *msg,
                      struct vfm_error *err)
{
    if (!m->source.clock.known || !m->source.running || m->source.told)
        return refuse_message(msg, err);
    for (unsigned int cause = 0; cause < CAUSES; cause++)
        m->source.there_ns[cause] = message_u64(msg, cause);
    m->source.told = true;
    return 0;
}

/* The one message that undoes `yours`: from here on they are ours again.  A
 * target that gave up before it read that cannot know whether it was said. */
static int note_returned(struct vfm_migration *m, const struct message *msg,
                         struct vfm_error *err)
{
    if (m->source.running)
        return error_set(err, -EPROTO,
                         "target: gives devices back that it runs");
    m->source.given = false;
    return talk_failure(m, msg, err);
}

/* A QEMU has loaded all of it, and runs it from here on; or it could not, and
 * then it never will. */
static int note_shut(struct vfm_migration *m, const struct message *msg,
                     struct vfm_error *err)
{
    uint32_t failed = get_be32(msg->payload);

    if (failed != 0) {
        m->source.given = false;
        return error_set(err, -EREMOTEIO,
                         "%s: the QEMU there could not load the stream, and "
                         "only itself says why",
                         vfm_channel_name(m->channel));
    }
    if (m->stage != VFM_STAGE_LOADED || m->source.loaded)
        return error_set(err, -EPROTO,
                         "target: says that it has loaded all in stage %s",
                         vfm_stage_name(m->stage));
    m->source.loaded = true;
    return 0;
}

/* It acknowledges what it was not asked for if it was told to by its user, and
 * one without a device that announces does so at once. */
static int note_qemu_ack(struct vfm_migration *m, struct vfm_error *err)
{
    if (!m->options.switchover_ack)
        return 0;
    if (!acknowledges_once(m, m->machine))
        return note_ack(m, err);
    if (m->source.acked)
        return error_set(err, -EPROTO,
                         "target: acknowledges initial data once too often");
    m->source.acked = true;
    m->source.acks_pending = 0;
    m->source.look_at = 0;
    return 0;
}

static int take_qemu_message(struct vfm_migration *m, const struct message *msg,
                             struct vfm_error *err)
{
    if (msg->type == MESSAGE_SHUT && msg->len == sizeof(uint32_t))
        return note_shut(m, msg, err);
    if (msg->type == MESSAGE_SWITCHOVER_ACK && msg->len == 0)
        return note_qemu_ack(m, err);
    if (msg->type == MESSAGE_PONG && msg->len == sizeof(uint32_t)) {
        m->source.ready = true;
        return 0;
    }
    return error_set(err, -EPROTO,
                     "target: message 0x%04x of %u bytes is none that a QEMU "
                     "sends to a source like this",
                     (unsigned int)msg->type, msg->len);
}

static int take_message(struct vfm_migration *m, const struct message *msg,
                        struct vfm_error *err)
{
    if (!peer_is(m, VFM_PEER_VFMIG))
        return take_qemu_message(m, msg, err);
    switch (msg->type) {
    case MESSAGE_PROGRESS:
        return note_progress(m, msg);
    case MESSAGE_SWITCHOVER_ACK:
        return note_ack(m, err);
    case MESSAGE_READY:
        return note_ready(m, err);
    case MESSAGE_LOADED:
        return note_loaded(m, msg, err);
    case MESSAGE_RUNNING:
        return note_running(m, msg, err);
    case MESSAGE_RETURNED:
        return note_returned(m, msg, err);
    case MESSAGE_FAILED:
        return talk_failure(m, msg, err);
    case MESSAGE_SPANS:
        return note_spans(m, msg, err);
    case MESSAGE_SPENT:
        return note_spent(m, msg, err);
    case MESSAGE_SHUT:
    case MESSAGE_PONG:
    case MESSAGE_YOURS:
    default:
        return refuse_message(msg, err);
    }
}

int source_take_messages(struct vfm_migration *m, struct vfm_error *err)
{
    struct message msg;
    int ret;

    while ((ret = message_next(&m->inbox, &msg, err)) == 1) {
        ret = take_message(m, &msg, err);
        if (ret < 0)
            return ret;
    }
    return ret;
}

/* One that was lost while there was nothing to send is missed when there
 * is. */
static int watch_lanes(struct vfm_migration *m, struct vfm_error *err)
{
    return m->unwind == UNWIND_NONE && m->stage <= VFM_STAGE_COMPLETE
               ? lanes_watch(m, err)
               : 0;
}

int source_listen(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    if (!peer_is(m, VFM_PEER_VFMIG) && !has_return_path(m))
        return 0;
    for (unsigned int n = 0; ret == 0 && n < FILLS_MAX; n++) {
        ret = source_take_messages(m, err);
        if (ret == 0)
            ret = talk_fill(m, err);
    }
    if (ret == 0)
        wish_wake(m, 0); /* there is more, and others have their turn first */
    if (ret == 0 || ret == -EAGAIN)
        return watch_lanes(m, err);
    if (ret != -ENODATA)
        return ret;
    m->failed_at_peer = true;
    return error_set(err, -ECONNRESET, "%s: the target hung up in stage %s",
                     vfm_channel_name(m->channel), vfm_stage_name(m->stage));
}

int source_keep_alive(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = talk_flush(m, err);

    if (ret < 0 || !peer_is(m, VFM_PEER_VFMIG))
        return ret;
    if (clock_now() >= m->told_at + keep_alive_ns(m)) {
        outbox_begin(&m->outbox);
        if (m->source.section_open)
            encode_vfio_data_head(&m->outbox.head, 0);
        else
            encode_ping(&m->outbox.head, PING_VALUE);
        ret = talk_flush(m, err);
    }
    if (ret == 0)
        wish_wake(m, m->told_at + keep_alive_ns(m));
    return ret;
}

int source_move(struct vfm_migration *m, want_fn *want, moved_fn *moved,
                struct vfm_error *err)
{
    int ret = members_move(m, want, moved, err);
    int alive;

    if (ret != -EAGAIN)
        return ret;
    alive = source_keep_alive(m, err);
    return alive < 0 && alive != -EAGAIN ? alive : -EAGAIN;
}
