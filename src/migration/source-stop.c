/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: stops the VM, then the devices, learns what they wrote last, and
 * waits, if that is wanted, before anything else is sent.
 */
#include <errno.h>

#include "migration/source.h"
#include "util/clock.h"
#include "util/error.h"

enum { STOP_VM, QUIESCE, STOP_DEVICES, LAST_REPORT, ANNOUNCE };

static enum vfm_state want_quiet(const struct vfm_migration *m,
                                 const struct member *member)
{
    enum vfm_state state = vfm_device_state(member->dev);

    if (m->num_members == 1)
        return state; /* nobody there to disturb */
    if (state == VFM_STATE_RUNNING)
        return VFM_STATE_RUNNING_P2P;
    return state == VFM_STATE_PRE_COPY ? VFM_STATE_PRE_COPY_P2P : state;
}

static enum vfm_state want_stop_copy(const struct vfm_migration *m,
                                     const struct member *member)
{
    (void)m;
    (void)member;
    return VFM_STATE_STOP_COPY;
}

void source_note_stopped(struct member *member, uint64_t ns)
{
    member->stats.stop_ns += ns;
}

/* The link is ours alone from here on. */
static int stop_vm(struct vfm_migration *m, struct vfm_error *err)
{
    vfm_channel_set_max_bandwidth(m->channel, m->channel_bandwidth);
    return vm_stop(m, err);
}

/* More may have been written since the policy was asked than it knew, or a
 * tracker may have failed: the limit is one even so. */
static int check_limit(const struct vfm_migration *m, struct vfm_error *err)
{
    const uint64_t limit_ns =
        m->options.downtime_limit_ms * (uint64_t)NS_PER_MS;
    struct policy_input in = { 0 };
    uint64_t ns;

    source_sum_up_ram(m, &in);
    in.ram.sync_ns = (uint64_t)(clock_now() - m->stopped_at);
    ns = policy_ram_ns(&in);
    if (ns <= limit_ns || m->options.force_switchover)
        return 0;
    return error_set(err, -ETIME,
                     "migration: %llu MiB of memory are left when the VM has "
                     "stopped, which takes %llu ms (limit %u ms)",
                     (unsigned long long)(in.ram.dirty >> 20),
                     (unsigned long long)(ns / (uint64_t)NS_PER_MS),
                     m->options.downtime_limit_ms);
}

/* Devices may write until they are in STOP: it is then that the trackers are
 * asked for the last time. */
static int last_report(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (!memory_is_live(m))
        return 0;
    ret = source_sync(m, true, err);
    if (ret == -EAGAIN) {
        int alive = source_keep_alive(m, err);

        return alive < 0 && alive != -EAGAIN ? alive : -EAGAIN;
    }
    return ret < 0 ? ret : check_limit(m, err);
}

static int stop_step(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    switch (m->step) {
    case STOP_VM:
        ret = stop_vm(m, err);
        break;
    case QUIESCE:
        ret = source_move(m, want_quiet, source_note_stopped, err);
        break;
    case STOP_DEVICES:
        ret = source_move(m, want_stop_copy, source_note_stopped, err);
        break;
    case LAST_REPORT:
        ret = last_report(m, err);
        break;
    case ANNOUNCE:
        ret = talk_flush(m, err); /* a ping may be half sent */
        if (ret < 0)
            break;
        outbox_begin(&m->outbox);
        encode_command(&m->outbox.head, VFM_COMMAND_SWITCHOVER_START, NULL, 0);
        break;
    default:
        break;
    }
    return ret;
}

int source_stop(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_listen(m, err);

    while (ret == 0 && m->step <= ANNOUNCE) {
        ret = stop_step(m, err);
        if (ret == 0)
            m->step++;
    }
    return talk_wait(m, ret, err);
}

int source_pre_switchover(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_listen(m, err);

    if (ret < 0 || !m->options.pause_before_switchover ||
        m->source.may_continue)
        return ret;
    ret = source_keep_alive(m, err);
    return ret < 0 && ret != -EAGAIN ? ret : talk_wait(m, -EAGAIN, err);
}
