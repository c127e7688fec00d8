/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: says hello, then begins the stream.
 */
#include <errno.h>
#include <stdlib.h>

#include "migration/hello.h"
#include "migration/stage.h"
#include "util/clock.h"
#include "util/error.h"

enum { SAY, SENDING, LISTENING };

static int say_hello(struct vfm_migration *m, struct vfm_error *err)
{
    size_t len;
    int ret = hello_build(m, &m->source.text, &len, err);

    if (ret < 0)
        return ret;
    outbox_begin(&m->outbox);
    m->outbox.body = m->source.text;
    m->outbox.body_len = len;
    m->step = SENDING;
    return 0;
}

static int hear_answer(struct vfm_migration *m, struct vfm_error *err)
{
    const char *json;
    size_t len;
    int ret = talk_hear_hello(m, &json, &len, err);

    return ret < 0 ? ret : hello_check_answer(m, json, len, err);
}

int source_hello(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    if (!peer_is(m, VFM_PEER_VFMIG))
        return 0;
    if (m->step == SAY)
        ret = say_hello(m, err);
    if (ret == 0 && m->step == SENDING) {
        ret = talk_flush(m, err);
        if (ret == 0)
            m->step = LISTENING;
    }
    if (ret == 0)
        ret = hear_answer(m, err);
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

/* Encodes what comes before the first device, or one device. */
static void encode_setup(struct vfm_migration *m, struct encoder *enc)
{
    const struct member *member = m->members[m->source.turn];

    if (m->source.turn == 0) {
        encode_header(enc);
        encode_configuration(enc, m->machine);
    }
    encode_section_begin(enc, VFM_SECTION_START, member->section_id,
                         member->section, 0, 1);
    encode_vfio_setup(enc);
    encode_section_footer(enc, member->section_id);
}

int source_setup(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (m->step == 0) {
        ret = members_move(m, want_pre_copy, NULL, err);
        if (ret < 0)
            return ret;
        m->step = 1;
        outbox_begin(&m->outbox);
    }
    while ((ret = talk_flush(m, err)) == 0) {
        if (m->source.turn == m->num_members)
            break;
        outbox_begin(&m->outbox);
        encode_setup(m, &m->outbox.head);
        m->source.turn++;
    }
    if (ret < 0)
        return talk_wait(m, ret, err);
    m->source.turn = 0;
    m->source.look_at = clock_now();
    return 0;
}
