/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stages of a migration: one table, both sides, and the loop over it.
 *
 * Which side owns the devices changes in exactly one stage, `yours`; where the
 * peer has no such thing, a source's are gone with the end of the stream, and a
 * target's are its own when it has loaded them.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "migration/migration.h"
#include "migration/stage.h"
#include "util/error.h"

static const struct {
    const char *name;
    stage_fn *source;
    stage_fn *target;
} stages[] = {
    [VFM_STAGE_HELLO] = { "hello", source_hello, target_hello },
    [VFM_STAGE_SETUP] = { "setup", source_setup, target_setup },
    [VFM_STAGE_PRE_COPY] = { "pre-copy", source_pre_copy, target_pre_copy },
    [VFM_STAGE_STOP] = { "stop", source_stop, NULL },
    [VFM_STAGE_PRE_SWITCHOVER] = { "pre-switchover", source_pre_switchover,
                                   NULL },
    [VFM_STAGE_COMPLETE] = { "complete", source_complete, target_complete },
    [VFM_STAGE_CHECK] = { "check", NULL, target_check },
    [VFM_STAGE_LOADED] = { "loaded", source_loaded, target_loaded },
    [VFM_STAGE_YOURS] = { "yours", source_yours, target_yours },
    [VFM_STAGE_START] = { "start", source_start, target_start },
    [VFM_STAGE_CLEANUP] = { "cleanup", source_cleanup, target_cleanup },
    [VFM_STAGE_DONE] = { "done", NULL, NULL },
};
_Static_assert(sizeof(stages) / sizeof(stages[0]) == VFM_STAGE_DONE + 1,
               "stages[] must have a row for every stage");

const char *vfm_stage_name(enum vfm_stage stage)
{
    return (unsigned int)stage <= VFM_STAGE_DONE ? stages[stage].name : "?";
}

static int refuse_paused_and_running(const struct vfm_migration *m,
                                     unsigned int *n, struct vfm_error *err)
{
    unsigned int stopped = 0;

    for (unsigned int i = 0; i < m->num_members; i++)
        stopped += vfm_device_state(m->members[i]->dev) == VFM_STATE_STOP;
    if (!is_source(m) || stopped == 0 || stopped == m->num_members ||
        (*n)-- > 0)
        return 0;
    return error_set(err, -EBUSY,
                     "%u of the %u devices are stopped and the others are not",
                     stopped, m->num_members);
}

static bool devices_are_stopped(const struct vfm_migration *m)
{
    return is_source(m) && m->num_members > 0 &&
           vfm_device_state(m->members[0]->dev) == VFM_STATE_STOP;
}

/* Of a VM whose memory moves it has to be known whether it writes it. */
static int refuse_running_without_devices(const struct vfm_migration *m,
                                          unsigned int *n,
                                          struct vfm_error *err)
{
    if (m->ram == NULL || m->options.paused || !devices_are_stopped(m) ||
        (*n)-- > 0)
        return 0;
    return error_set(
        err, -EBUSY,
        "the devices are stopped, but nobody says that their VM is "
        "paused");
}

static int refuse_device(const struct vfm_migration *m,
                         const struct member *member, unsigned int *n,
                         struct vfm_error *err)
{
    enum vfm_state state = vfm_device_state(member->dev);
    bool movable = state == VFM_STATE_RUNNING || state == VFM_STATE_STOP ||
                   state == VFM_STATE_RUNNING_P2P;

    if (is_source(m) && !movable && (*n)-- == 0)
        return error_set(err, -EBUSY,
                         "%s is in state %s: somebody else is migrating it, or "
                         "did and died, and then it has to be brought back to "
                         "RUNNING",
                         member->id, vfm_state_name(state));
    if (m->num_members > 1 &&
        !vfm_device_has_state(member->dev, VFM_STATE_RUNNING_P2P) &&
        (*n)-- == 0)
        return error_set(err, -EBUSY,
                         "%s has no P2P states: several devices can be moved "
                         "only if all of them have",
                         member->id);
    return 0;
}

/* The reasons in a fixed order; *@n counts down to the one that is asked
 * for. */
int blocker_get(const struct vfm_migration *m, unsigned int n,
                struct vfm_error *err)
{
    int ret;

    for (const struct blocker *b = m->blockers; b != NULL; b = b->next)
        if (n-- == 0)
            return error_set(err, -EBUSY, "%s", b->reason);
    if (m->num_members == 0 && m->ram == NULL && n-- == 0)
        return error_set(err, -EBUSY, "there is no device to move");
    for (unsigned int i = 0; i < m->num_members; i++) {
        ret = refuse_device(m, m->members[i], &n, err);
        if (ret < 0)
            return ret;
    }
    ret = refuse_paused_and_running(m, &n, err);
    return ret < 0 ? ret : refuse_running_without_devices(m, &n, err);
}

static void enter_stage(struct vfm_migration *m, enum vfm_stage stage)
{
    spend(m, VFM_CAUSE_SELF);
    note_stage(m);
    m->stage = stage;
    m->stage_began_at = m->spent.at;
    m->step = 0;
    tell_stage(m);
}

static int begin(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = blocker_get(m, 0, err);

    m->begun = true;
    m->began_at = m->stage_began_at = m->heard_at = m->told_at = m->taken_at =
        m->spent.began_at;
    if (ret < 0)
        return ret;
    for (unsigned int i = 0; i < m->num_members; i++)
        m->members[i]->initial = vfm_device_state(m->members[i]->dev);
    if (devices_are_stopped(m))
        m->paused = true;
    tell_stage(m);
    return 0;
}

/* Runs stages until one of them waits. */
static int run_forward(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = m->begun ? 0 : begin(m, err);

    while (ret == 0 && m->stage < VFM_STAGE_DONE) {
        stage_fn *fn =
            is_source(m) ? stages[m->stage].source : stages[m->stage].target;

        if (atomic_load(&m->cancelled) && !m->source.given && !m->target.ours)
            return error_set(err, -ECANCELED, "migration: cancelled");
        ret = fn == NULL ? 0 : fn(m, err);
        if (ret == 0)
            enter_stage(m, m->stage + 1);
    }
    return ret;
}

static void end(struct vfm_migration *m)
{
    spend(m, VFM_CAUSE_SELF);
    if (m->stage < VFM_STAGE_DONE)
        note_stage(m);
    m->over = true;
    m->over_at = m->spent.at;
    if (m->failure.code == 0)
        m->outcome = VFM_OUTCOME_DONE;
}

static void fail(struct vfm_migration *m, int ret, struct vfm_error *err)
{
    if (err->code != ret)
        error_set(err, ret, "migration: stage %s: %s", vfm_stage_name(m->stage),
                  strerror(-ret));
    m->failure = *err;
    unwind_start(m);
}

void stages_run(struct vfm_migration *m)
{
    struct vfm_error err = { 0 };
    int ret = 0;

    if (m->unwind == UNWIND_NONE) {
        ret = run_forward(m, &err);
        if (ret < 0 && ret != -EAGAIN)
            fail(m, ret, &err);
    }
    if (m->unwind != UNWIND_NONE)
        ret = unwind_run(m);
    if (ret == 0)
        end(m);
}
