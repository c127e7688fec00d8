/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Target: what it says to the source beside the answers of the stages.
 */

#include "migration/target.h"
#include "util/bytes.h"
#include "util/clock.h"

/* How often, when there is something new. */
#define PROGRESS_INTERVAL_NS (50 * NS_PER_MS)

static bool is_due(const struct vfm_migration *m)
{
    const struct target *t = &m->target;
    int64_t ago = clock_now() - m->told_at;

    return ago >= keep_alive_ns(m) ||
           (ago >= PROGRESS_INTERVAL_NS && t->loaded_bytes != t->told_bytes);
}

/* A failure to send is not one of the migration: whatever the source said
 * before it went away is still to be read, and reading will notice. */
void target_tell_progress(struct vfm_migration *m)
{
    struct target *t = &m->target;

    if (!peer_is(m, VFM_PEER_VFMIG) || talk_flush(m, NULL) < 0)
        return;
    if (is_due(m)) {
        message_put_u64(&m->outbox, MESSAGE_PROGRESS, 2, t->loaded_bytes,
                        t->busy_ns);
        t->told_bytes = t->loaded_bytes;
        talk_flush(m, NULL);
    }
    wish_wake(m, m->told_at + keep_alive_ns(m));
}

#define SPANS_IN_ONE (MESSAGE_MAX / SPAN_BYTES)

/* As many of what comes next as a message holds. */
static void put_spans(struct vfm_migration *m)
{
    uint8_t payload[SPANS_IN_ONE * SPAN_BYTES];
    unsigned int n = 0;

    while (n < SPANS_IN_ONE && m->target.turn < m->spans.count) {
        const struct span *span = &m->spans.all[m->target.turn++];
        int device = span->device == SPAN_NO_ONE
                         ? SPAN_NO_ONE
                         : m->members[span->device]->there;

        span_put(span, device, payload + (size_t)n++ * SPAN_BYTES);
    }
    message_put(&m->outbox, MESSAGE_SPANS, payload, (size_t)n * SPAN_BYTES);
}

/* What the source waited for since it had sent everything, but for what we
 * waited for it. */
static void put_spent(struct vfm_migration *m)
{
    uint8_t payload[CAUSES * sizeof(uint64_t)];

    for (unsigned int cause = 0; cause < CAUSES; cause++) {
        uint64_t ns = 0;

        for (int stage = VFM_STAGE_CHECK; stage <= VFM_STAGE_START; stage++)
            ns += m->spent.stage_ns[stage][cause];
        put_be64(payload + cause * sizeof(uint64_t),
                 cause == VFM_CAUSE_PEER ? 0 : ns);
    }
    message_put(&m->outbox, MESSAGE_SPENT, payload, sizeof(payload));
    m->target.asked = false;
}

int target_tell_spans(struct vfm_migration *m)
{
    int ret = talk_flush(m, NULL);

    while (ret == 0 && m->target.asked) {
        if (m->target.turn < m->spans.count)
            put_spans(m);
        else
            put_spent(m);
        ret = talk_flush(m, NULL);
    }
    return ret;
}
