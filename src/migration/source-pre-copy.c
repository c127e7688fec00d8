/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: the bulk goes over while the VM and its devices run, until the policy
 * says that the rest is small enough.
 */
#include <errno.h>
#include <stdio.h>

#include "migration/source.h"
#include "util/clock.h"
#include "util/error.h"

/* How often the devices are asked how much is left. */
#define LOOK_INTERVAL_NS (50 * NS_PER_MS)

/* What one dispatch sends before the caller's loop has its turn. */
#define PIECES_MAX       16

static bool any_pre_copies(const struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (pre_copies(m->members[i]))
            return true;
    return false;
}

static struct policy_decision decide(struct vfm_migration *m)
{
    const struct vfm_migration_options *o = &m->options;
    struct source *s = &m->source;
    struct policy_input in = {
        .remaining_before = s->remaining,
        .has_moved = s->pieces != s->pieces_before,
        .bytes_per_sec = policy_lower_rate(&s->link, &s->loading),
        .limit_ns = o->downtime_limit_ms * (uint64_t)NS_PER_MS,
        .elapsed_ns = (uint64_t)(clock_now() - m->stage_began_at),
        .timeout_ns = o->pre_copy_timeout_ms * (uint64_t)NS_PER_MS,
        .force = o->force_switchover,
    };
    struct policy_decision d;

    source_sum_up(m, &in);
    source_sum_up_ram(m, &in);
    d = policy_decide(&in);
    source_watch_ram(m, &in, &d);
    s->remaining = in.remaining;
    s->expected_ns = d.expected_ns;
    s->iterations++;
    s->pieces_before = s->pieces;
    return d;
}

/* How fast memory is written, if there is any. */
static void describe_heat(const struct vfm_migration *m, char *text,
                          size_t size)
{
    *text = '\0';
    if (m->ram != NULL)
        snprintf(text, size, ", memory is written at %llu MiB/s, %llu MiB/s go",
                 (unsigned long long)(m->ram_stats.dirty_bytes_per_sec >> 20),
                 (unsigned long long)(m->source.link.bytes_per_sec >> 20));
}

static int give_up(const struct vfm_migration *m,
                   const struct policy_decision *d, struct vfm_error *err)
{
    int64_t ns = clock_now() - m->stage_began_at;
    char expected[32] = "unknown";
    char heat[96];

    describe_heat(m, heat, sizeof(heat));
    if (d->expected_ns != POLICY_UNKNOWN)
        snprintf(expected, sizeof(expected), "%llu ms",
                 (unsigned long long)(d->expected_ns / (uint64_t)NS_PER_MS));
    return error_set(
        err, -ETIME,
        "migration: does not converge, after %lld ms: %s (expected "
        "downtime %s, limit %u ms%s)",
        (long long)(ns / NS_PER_MS), d->why, expected,
        m->options.downtime_limit_ms, heat);
}

/* The devices are asked for more after a while.  @decided: it could have been
 * decided to stop them, and was not. */
static void ask_again(struct vfm_migration *m, bool decided)
{
    int64_t now = clock_now();

    m->source.look_at = now + LOOK_INTERVAL_NS;
    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];

        if (member->drained)
            member->quiet_until = now + QUIET_INTERVAL_NS;
        member->drained = false;
        if (decided)
            member->had_an_end = false;
    }
}

/* The devices have answered. */
static int judge(struct vfm_migration *m, struct vfm_error *err)
{
    bool decides = !memory_is_live(m) || m->source.ram.exact;
    struct policy_decision d = decide(m);

    m->source.switching = d.verdict == POLICY_SWITCH;
    if (m->source.switching)
        return 0;
    if (d.verdict == POLICY_GIVE_UP)
        return give_up(m, &d, err);
    ask_again(m, decides);
    return 0;
}

static bool all_drained(const struct vfm_migration *m)
{
    if (!source_round_is_over(m) || clock_now() < m->source.ram.quiet_until)
        return false;
    for (unsigned int i = 0; i < m->num_members; i++)
        if (pre_copies(m->members[i]) && !m->members[i]->drained)
            return false;
    return true;
}

/* Whether a round has ended, and the trackers are to be asked.  A device takes
 * one call at a time: first who wrote what, then how much is left; what was
 * begun is finished. */
static bool may_sync(const struct vfm_migration *m)
{
    const struct source *s = &m->source;

    if (!memory_is_live(m) || s->ram.exact || s->looking)
        return false;
    return s->ram.syncing || source_round_is_over(m);
}

/* Asks and judges when it is time. */
static int consider(struct vfm_migration *m, struct vfm_error *err)
{
    struct source *s = &m->source;
    bool due = s->looking || s->ram.syncing || clock_now() >= s->look_at ||
               all_drained(m);
    int ret = 0;

    if (!due)
        return 0;
    if (may_sync(m))
        ret = source_sync(m, false, err);
    if (ret == 0)
        ret = source_look(m, err);
    if (ret == -EAGAIN)
        return 0;
    return ret < 0 ? ret : judge(m, err);
}

/* When consider() is due again, unless it waits for the devices' answers. */
static void wish_next_look(struct vfm_migration *m)
{
    const struct source *s = &m->source;

    if (s->looking || s->ram.syncing)
        return;
    wish_wake(m, all_drained(m) ? 0 : s->look_at);
    if (memory_is_live(m) && source_round_is_over(m) &&
        s->ram.quiet_until > clock_now())
        wish_wake(m, s->ram.quiet_until);
}

/* Whether the target is to be told that @member's initial data is complete. */
static bool has_sent_initial(const struct vfm_migration *m,
                             const struct member *member)
{
    return announces_initial(m) && !member->initial_announced &&
           member->dev->info.has_precopy_info && member->precopy_initial == 0;
}

static void announce_initial(struct vfm_migration *m, struct member *member)
{
    outbox_begin(&m->outbox);
    encode_section_continue(&m->outbox.head, VFM_SECTION_PART,
                            member->section_id);
    encode_vfio_init_data_sent(&m->outbox.head);
    encode_section_footer(&m->outbox.head, member->section_id);
    member->initial_announced = true;
    if (!acknowledges_once(m, m->machine))
        m->source.acks_pending++;
    else if (!m->source.acked)
        m->source.acks_pending = 1; /* one for all */
}

/* Puts what @member has to say into the outbox.  1 if it had anything. */
static int put_member(struct vfm_migration *m, struct member *member,
                      struct vfm_error *err)
{
    int ret;

    if (!pre_copies(member) || member->drained)
        return 0;
    if (has_sent_initial(m, member)) {
        announce_initial(m, member);
        return 1;
    }
    if (clock_now() < member->quiet_until) {
        wish_wake(m, member->quiet_until);
        return 0;
    }
    ret = source_put_data(m, member, VFM_SECTION_PART, err);
    if (ret == -ENOMSG || ret == 0) {
        member->drained = member->had_an_end = true;
        m->source.look_at = 0;
        wish_wake(m, 0);
    }
    return ret == -EAGAIN || ret == -ENOMSG ? 0 : ret;
}

/* The devices in their order, then memory. */
static int put_turn(struct vfm_migration *m, unsigned int turn,
                    struct vfm_error *err)
{
    if (turn == m->num_members)
        return source_put_ram(m);
    return put_member(m, m->members[turn], err);
}

/* One piece of the next that has any.  1 if there was one. */
static int put_next(struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int i = 0; i <= m->num_members; i++) {
        unsigned int turn = m->source.turn;
        int ret;

        m->source.turn = (turn + 1) % (m->num_members + 1);
        ret = put_turn(m, turn, err);
        if (ret != 0)
            return ret;
    }
    return 0;
}

/* Sends pieces until something has to be waited for. */
static int send_pieces(struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int n = 0; n < PIECES_MAX; n++) {
        int ret = source_send_data(m, err);

        if (ret == 0)
            ret = put_next(m, err);
        if (ret == 0)
            return source_keep_alive(m, err);
        if (ret < 0)
            return ret;
    }
    wish_wake(m, 0);
    return -EAGAIN;
}

/* What is on its way goes first. */
static int finish_piece(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_send_data(m, err);

    if (ret == 0)
        m->source.turn = 0;
    return talk_wait(m, ret, err);
}

int source_pre_copy(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_listen(m, err);

    if (!any_pre_copies(m) && !memory_is_live(m))
        return ret;
    if (ret == 0 && !m->source.switching)
        ret = consider(m, err);
    if (ret < 0)
        return talk_wait(m, ret, err);
    if (m->source.switching)
        return finish_piece(m, err);
    ret = send_pieces(m, err);
    if (ret == -EAGAIN)
        source_prefetch(m);
    wish_next_look(m);
    return ret < 0 && ret != -EAGAIN ? ret : talk_wait(m, -EAGAIN, err);
}
