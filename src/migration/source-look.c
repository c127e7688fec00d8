/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: asks the devices how much is left, all at once, beside the data that
 * flows.
 */
#include <errno.h>

#include "migration/source.h"

static const enum device_op questions[] = {
    DEVICE_DATA_SIZE,
    DEVICE_PRECOPY_INFO,
};
#define NUM_QUESTIONS (sizeof(questions) / sizeof(questions[0]))

static bool applies(const struct member *member, enum device_op op)
{
    if (op == DEVICE_DATA_SIZE)
        return member->dev->info.has_data_size;
    return member->dev->info.has_precopy_info && pre_copies(member);
}

static void note_precopy(struct member *member,
                         const struct vfm_precopy_info *info)
{
    if ((info->flags & VFM_PRECOPY_REINIT) != 0 && info->initial_bytes > 0)
        member->initial_announced = false;
    member->precopy_initial = info->initial_bytes;
    member->precopy_dirty = info->dirty_bytes;
}

static void note_answer(struct member *member, const struct device_call *call)
{
    if (call->op == DEVICE_DATA_SIZE)
        member->data_size = call->bytes;
    else
        note_precopy(member, &call->precopy);
}

/* A device that cannot tell is as good as one that was not asked; one that
 * is gone is a failure. */
static bool is_lost(int ret)
{
    return ret == -ENOTCONN || ret == -ETIMEDOUT || ret == -EPROTO ||
           ret == -ECONNRESET || ret == -EPIPE;
}

/* Goes on with the questions to @member; 0 when it has answered all. */
static int ask(struct member *member, struct vfm_error *err)
{
    while (member->question < NUM_QUESTIONS) {
        struct device_call call = { .op = questions[member->question] };
        int ret = 0;

        if (!applies(member, call.op)) {
            member->question++;
            continue;
        }
        if (!device_is_busy(member->dev))
            ret = device_call_start(member->dev, &call, err);
        if (ret == 0)
            ret = device_call_finish(member->dev, &call, err);
        if (ret == -EAGAIN || is_lost(ret))
            return ret;
        if (ret == 0)
            note_answer(member, &call);
        member->question++;
    }
    return 0;
}

static void begin_look(struct vfm_migration *m)
{
    m->source.looking = true;
    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];

        member->question = 0;
        member->data_size = POLICY_UNKNOWN;
        member->precopy_initial = POLICY_UNKNOWN;
        member->precopy_dirty = POLICY_UNKNOWN;
    }
}

int source_look(struct vfm_migration *m, struct vfm_error *err)
{
    int busy = 0;

    if (!m->source.looking)
        begin_look(m);
    for (unsigned int i = 0; i < m->num_members; i++) {
        enum vfm_cause cause = spend(m, VFM_CAUSE_DEVICE);
        int ret = ask(m->members[i], err);

        spend(m, cause);
        if (ret == -EAGAIN)
            busy = ret;
        else if (ret < 0)
            return ret;
    }
    if (busy == 0)
        m->source.looking = false;
    return busy;
}

/* Whether initial data is still to be sent, or to be announced as complete.  A
 * device that claims what cannot be, or does not answer, cannot tell, and is
 * not waited for. */
static bool initial_is_pending(const struct vfm_migration *m,
                               const struct member *member)
{
    if (member->precopy_initial > POLICY_PLAUSIBLE_BYTES)
        return false;
    return member->precopy_initial > 0 ||
           (announces_initial(m) && !member->initial_announced);
}

void source_sum_up(struct vfm_migration *m, struct policy_input *in)
{
    in->remaining = 0;
    in->irreducible = 0;
    in->drained = true;
    in->initial_pending = m->source.acks_pending > 0;
    for (unsigned int i = 0; i < m->num_members; i++) {
        const struct member *member = m->members[i];
        uint64_t left = policy_remaining(
            member->data_size,
            policy_add(member->precopy_initial, member->precopy_dirty));

        in->remaining = policy_add(in->remaining, left);
        if (!pre_copies(member)) {
            in->irreducible = policy_add(in->irreducible, left);
            continue;
        }
        in->drained = in->drained && member->had_an_end;
        if (initial_is_pending(m, member))
            in->initial_pending = true;
    }
}
