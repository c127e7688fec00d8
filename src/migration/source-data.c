/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: a device's data goes from its session to the channel, by reference:
 * what the backend received is what the channel sends.  What was sent, of
 * memory too (source-ram.c), is counted here.
 */

#include "migration/source.h"
#include "util/clock.h"

int source_put_data(struct vfm_migration *m, struct member *member,
                    enum vfm_section_type type, struct vfm_error *err)
{
    struct outbox *box = &m->outbox;
    const void *data;
    enum vfm_cause cause = spend(m, VFM_CAUSE_DEVICE);
    ssize_t n = device_peek(member->dev, &data, err);

    spend(m, cause);
    if (n <= 0)
        return wish_data(m, (int)n);
    outbox_begin(box);
    if (!m->source.section_open)
        encode_section_continue(&box->head, type, member->section_id);
    encode_vfio_data_head(&box->head, (uint64_t)n);
    outbox_set_body(box, data, (size_t)n);
    if (type == VFM_SECTION_PART) {
        encode_vfio_end(&box->tail);
        encode_section_footer(&box->tail, member->section_id);
    } else {
        m->source.section_open = true;
    }
    m->source.sending = member;
    m->source.send_began_at = clock_now();
    return 1;
}

static void note_rate(struct source *s, size_t n)
{
    s->sent_bytes += n;
    s->sent_ns += (uint64_t)(clock_now() - s->send_began_at);
    if (policy_rate_add(&s->link, s->sent_bytes, s->sent_ns))
        s->sent_bytes = s->sent_ns = 0;
}

static void note_device_sent(struct vfm_migration *m, size_t n)
{
    struct source *s = &m->source;
    enum vfm_cause cause;

    s->pieces++;
    note_data(m, s->sending, m->outbox.body->iov_base, n,
              m->stage != VFM_STAGE_PRE_COPY, s->send_began_at);
    cause = spend(m, VFM_CAUSE_DEVICE);
    device_consume(s->sending->dev, n);
    spend(m, cause);
    s->sending = NULL;
}

/* All of the piece was sent. */
static void note_sent(struct vfm_migration *m)
{
    struct source *s = &m->source;
    size_t n = m->outbox.body_len;

    note_rate(s, n);
    if (s->sending != NULL)
        note_device_sent(m, n);
    else
        source_note_ram_sent(m);
    s->sending_ram = false;
    outbox_begin(&m->outbox);
}

int source_send_data(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = talk_flush(m, err);

    if (ret == 0 && (m->source.sending != NULL || m->source.sending_ram))
        note_sent(m);
    return ret;
}

void source_prefetch(struct vfm_migration *m)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_DEVICE);

    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];
        const void *data;

        /* Errors and ends are noticed when its turn comes: both stay.  A
         * device that had nothing is not asked before its time. */
        if (member->dev->session == SESSION_SAVE && !member->drained)
            device_peek(member->dev, &data, NULL);
    }
    spend(m, cause);
}
