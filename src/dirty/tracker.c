/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What holds for every tracker: it is started and stopped in turn, and when it
 * fails to report, everything counts as written.  How it knows is the business
 * of the others in this folder.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "dirty/tracker.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/options.h"

#define WAIT_MS    1
#define TIMEOUT_NS (5 * NS_PER_SEC)

struct vfm_dirty_tracker {
    struct vfm_dirty_ops ops;
    void *opaque;
    dirty_collect_fn *collect; /* NULL: there is nothing to */
    bool started;
    struct vfm_dirty_range *ranges; /* that it was started for */
    size_t num_ranges;
};

int vfm_dirty_tracker_new(const struct vfm_dirty_ops *given, void *opaque,
                          struct vfm_dirty_tracker **trackerp,
                          struct vfm_error *err)
{
    struct vfm_dirty_ops ops = { 0 };
    struct vfm_dirty_tracker *t;
    int ret = options_copy(&ops, sizeof(ops), given, "dirty: tracker", err);

    *trackerp = NULL;
    if (ret < 0)
        return ret;
    if (ops.name == NULL || ops.start == NULL || ops.report == NULL ||
        ops.stop == NULL)
        return error_set(err, -EINVAL,
                         "dirty: a tracker needs a name, a start, a report and "
                         "a stop");
    t = calloc(1, sizeof(*t));
    if (t == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", ops.name);
    t->ops = ops;
    t->opaque = opaque;
    *trackerp = t;
    return 0;
}

const char *vfm_dirty_tracker_name(const struct vfm_dirty_tracker *t)
{
    return t->ops.name;
}

void dirty_tracker_set_collect(struct vfm_dirty_tracker *t,
                               dirty_collect_fn *collect)
{
    t->collect = collect;
}

/* Nothing of the tracker is written: it is called by processors' threads. */
int vfm_dirty_tracker_collect(struct vfm_dirty_tracker *t,
                              struct vfm_error *err)
{
    if (t->collect == NULL)
        return error_set(err, -EINVAL, "%s: has nothing to collect",
                         t->ops.name);
    return t->collect(t->opaque, err);
}

static int copy_ranges(struct vfm_dirty_tracker *t,
                       const struct vfm_dirty_range *ranges, size_t n)
{
    struct vfm_dirty_range *copy = calloc(n + 1, sizeof(*copy));

    if (copy == NULL)
        return -ENOMEM;
    if (n > 0)
        memcpy(copy, ranges, n * sizeof(*copy));
    free(t->ranges);
    t->ranges = copy;
    t->num_ranges = n;
    return 0;
}

/* What a function of the caller's returns without a word gets a sentence. */
static int result(const struct vfm_dirty_tracker *t, int ret, const char *what,
                  const struct vfm_error *why, struct vfm_error *err)
{
    if (ret >= 0 || ret == -EAGAIN)
        return ret > 0 ? 0 : ret;
    if (why->code == ret)
        return error_set(err, ret, "%s", why->message);
    return error_set(err, ret, "%s: cannot %s: %s", t->ops.name, what,
                     strerror(-ret));
}

int dirty_tracker_start(struct vfm_dirty_tracker *t,
                        const struct vfm_dirty_range *ranges, size_t n,
                        struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret;

    if (t->started)
        return error_set(err, -EBUSY, "%s: is started already", t->ops.name);
    if (copy_ranges(t, ranges, n) < 0)
        return error_set(err, -ENOMEM, "%s: out of memory", t->ops.name);
    ret = t->ops.start(t->opaque, t->ranges, n, &why);
    t->started = ret >= 0;
    return result(t, ret, "start", &why, err);
}

/* Nobody knows what was written. */
static void mark_all(const struct vfm_dirty_tracker *t,
                     struct vfm_dirty_sink *sink)
{
    for (size_t i = 0; i < t->num_ranges; i++)
        vfm_dirty_mark_range(sink, t->ranges[i].address, t->ranges[i].length);
}

int dirty_tracker_report(struct vfm_dirty_tracker *t,
                         struct vfm_dirty_sink *sink, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret;

    if (!t->started)
        return error_set(err, -EINVAL, "%s: is not started", t->ops.name);
    ret = t->ops.report(t->opaque, sink, &why);
    if (ret < 0 && ret != -EAGAIN)
        mark_all(t, sink);
    return result(t, ret, "report", &why, err);
}

int dirty_tracker_stop(struct vfm_dirty_tracker *t, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret;

    if (!t->started)
        return error_set(err, -EINVAL, "%s: is not started", t->ops.name);
    ret = t->ops.stop(t->opaque, &why);
    t->started = ret == -EAGAIN;
    return result(t, ret, "stop", &why, err);
}

/* Waits a little, or says that it has taken too long. */
static int wait_until(const struct vfm_dirty_tracker *t, int64_t deadline,
                      struct vfm_error *err)
{
    if (clock_now() >= deadline)
        return error_set(err, -ETIMEDOUT, "%s: does not answer", t->ops.name);
    poll(NULL, 0, WAIT_MS);
    return 0;
}

int vfm_dirty_tracker_start(struct vfm_dirty_tracker *t,
                            const struct vfm_dirty_range *ranges, size_t n,
                            struct vfm_error *err)
{
    int64_t deadline = clock_now() + TIMEOUT_NS;
    int ret;

    while ((ret = dirty_tracker_start(t, ranges, n, err)) == -EAGAIN) {
        ret = wait_until(t, deadline, err);
        if (ret < 0)
            break;
    }
    return ret;
}

int vfm_dirty_tracker_report(struct vfm_dirty_tracker *t,
                             struct vfm_dirty_sink *sink, struct vfm_error *err)
{
    int64_t deadline = clock_now() + TIMEOUT_NS;
    int ret;

    while ((ret = dirty_tracker_report(t, sink, err)) == -EAGAIN) {
        ret = wait_until(t, deadline, err);
        if (ret < 0) {
            mark_all(t, sink);
            break;
        }
    }
    return ret;
}

int vfm_dirty_tracker_stop(struct vfm_dirty_tracker *t, struct vfm_error *err)
{
    int64_t deadline = clock_now() + TIMEOUT_NS;
    int ret;

    while ((ret = dirty_tracker_stop(t, err)) == -EAGAIN) {
        ret = wait_until(t, deadline, err);
        if (ret < 0)
            break;
    }
    return ret;
}

void vfm_dirty_tracker_free(struct vfm_dirty_tracker *t)
{
    if (t == NULL)
        return;
    if (t->started)
        vfm_dirty_tracker_stop(t, NULL);
    if (t->ops.free != NULL)
        t->ops.free(t->opaque);
    free(t->ranges);
    free(t);
}
