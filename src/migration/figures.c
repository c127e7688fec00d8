/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a migration tells about itself.
 */
#include <errno.h>
#include <string.h>

#include "migration/migration.h"
#include "util/clock.h"

#define PROGRESS_SIZE_MIN sizeof(struct vfm_progress)
#define STATS_SIZE_MIN    sizeof(struct vfm_device_stats)

enum vfm_outcome vfm_migration_get_outcome(const struct vfm_migration *m)
{
    return m->outcome;
}

enum vfm_stage vfm_migration_get_stage(const struct vfm_migration *m)
{
    return m->stage;
}

bool vfm_migration_vm_runs(const struct vfm_migration *m)
{
    return !m->paused;
}

/* Of the two rates the lower one is what we get. */
static uint64_t lower_rate(const struct source *s)
{
    uint64_t link = s->link.bytes_per_sec;
    uint64_t loading = s->loading.bytes_per_sec;

    if (link == 0 || loading == 0)
        return link + loading;
    return link < loading ? link : loading;
}

static void get_times(const struct vfm_migration *m, struct vfm_progress *p)
{
    int64_t now = m->over ? m->over_at : clock_now();

    p->downtime_ns = m->downtime_ns;
    memcpy(p->stage_ns, m->stage_ns, sizeof(p->stage_ns));
    if (!m->begun)
        return;
    p->elapsed_ns = (uint64_t)(now - m->began_at);
    if (m->stage < VFM_STAGE_DONE)
        p->stage_ns[m->stage] += (uint64_t)(now - m->stage_began_at);
}

int vfm_migration_get_progress(const struct vfm_migration *m,
                               struct vfm_progress *progress)
{
    size_t size = progress->size;

    if (size < PROGRESS_SIZE_MIN)
        return -EINVAL;
    memset(progress, 0, size);
    progress->size = size;
    progress->stage = m->stage;
    progress->stream_bytes = is_source(m)
                                 ? vfm_channel_bytes_sent(m->channel)
                                 : vfm_channel_bytes_received(m->channel);
    for (unsigned int i = 0; i < m->num_members; i++)
        progress->device_bytes += m->members[i]->stats.pre_copy_bytes +
                                  m->members[i]->stats.stop_copy_bytes;
    progress->remaining_bytes = m->source.remaining;
    progress->expected_downtime_ns = m->source.expected_ns;
    progress->bytes_per_sec = lower_rate(&m->source);
    progress->iterations = m->source.iterations;
    get_times(m, progress);
    return 0;
}

int vfm_migration_get_device_stats(const struct vfm_migration *m,
                                   unsigned int index,
                                   struct vfm_device_stats *stats)
{
    if (stats->size < STATS_SIZE_MIN)
        return -EINVAL;
    if (index >= m->num_members)
        return -ENOENT;
    member_get_stats(m->members[index], stats);
    return 0;
}
