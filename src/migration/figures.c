/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a migration tells about itself.
 */
#include <errno.h>
#include <string.h>

#include "migration/migration.h"
#include "util/options.h"

_Static_assert(VFM_STAGE_DONE <= VFM_STAGES_MAX,
               "every stage needs its place in struct vfm_progress");

#define PROGRESS_SIZE_MIN sizeof(struct vfm_progress)
#define STATS_SIZE_MIN    sizeof(struct vfm_device_stats)
#define RAM_SIZE_MIN      sizeof(struct vfm_ram_stats)
#define SPENT_SIZE_MIN    sizeof(struct vfm_spent)
#define SPAN_SIZE_MIN     sizeof(struct vfm_span)
#define CLOCK_SIZE_MIN    sizeof(struct vfm_clock)

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

/* The account as it stands at this moment. */
static struct spent get_spent(const struct vfm_migration *m)
{
    struct spent now = m->spent;

    if (m->begun && !m->over)
        spent_on(&now, m->stage, now.cause);
    return now;
}

static void get_times(const struct vfm_migration *m, struct vfm_progress *p)
{
    const struct spent spent = get_spent(m);

    p->downtime_ns = m->downtime_ns;
    if (m->begun)
        p->elapsed_ns =
            (uint64_t)((m->over ? m->over_at : spent.at) - m->began_at);
    for (unsigned int stage = 0; stage < VFM_STAGE_DONE; stage++)
        for (unsigned int cause = 0; cause < CAUSES; cause++)
            p->stage_ns[stage] += spent.stage_ns[stage][cause];
}

static uint64_t ram_remaining(const struct vfm_migration *m)
{
    const struct ram_save *rs = m->source.ram.save;

    return rs == NULL ? 0
                      : (rs->dirty_pages + rs->blind_pages) * VFM_RAM_PAGE_SIZE;
}

int vfm_migration_get_progress(const struct vfm_migration *m,
                               struct vfm_progress *progress)
{
    struct vfm_progress p = {
        .stage = m->stage,
        .stream_bytes = lanes_bytes(m) +
                        (is_source(m) ? vfm_channel_bytes_sent(m->channel)
                                      : vfm_channel_bytes_received(m->channel)),
        .remaining_bytes = policy_add(m->source.remaining, ram_remaining(m)),
        .expected_downtime_ns = m->source.expected_ns,
        .bytes_per_sec = policy_lower_rate(&m->source.link, &m->source.loading),
        .iterations = m->source.iterations,
    };

    for (unsigned int i = 0; i < m->num_members; i++)
        p.device_bytes += m->members[i]->stats.pre_copy_bytes +
                          m->members[i]->stats.stop_copy_bytes;
    get_times(m, &p);
    return answer_copy(progress, PROGRESS_SIZE_MIN, &p, sizeof(p));
}

int vfm_migration_get_ram_stats(const struct vfm_migration *m,
                                struct vfm_ram_stats *stats)
{
    const struct ram_load *rl = m->target.ram;
    struct vfm_ram_stats ours = m->ram_stats;

    ours.bytes = m->ram == NULL ? 0 : m->ram->bytes;
    ours.remaining_bytes = ram_remaining(m);
    ours.tracker_failures = m->source.tracking.failures;
    if (rl != NULL) {
        ours.normal_pages = rl->normal_pages;
        ours.zero_pages = rl->zero_pages;
    }
    return answer_copy(stats, RAM_SIZE_MIN, &ours, sizeof(ours));
}

int vfm_migration_get_device_stats(const struct vfm_migration *m,
                                   unsigned int index,
                                   struct vfm_device_stats *stats)
{
    struct vfm_device_stats ours;

    if (index >= m->num_members)
        return -ENOENT;
    ours = member_get_stats(m->members[index]);
    return answer_copy(stats, STATS_SIZE_MIN, &ours, sizeof(ours));
}

/* What the target did while it was waited for is no more than we have waited;
 * the rest was under way. */
static void split_peer(const struct vfm_migration *m,
                       uint64_t there_ns[VFM_CAUSES_MAX])
{
    uint64_t left = m->spent.downtime_ns[VFM_CAUSE_PEER];

    for (unsigned int cause = 0; cause < CAUSES; cause++) {
        uint64_t ns = m->source.there_ns[cause];

        if (cause == VFM_CAUSE_PEER)
            continue;
        there_ns[cause] = ns < left ? ns : left;
        left -= there_ns[cause];
    }
    there_ns[VFM_CAUSE_LINK] += left;
}

int vfm_migration_get_spent(const struct vfm_migration *m,
                            struct vfm_spent *spent)
{
    const struct spent now = get_spent(m);
    struct vfm_spent ours = { 0 };

    memcpy(ours.total_ns, now.total_ns, sizeof(now.total_ns));
    memcpy(ours.downtime_ns, now.downtime_ns, sizeof(now.downtime_ns));
    for (unsigned int stage = 0; stage < VFM_STAGE_DONE; stage++) {
        memcpy(ours.stage_ns[stage], now.stage_ns[stage],
               sizeof(now.stage_ns[stage]));
        memcpy(ours.stopped_ns[stage], now.stopped_ns[stage],
               sizeof(now.stopped_ns[stage]));
    }
    if (m->source.told)
        split_peer(m, ours.there_ns);
    return answer_copy(spent, SPENT_SIZE_MIN, &ours, sizeof(ours));
}

int vfm_migration_get_span(const struct vfm_migration *m, unsigned int index,
                           struct vfm_span *span)
{
    const struct span *kept;
    struct vfm_span ours;

    if (index >= m->spans.count)
        return -ENOENT;
    kept = &m->spans.all[index];
    ours = (struct vfm_span){
        .kind = kept->kind,
        .there = kept->there,
        .stage = kept->stage,
        .cause = kept->cause,
        .device =
            kept->device == SPAN_NO_ONE ? NULL : m->members[kept->device]->id,
        .from = kept->from,
        .to = kept->to,
        .began_ns = kept->began_at,
        .ended_ns = kept->ended_at,
        .bytes = kept->bytes,
        .channel = kept->channel,
        .blocked_ns = kept->blocked_ns,
    };
    return answer_copy(span, SPAN_SIZE_MIN, &ours, sizeof(ours));
}

int vfm_migration_get_clock(const struct vfm_migration *m,
                            struct vfm_clock *clock)
{
    const struct vfm_clock ours = {
        .known = m->source.clock.known,
        .offset_ns = m->source.clock.ns,
        .error_ns = m->source.clock.error_ns,
    };

    return answer_copy(clock, CLOCK_SIZE_MIN, &ours, sizeof(ours));
}
