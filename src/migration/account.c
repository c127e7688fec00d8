/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a migration spends its time on, where it is spent: calls to devices and
 * of the digest have their causes here, and what has lasted becomes a span.
 */
#include "migration/migration.h"
#include "migration/probes.h"
#include "util/clock.h"

/* Shorter waits are in the sums only, or the list would be full of them; but
 * those for the same are one if nothing of note was done in between. */
#define WAIT_MIN_NS (100 * NS_PER_MS / 1000)
#define GAP_MAX_NS  (20 * NS_PER_MS / 1000)

static const char *side(const struct vfm_migration *m)
{
    return is_source(m) ? "source" : "target";
}

static const char *name_of(const struct vfm_migration *m, int device)
{
    return device == SPAN_NO_ONE ? "" : m->members[device]->id;
}

/* Tells whoever traces the system. */
static void probe(const struct vfm_migration *m, const struct span *s)
{
    const char *who = side(m);
    const char *device = name_of(m, s->device);
    const char *stage = vfm_stage_name(s->stage);
    int64_t ns = s->ended_at - s->began_at;

    (void)device;
    (void)stage;
    (void)ns;
    switch (s->kind) {
    case VFM_SPAN_STAGE:
        PROBE_STAGE(who, stage, s->began_at, ns, s->bytes);
        break;
    case VFM_SPAN_ARC:
        PROBE_ARC(who, device, vfm_state_name(s->from), vfm_state_name(s->to),
                  s->began_at, ns);
        break;
    case VFM_SPAN_DATA:
        PROBE_DATA(who, device, stage, s->began_at, ns, s->bytes);
        break;
    case VFM_SPAN_CHANNEL:
        PROBE_CHANNEL(who, s->channel, s->began_at, ns, s->bytes,
                      s->blocked_ns);
        break;
    case VFM_SPAN_WAIT:
    default:
        PROBE_WAIT(who, vfm_cause_name(s->cause), device, s->began_at, ns);
        break;
    }
}

static void keep(struct vfm_migration *m, const struct span *span)
{
    spans_add(&m->spans, span);
    probe(m, span);
}

/* The wait that might have gone on does not. */
static void end_wait(struct vfm_migration *m)
{
    struct span *wait = &m->wait;

    if (wait->ended_at - wait->began_at >= WAIT_MIN_NS)
        keep(m, wait);
    wait->began_at = wait->ended_at = 0;
}

/* Somebody was waited for since @began_at, while the VM was stopped. */
static void note_wait(struct vfm_migration *m, int64_t began_at)
{
    struct span *wait = &m->wait;
    bool goes_on = wait->cause == m->spent.cause &&
                   wait->device == m->spent_for && wait->stage == m->stage &&
                   began_at - wait->ended_at <= GAP_MAX_NS;

    if (!goes_on) {
        end_wait(m);
        *wait = (struct span){
            .kind = VFM_SPAN_WAIT,
            .stage = m->stage,
            .cause = m->spent.cause,
            .device = m->spent_for,
            .began_at = began_at,
        };
    }
    wait->ended_at = clock_now();
}

static bool is_wait(enum vfm_cause cause)
{
    return cause != VFM_CAUSE_SELF && cause != VFM_CAUSE_DIGEST &&
           cause != VFM_CAUSE_LOOP;
}

static bool is_stopped(const struct vfm_migration *m)
{
    return m->stopped_at != 0 && m->downtime_ns == 0;
}

enum vfm_cause spend(struct vfm_migration *m, enum vfm_cause cause)
{
    return spend_for(m, cause, NULL);
}

enum vfm_cause spend_for(struct vfm_migration *m, enum vfm_cause cause,
                         const struct member *member)
{
    enum vfm_cause before = m->spent.cause;

    if (is_stopped(m) && is_wait(before))
        note_wait(m, m->spent.at);
    spent_on(&m->spent, m->stage, cause);
    m->spent_for = member == NULL ? SPAN_NO_ONE : member->index;
    return before;
}

int flush_device(struct vfm_migration *m, const struct member *member,
                 struct vfm_error *err)
{
    enum vfm_cause cause = spend_for(m, VFM_CAUSE_DEVICE, member);
    int ret = device_flush(member->dev, err);

    spend(m, cause);
    return wish_data(m, ret);
}

/* The span of @member's data in this stage, which began then; NULL if there is
 * no room. */
static struct span *data_span(struct vfm_migration *m, struct member *member,
                              int64_t began_at)
{
    const struct span span = {
        .kind = VFM_SPAN_DATA,
        .stage = m->stage,
        .device = member->index,
        .began_at = began_at,
    };

    if (member->data == NULL || member->data->stage != m->stage)
        member->data = spans_add(&m->spans, &span);
    return member->data;
}

void note_data(struct vfm_migration *m, struct member *member, const void *data,
               size_t n, bool stopped, int64_t began_at)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_DIGEST);
    struct span *span = data_span(m, member, began_at);

    member_note_data(member, data, n, stopped);
    spend(m, cause);
    if (span == NULL)
        return;
    span->ended_at = m->spent.at;
    span->bytes += n;
}

/* They carry something in the stage that ends only. */
static void note_channels(struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->lanes.count; i++) {
        const struct lane *lane = m->lanes.lanes[i];

        if (lane == NULL || lane->began_at == 0)
            continue;
        keep(m, &(struct span){
                    .kind = VFM_SPAN_CHANNEL,
                    .stage = m->stage,
                    .device = SPAN_NO_ONE,
                    .channel = lane->number,
                    .began_at = lane->began_at,
                    .ended_at = lane->ended_at,
                    .bytes = lane_bytes(lane),
                    .blocked_ns = lane->blocked_ns,
                });
    }
}

void note_stage(struct vfm_migration *m)
{
    uint64_t bytes = is_source(m) ? vfm_channel_bytes_sent(m->channel)
                                  : vfm_channel_bytes_received(m->channel);

    bytes += lanes_bytes(m);
    end_wait(m);
    for (unsigned int i = 0; i < m->num_members; i++) {
        const struct span *data = m->members[i]->data;

        if (data != NULL && data->stage == m->stage)
            probe(m, data);
    }
    if (m->stage == VFM_STAGE_COMPLETE)
        note_channels(m);
    keep(m, &(struct span){
                .kind = VFM_SPAN_STAGE,
                .stage = m->stage,
                .device = SPAN_NO_ONE,
                .began_at = m->stage_began_at,
                .ended_at = m->spent.at,
                .bytes = bytes - m->stage_bytes,
            });
    m->stage_bytes = bytes;
}

void note_arc(struct vfm_migration *m, const struct member *member)
{
    keep(m, &(struct span){
                .kind = VFM_SPAN_ARC,
                .stage = m->stage,
                .device = member->index,
                .from = member->move.from,
                .to = vfm_device_state(member->dev),
                .began_at = member->move.began_at,
                .ended_at = clock_now(),
            });
}
