/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: says hello, then begins the stream.
 */
#include <errno.h>
#include <stdlib.h>

#include "migration/hello.h"
#include "migration/source.h"
#include "util/clock.h"

enum { SAY, SENDING, LISTENING, CONNECTING };

static int say_hello(struct vfm_migration *m, struct vfm_error *err)
{
    size_t len;
    int ret;

    m->source.asked_at = clock_now();
    ret = hello_build(m, &m->source.text, &len, err);
    if (ret < 0)
        return ret;
    outbox_begin(&m->outbox);
    outbox_set_body(&m->outbox, m->source.text, len);
    m->step = SENDING;
    return 0;
}

static int hear_answer(struct vfm_migration *m, struct vfm_error *err)
{
    const char *json;
    size_t len;
    int ret = talk_hear_hello(m, &json, &len, err);

    if (ret == 0)
        ret = hello_check_answer(m, json, len, err);
    if (ret < 0)
        return ret;
    if (m->lanes.count < m->options.channels)
        tell_warning(m, "%s: the target takes %u channels, not %u",
                     vfm_channel_name(m->channel), m->lanes.count,
                     m->options.channels);
    if (m->lanes.count > 0 && m->options.compress && !m->lanes.compressed)
        tell_warning(m,
                     "%s: the target does not know zstd: the channels are "
                     "not compressed",
                     vfm_channel_name(m->channel));
    m->step = CONNECTING;
    return 0;
}

/* A QEMU was told by its user how many there are, and begins when all have
 * come: nothing is agreed.  In the place of the nonce is the VM's UUID, none.
 */
static int open_qemu_lanes(struct vfm_migration *m, struct vfm_error *err)
{
    m->lanes.count = m->options.channels;
    return talk_wait(m, source_open_lanes(m, err), err);
}

int source_hello(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    if (!peer_is(m, VFM_PEER_VFMIG))
        return open_qemu_lanes(m, err);
    if (m->step == SAY)
        ret = say_hello(m, err);
    if (ret == 0 && m->step == SENDING) {
        ret = talk_flush(m, err);
        if (ret == 0)
            m->step = LISTENING;
    }
    if (ret == 0 && m->step == LISTENING)
        ret = hear_answer(m, err);
    if (ret == 0)
        ret = source_open_lanes(m, err);
    return talk_wait(m, ret, err);
}

static bool can_pre_copy(const struct vfm_migration *m,
                         const struct member *member)
{
    return !m->paused && vfm_device_has_state(member->dev, VFM_STATE_PRE_COPY);
}

static enum vfm_state want_pre_copy(const struct vfm_migration *m,
                                    const struct member *member)
{
    return can_pre_copy(m, member) ? VFM_STATE_PRE_COPY
                                   : vfm_device_state(member->dev);
}

/* QEMU's own first one. */
#define QEMU_PING 1

static void put_beginning(struct vfm_migration *m)
{
    outbox_begin(&m->outbox);
    encode_header(&m->outbox.head);
    encode_configuration(&m->outbox.head, m->machine);
    if (!has_return_path(m))
        return;
    encode_command(&m->outbox.head, VFM_COMMAND_OPEN_RETURN_PATH, NULL, 0);
    encode_ping(&m->outbox.head, QEMU_PING);
}

static void put_device(struct vfm_migration *m, const struct member *member)
{
    struct encoder *enc = &m->outbox.head;

    outbox_begin(&m->outbox);
    encode_section_begin(enc, VFM_SECTION_START, member->section_id,
                         member->section, 0, 1);
    encode_vfio_setup(enc);
    encode_section_footer(enc, member->section_id);
}

/* Memory first, as QEMU does. */
static int announce_ram(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = talk_flush(m, err);

    if (ret == 0 && m->ram != NULL)
        source_put_blocks(m);
    return ret;
}

static int announce_devices(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    while ((ret = talk_flush(m, err)) == 0 && m->source.turn < m->num_members)
        put_device(m, m->members[m->source.turn++]);
    if (ret == 0)
        m->source.turn = 0;
    return ret;
}

/* What is asked of the devices may take long, too. */
static int begin_ram(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_begin_ram(m, err);
    int alive;

    if (ret != -EAGAIN)
        return ret;
    alive = source_keep_alive(m, err);
    return alive < 0 && alive != -EAGAIN ? alive : -EAGAIN;
}

/* Whether the target says when it can load.  A QEMU answers the first ping when
 * all channels have come and its devices are in RESUMING: before that it has
 * nowhere to put a packet. */
static bool tells_ready(const struct vfm_migration *m)
{
    return peer_is(m, VFM_PEER_VFMIG) || has_lanes(m);
}

/* What the target has to do before it can load is done while the VM runs. */
static int await_ready(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (!tells_ready(m) || m->source.ready)
        return 0;
    if (m->source.announced_at == 0)
        m->source.announced_at = clock_now();
    ret = source_keep_alive(m, err);
    return ret < 0 ? ret : -EAGAIN;
}

/* Trackers first: what is read from then on is read again if it is written. */
enum { BEGIN, PROVIDE, TRACK, PREPARE, ANNOUNCE_RAM, ANNOUNCE, AWAIT_READY };

static int setup_step(struct vfm_migration *m, struct vfm_error *err)
{
    switch (m->step) {
    case BEGIN:
        put_beginning(m); /* only behind it can we say that we are alive */
        return 0;
    case PROVIDE:
        return source_prepare_configs(m, err);
    case TRACK:
        return begin_ram(m, err);
    case PREPARE:
        return source_move(m, want_pre_copy, NULL, err);
    case ANNOUNCE_RAM:
        return announce_ram(m, err);
    case ANNOUNCE:
        return announce_devices(m, err);
    case AWAIT_READY:
    default:
        return await_ready(m, err);
    }
}

int source_setup(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_listen(m, err);

    while (ret == 0 && m->step <= AWAIT_READY) {
        ret = setup_step(m, err);
        if (ret == 0)
            m->step++;
    }
    if (ret == 0)
        m->source.look_at = clock_now();
    return talk_wait(m, ret, err);
}
