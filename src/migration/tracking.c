/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trackers of a source: all are asked at once.  What is done with the pages
 * that they report is source-ram.c's business.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirty/device-log.h"
#include "dirty/tracker.h"
#include "migration/migration.h"
#include "util/clock.h"
#include "util/error.h"

/* How soon a tracker that is no device's is asked again. */
#define POLL_NS NS_PER_MS

int tracking_add(struct vfm_migration *m, struct vfm_dirty_tracker *tracker,
                 const struct vfm_device *dev, struct vfm_error *err)
{
    struct tracking *t = &m->source.tracking;
    const struct member *member = NULL;

    if (!is_source(m))
        return error_set(err, -EINVAL, "%s: it is the source that asks",
                         vfm_dirty_tracker_name(tracker));
    for (unsigned int i = 0; dev != NULL && i < m->num_members; i++)
        if (m->members[i]->dev == dev)
            member = m->members[i];
    if (dev != NULL && member == NULL)
        return error_set(err, -ENOENT, "%s: is no device of this migration",
                         vfm_device_name(dev));
    /* A place is left for each device's own. */
    if (t->count == TRACKERS_MAX - VFM_DEVICES_MAX)
        return error_set(err, -E2BIG, "%s: more than %d trackers",
                         vfm_dirty_tracker_name(tracker),
                         TRACKERS_MAX - VFM_DEVICES_MAX);
    t->trackers[t->count++] =
        (struct tracked){ .tracker = tracker, .member = member };
    return 0;
}

/* Who @t asks about, for messages. */
static const char *whose(const struct tracked *t)
{
    return t->member == NULL ? "the processors" : t->member->id;
}

/* Whether somebody knows what @member writes; NULL: the processors. */
static bool is_tracked(const struct tracking *t, const struct member *member)
{
    for (unsigned int i = 0; i < t->count; i++)
        if (t->trackers[i].member == member && t->trackers[i].started)
            return true;
    return false;
}

static bool has_tracker(const struct tracking *t, const struct member *member)
{
    for (unsigned int i = 0; i < t->count; i++)
        if (t->trackers[i].member == member)
            return true;
    return false;
}

static int add_device_log(struct tracking *t, const struct member *member,
                          struct vfm_error *err)
{
    struct vfm_dirty_tracker *tracker;
    int ret;

    if (has_tracker(t, member) || !member->dev->info.has_dma_logging)
        return 0;
    ret = dirty_tracker_new_device(member->dev, false, &tracker, err);
    if (ret < 0)
        return ret;
    assert(t->count < TRACKERS_MAX);
    t->trackers[t->count++] = (struct tracked){
        .tracker = tracker,
        .member = member,
        .is_ours = true,
    };
    return 0;
}

static int add_device_logs(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < m->num_members; i++)
        ret = add_device_log(&m->source.tracking, m->members[i], err);
    return ret;
}

static void begin(struct tracking *t, tracked_fn *ask)
{
    if (t->ask == ask)
        return;
    assert(t->ask == NULL);
    t->ask = ask;
    for (unsigned int i = 0; i < t->count; i++)
        t->trackers[i].under_way = true;
}

/* Asks all that have not done it yet. */
static int ask_all(struct vfm_migration *m, tracked_fn *ask,
                   struct vfm_error *err)
{
    struct tracking *t = &m->source.tracking;
    int busy = 0;

    begin(t, ask);
    for (unsigned int i = 0; i < t->count; i++) {
        struct tracked *tracked = &t->trackers[i];
        int ret = 0;

        if (tracked->under_way)
            ret = ask(m, tracked, err);
        if (ret == -EAGAIN) {
            wish_wake(m, clock_now() + POLL_NS);
            busy = ret;
            continue;
        }
        tracked->under_way = false;
        if (ret < 0)
            return ret;
    }
    if (busy == 0)
        t->ask = NULL;
    return busy;
}

static int ask_to_start(struct vfm_migration *m, struct tracked *t,
                        struct vfm_error *err)
{
    struct source_ram *ram = &m->source.ram;
    struct vfm_error why = { 0 };
    int ret =
        dirty_tracker_start(t->tracker, ram->ranges, ram->num_ranges, &why);

    if (ret == -EAGAIN)
        return ret;
    t->started = ret == 0;
    if (ret == 0)
        return 0;
    if (t->member == NULL)
        return error_set(err, ret,
                         "ram: what the processors write is not known: %s",
                         why.message);
    tell_warning(m, "%s: what it writes is not known: %s", t->member->id,
                 why.message);
    return 0;
}

static void mark_reach(void *opaque, uint64_t address, uint64_t length)
{
    vfm_dirty_mark_range(opaque, address, length);
}

/* @member: NULL for the VM. */
static void warn_of_blind(struct vfm_migration *m, const struct member *member,
                          uint64_t before)
{
    const struct ram_save *rs = m->source.ram.save;

    if (rs->blind_pages == before)
        return; /* it reaches nothing, or nothing new */
    tell_warning(
        m,
        "%s: nobody knows what %s to memory: %llu MiB more are sent "
        "when the VM has stopped",
        member == NULL ? "VM" : member->id,
        member == NULL ? "its processors write" : "it writes",
        (unsigned long long)((rs->blind_pages - before) * VFM_RAM_PAGE_SIZE >>
                             20));
}

/* All that an untracked device can reach may be written at any time. */
static void find_blind(struct vfm_migration *m, const struct member *member)
{
    struct source_ram *ram = &m->source.ram;
    uint64_t before = ram->save->blind_pages;

    if (is_tracked(&m->source.tracking, member))
        return;
    if (member == NULL)
        ram_save_mark_all_blind(ram->save);
    else
        device_reach(member->dev, mark_reach, ram->blind);
    ram_save_count_blind(ram->save);
    warn_of_blind(m, member, before);
}

int tracking_start(struct vfm_migration *m, struct vfm_error *err)
{
    struct tracking *t = &m->source.tracking;
    int ret = 0;

    if (!t->prepared)
        ret = add_device_logs(m, err);
    if (ret < 0)
        return ret;
    t->prepared = true;
    ret = ask_all(m, ask_to_start, err);
    if (ret < 0)
        return ret;
    find_blind(m, NULL);
    for (unsigned int i = 0; i < m->num_members; i++)
        find_blind(m, m->members[i]);
    return 0;
}

static int ask_to_report(struct vfm_migration *m, struct tracked *t,
                         struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret = 0;

    (void)err;
    if (t->started)
        ret = dirty_tracker_report(t->tracker, m->source.ram.dirty, &why);
    if (ret == 0 || ret == -EAGAIN)
        return ret;
    m->source.tracking.failures++;
    tell_warning(m,
                 "%s: cannot tell what was written, so that all memory counts "
                 "as written: %s",
                 whose(t), why.message);
    return 0;
}

int tracking_report(struct vfm_migration *m, struct vfm_error *err)
{
    return ask_all(m, ask_to_report, err);
}

static int ask_to_stop(struct vfm_migration *m, struct tracked *t,
                       struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret = 0;

    (void)err;
    if (t->started)
        ret = dirty_tracker_stop(t->tracker, &why);
    if (ret == -EAGAIN)
        return ret;
    t->started = false;
    if (ret < 0)
        tell_warning(m, "%s: what is written is still logged: %s", whose(t),
                     why.message);
    return 0;
}

int tracking_stop(struct vfm_migration *m)
{
    return ask_all(m, ask_to_stop, NULL);
}

/* What was begun is finished, and its result is no longer of interest. */
int tracking_settle(struct vfm_migration *m)
{
    struct tracking *t = &m->source.tracking;
    int ret = 0;

    while (t->ask != NULL && ret != -EAGAIN)
        ret = ask_all(m, t->ask, NULL);
    return ret == -EAGAIN ? ret : 0;
}

void tracking_close(struct tracking *t)
{
    for (unsigned int i = 0; i < t->count; i++)
        if (t->trackers[i].is_ours)
            vfm_dirty_tracker_free(t->trackers[i].tracker);
}
