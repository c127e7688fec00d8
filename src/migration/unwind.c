/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens after a failure: whoever owns the devices brings them back, and
 * both sides know why.
 *
 *   source, still the owner      the devices go back to what they did before
 *   source, not the owner        nothing is touched: `handed over`
 *   target, not yet the owner    tells the source first, which has a VM
 *                                waiting and may just have given the devices
 *                                away, then resets what it had loaded
 *   target, the owner            resets, and when nothing runs here any more
 *                                gives the devices back
 */
#include <errno.h>
#include <string.h>

#include "migration/source.h"
#include "util/clock.h"
#include "util/error.h"

/* How long the peer may take to say why it hung up, or to read why we did; less
 * if it never may be that slow. */
#define LAST_WORDS_NS (1 * NS_PER_SEC)

static void enter(struct vfm_migration *m, enum unwind_step step)
{
    m->unwind = step;
    m->step = 0;
    m->unwind_until =
        clock_now() + clock_min(LAST_WORDS_NS, peer_timeout_ns(m));
}

void unwind_start(struct vfm_migration *m)
{
    bool may_tell = !is_source(m) && !m->target.ours;

    m->said = false;
    m->source.sending = NULL;
    m->source.sending_ram = false;
    lanes_close(m);
    enter(m, may_tell ? UNWIND_TELL : UNWIND_SETTLE);
}

static bool is_too_late(struct vfm_migration *m)
{
    wish_wake(m, m->unwind_until);
    return clock_now() >= m->unwind_until;
}

/* What the source says after its stream; only that it failed is news now. */
static int target_listen(struct vfm_migration *m, struct vfm_error *err)
{
    struct message msg;
    int ret = m->target.stream_over ? 0 : -ENODATA;

    for (unsigned int n = 0; ret == 0 && n < FILLS_MAX; n++) {
        while ((ret = message_next(&m->inbox, &msg, err)) == 1)
            if (msg.type == MESSAGE_FAILED)
                return talk_failure(m, &msg, err);
        if (ret == 0)
            ret = talk_fill(m, err);
    }
    return ret == -EAGAIN ? 0 : ret;
}

/* The channel broke: what the peer said before it did is a better reason, and
 * may be that the devices are a source's again. */
static int listen_to_last_words(struct vfm_migration *m)
{
    struct vfm_error err = { 0 };
    int ret;

    if (!m->failed_at_peer ||
        (!peer_is(m, VFM_PEER_VFMIG) && !has_return_path(m)) ||
        m->stage == VFM_STAGE_HELLO)
        return 0;
    ret = is_source(m) ? source_listen(m, &err) : target_listen(m, &err);
    if (ret == 0)
        return is_too_late(m) ? 0 : -EAGAIN;
    if (ret == -EREMOTEIO)
        m->failure = err;
    return 0;
}

/* What a failed migration does to @member, and whether it does anything.  A
 * device that neither fell back nor could be reset stays as it is: whatever
 * would work in the second round, nobody could say what it holds. */
static bool falls_back(const struct vfm_migration *m,
                       const struct member *member, enum vfm_state *fallback)
{
    *fallback = member->initial;
    if (m->unwind_round == 0 && m->num_members > 1 && is_source(m) &&
        member->initial == VFM_STATE_RUNNING)
        *fallback = VFM_STATE_RUNNING_P2P;
    return member->touched && member->recovery != VFM_RECOVERY_FAILED;
}

static void begin_recovery(struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];
        enum vfm_state fallback;

        member->recovering = falls_back(m, member, &fallback);
        if (!member->recovering)
            continue;
        if (is_source(m))
            device_recover_start(member->dev, fallback);
        else
            device_recover_by_reset_start(member->dev, fallback);
    }
}

static int finish_recovery(struct vfm_migration *m)
{
    int busy = 0;

    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];
        enum vfm_recovery how;

        if (!member->recovering)
            continue;
        if (device_recover_finish(member->dev, &how) == -EAGAIN) {
            busy = -EAGAIN;
            continue;
        }
        member->recovering = false;
        if (how > member->recovery)
            member->recovery = how;
        tell_state(m, member);
    }
    return busy;
}

static bool is_lost(const struct member *member)
{
    return member->recovery == VFM_RECOVERY_RESET ||
           member->recovery == VFM_RECOVERY_FAILED;
}

/* Says what became of the devices that are lost, or of the others. */
static void describe(struct vfm_migration *m, bool lost)
{
    for (unsigned int i = 0; i < m->num_members; i++) {
        const struct member *member = m->members[i];

        if (member->touched && is_lost(member) == lost)
            device_recover_describe(member->dev, member->recovery, &m->failure);
    }
}

/* Says what became of the devices, and who owns them. */
static void conclude(struct vfm_migration *m)
{
    m->outcome = VFM_OUTCOME_FAILED;
    for (unsigned int i = 0; i < m->num_members; i++) {
        const struct member *member = m->members[i];

        if (member->touched &&
            (is_source(m) ? is_lost(member)
                          : member->recovery == VFM_RECOVERY_FAILED))
            m->outcome = VFM_OUTCOME_LOST;
    }
    /* If a sentence cannot hold them all, it holds the bad news. */
    describe(m, true);
    describe(m, false);
}

static bool any_is_gone(const struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (m->members[i]->recovery == VFM_RECOVERY_FAILED)
            return true;
    return false;
}

/* The VM that was stopped goes on, unless a device of it is gone. */
static void restart_vm(struct vfm_migration *m)
{
    struct vfm_error err = { 0 };

    if (!is_source(m) || !m->vm_stopped)
        return;
    if (any_is_gone(m))
        error_add(&m->failure, "the VM stays stopped");
    else if (vm_start(m, &err) < 0)
        error_add(&m->failure, "%s", err.message);
}

static int recover(struct vfm_migration *m)
{
    int ret;

    if (m->source.given) {
        m->outcome = VFM_OUTCOME_HANDED_OVER;
        error_add(
            &m->failure, "the devices were given away%s and stay stopped here",
            m->source.running ? ", the target says that it runs them," : "");
        return 0;
    }
    while (m->unwind_round < 2) {
        if (m->step == 0)
            begin_recovery(m);
        m->step = 1;
        ret = finish_recovery(m);
        if (ret < 0)
            return ret;
        m->step = 0;
        m->unwind_round++;
        if (!is_source(m))
            break;
    }
    conclude(m);
    restart_vm(m);
    vm_slow(m, 0);
    return 0;
}

/* What trackers and devices have begun is finished first: they take one call
 * at a time. */
static int settle(struct vfm_migration *m)
{
    int ret = tracking_settle(m);

    return ret < 0 ? ret : members_settle(m);
}

/* Whether @member may run with what was loaded: it could not be reset, and does
 * not say that it is stopped. */
static bool may_run(const struct member *member)
{
    enum vfm_state state = vfm_device_state(member->dev);

    return member->recovery == VFM_RECOVERY_FAILED && state != VFM_STATE_STOP &&
           state != VFM_STATE_STOP_COPY && state != VFM_STATE_RESUMING;
}

/* A target may give the devices back only if what it had loaded runs nowhere
 * here: it has not read `yours` and never will, or has ended what ran. */
static bool may_give_back(const struct vfm_migration *m)
{
    for (unsigned int i = 0; m->target.ours && i < m->num_members; i++)
        if (may_run(m->members[i]))
            return false;
    return m->stage >= VFM_STAGE_LOADED;
}

/* A source can say something once its stream is over, and has something to say
 * as long as the devices are its own. */
static bool source_has_words(const struct vfm_migration *m)
{
    return is_source(m) && peer_is(m, VFM_PEER_VFMIG) &&
           m->stage > VFM_STAGE_COMPLETE && !m->source.given;
}

/* Whether the source is a QEMU that asked for no answers, and does not know by
 * itself.  It asks before its devices' first bytes, if ever. */
static bool is_unheard(const struct vfm_migration *m)
{
    return !is_source(m) && peer_is(m, VFM_PEER_QEMU) &&
           !m->target.return_path && !m->target.stream_cut &&
           vfm_channel_is_duplex(m->channel) && m->stage >= VFM_STAGE_PRE_COPY;
}

static int tell_peer(struct vfm_migration *m)
{
    enum message_type type =
        !is_source(m) && may_give_back(m) ? MESSAGE_RETURNED : MESSAGE_FAILED;
    const uint8_t shut_failed[4] = { 0, 0, 0, 1 };
    int ret = 0;

    if (is_too_late(m))
        return 0;
    if (peer_is(m, VFM_PEER_VFMIG) && m->stage > VFM_STAGE_HELLO)
        ret = talk_say(m, type, m->failure.message, strlen(m->failure.message),
                       NULL);
    else if (peer_is(m, VFM_PEER_QEMU) && m->target.return_path)
        ret = talk_say(m, MESSAGE_SHUT, shut_failed, sizeof(shut_failed), NULL);
    else if (is_unheard(m))
        error_add(&m->failure, "a QEMU without return-path does not hear of "
                               "it, and may take its VM for moved");
    return ret == -EAGAIN ? ret : 0;
}

/* A target waits for more of the stream until it ends, and whoever called us
 * may not close the channel for a while. */
static int hang_up(struct vfm_migration *m)
{
    if (peer_is(m, VFM_PEER_VFMIG) && m->stage > VFM_STAGE_HELLO)
        vfm_channel_finish(m->channel, NULL);
    return 0;
}

/* A connection that is closed with bytes unread may take our last words with
 * it. */
static int linger(struct vfm_migration *m)
{
    int ret;

    if (is_source(m))
        return hang_up(m);
    if (peer_is(m, VFM_PEER_NONE))
        return 0;
    ret = vfm_channel_finish(m->channel, NULL);
    for (unsigned int n = 0; ret == 0 && n < FILLS_MAX; n++) {
        inbox_use(&m->inbox, inbox_len(&m->inbox));
        ret = talk_fill(m, NULL);
    }
    if (ret == 0)
        wish_wake(m, 0);
    return (ret == 0 || ret == -EAGAIN) && !is_too_late(m) ? -EAGAIN : 0;
}

/* What comes after @step. */
static enum unwind_step next(const struct vfm_migration *m,
                             enum unwind_step step)
{
    switch (step) {
    case UNWIND_TELL:
        return is_source(m) || m->target.ours ? UNWIND_LINGER : UNWIND_SETTLE;
    case UNWIND_SETTLE:
        return UNWIND_LISTEN;
    case UNWIND_LISTEN:
        return UNWIND_RECOVER;
    case UNWIND_RECOVER:
        return UNWIND_UNTRACK;
    case UNWIND_UNTRACK:
        return source_has_words(m) || m->target.ours ? UNWIND_TELL
                                                     : UNWIND_LINGER;
    case UNWIND_LINGER:
    case UNWIND_NONE:
    case UNWIND_OVER:
    default:
        return UNWIND_OVER;
    }
}

static int run_step(struct vfm_migration *m)
{
    switch (m->unwind) {
    case UNWIND_TELL:
        return tell_peer(m);
    case UNWIND_SETTLE:
        return settle(m);
    case UNWIND_LISTEN:
        return listen_to_last_words(m);
    case UNWIND_RECOVER:
        return recover(m);
    case UNWIND_UNTRACK:
        return tracking_stop(m);
    case UNWIND_LINGER:
        return linger(m);
    case UNWIND_NONE:
    case UNWIND_OVER:
    default:
        return 0;
    }
}

int unwind_run(struct vfm_migration *m)
{
    while (m->unwind != UNWIND_OVER) {
        int ret = run_step(m);

        if (ret < 0)
            return ret;
        enter(m, next(m, m->unwind));
    }
    return 0;
}
