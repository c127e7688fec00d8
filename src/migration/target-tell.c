/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Target: what it says to the source beside the answers of the stages.
 */
#include <errno.h>

#include "migration/target.h"
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

int target_say(struct vfm_migration *m, bool *put, enum message_type type,
               const void *payload, size_t len, struct vfm_error *err)
{
    int ret = talk_flush(m, err);

    if (ret < 0 || *put)
        return ret;
    message_put(&m->outbox, type, payload, len);
    *put = true;
    return talk_flush(m, err);
}
