/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transitions of all devices at once: started together, waited for together,
 * so that they take as long as the slowest; or of so many at once as the user
 * allows.
 */
#include <errno.h>
#include <string.h>

#include "migration/migration.h"
#include "util/clock.h"

static void note_failure(struct vfm_migration *m, const struct vfm_error *err)
{
    if (m->move_failure.code == 0)
        m->move_failure = *err;
}

/* The move of @member is over, if @ret says so. */
static void note_result(struct vfm_migration *m, struct member *member, int ret,
                        const struct vfm_error *err, moved_fn *moved)
{
    if (ret == -EAGAIN)
        return;
    member->move.under_way = false;
    note_arc(m, member);
    tell_state(m, member);
    if (ret < 0)
        note_failure(m, err);
    else if (moved != NULL)
        moved(member, (uint64_t)(clock_now() - member->move.began_at));
}

/* Who has to move; nobody does yet. */
static void begin_moves(struct vfm_migration *m, want_fn *want)
{
    m->moving = true;
    m->move_failure = (struct vfm_error){ 0 };
    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];

        member->move = (struct member_move){
            .waits = want(m, member) != vfm_device_state(member->dev),
        };
    }
}

static void start_move(struct vfm_migration *m, struct member *member,
                       want_fn *want, moved_fn *moved)
{
    struct vfm_error err = { 0 };

    member->touched = true;
    member->move = (struct member_move){
        .under_way = true,
        .began_at = clock_now(),
        .from = vfm_device_state(member->dev),
    };
    note_result(m, member,
                device_set_state_start(member->dev, want(m, member), &err),
                &err, moved);
}

/* Starts as many of those that wait as may be under way. */
static void start_moves(struct vfm_migration *m, want_fn *want, moved_fn *moved)
{
    const uint32_t most =
        m->options.parallel == 0 ? VFM_DEVICES_MAX : m->options.parallel;
    unsigned int under_way = 0;

    for (unsigned int i = 0; i < m->num_members; i++)
        under_way += m->members[i]->move.under_way;
    for (unsigned int i = 0; i < m->num_members && under_way < most; i++) {
        struct member *member = m->members[i];

        if (!member->move.waits)
            continue;
        start_move(m, member, want, moved);
        under_way += member->move.under_way;
    }
}

/* Returns how many of those under way are over now. */
static unsigned int finish_moves(struct vfm_migration *m, moved_fn *moved)
{
    unsigned int over = 0;

    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];
        struct vfm_error err = { 0 };

        if (!member->move.under_way)
            continue;
        note_result(m, member, device_set_state_finish(member->dev, &err), &err,
                    moved);
        over += !member->move.under_way;
    }
    return over;
}

static bool moves_are_over(const struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (m->members[i]->move.under_way || m->members[i]->move.waits)
            return false;
    return true;
}

int members_move(struct vfm_migration *m, want_fn *want, moved_fn *moved,
                 struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_DEVICE);

    if (!m->moving)
        begin_moves(m, want);
    do {
        start_moves(m, want, moved);
    } while (finish_moves(m, moved) > 0); /* others have their turn */
    spend(m, cause);
    if (!moves_are_over(m))
        return -EAGAIN;
    m->moving = false;
    if (m->move_failure.code != 0)
        *err = m->move_failure;
    return m->move_failure.code;
}

enum vfm_state want_stop(const struct vfm_migration *m,
                         const struct member *member)
{
    (void)m;
    (void)member;
    return VFM_STATE_STOP;
}

static enum vfm_state want_running_p2p(const struct vfm_migration *m,
                                       const struct member *member)
{
    return m->num_members == 1 ? vfm_device_state(member->dev)
                               : VFM_STATE_RUNNING_P2P;
}

static enum vfm_state want_running(const struct vfm_migration *m,
                                   const struct member *member)
{
    (void)m;
    (void)member;
    return VFM_STATE_RUNNING;
}

int members_start(struct vfm_migration *m, bool *quiet, moved_fn *moved,
                  struct vfm_error *err)
{
    int ret = 0;

    if (!*quiet)
        ret = members_move(m, want_running_p2p, moved, err);
    if (ret < 0)
        return ret;
    *quiet = true;
    return members_move(m, want_running, moved, err);
}

int members_settle(struct vfm_migration *m)
{
    int busy = 0;

    for (unsigned int i = 0; i < m->num_members; i++) {
        struct vfm_device *dev = m->members[i]->dev;
        struct device_call answer;

        if (dev->phase == DEVICE_CALLING)
            device_call_finish(dev, &answer, NULL);
        else if (dev->phase != DEVICE_IDLE)
            device_set_state_finish(dev, NULL);
        if (dev->phase != DEVICE_IDLE)
            busy = -EAGAIN;
        else
            m->members[i]->move.under_way = false;
    }
    if (busy == 0)
        m->moving = false;
    return busy;
}

struct member *members_find(struct vfm_migration *m, const char *section)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (strcmp(m->members[i]->section, section) == 0)
            return m->members[i];
    return NULL;
}
