/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's own log of what it wrote, by calls of struct device_ops.  How the
 * device cuts its memory into reports is the backend's business.
 */
#include <errno.h>
#include <stdlib.h>

#include "dirty/device-log.h"
#include "util/error.h"

struct device_log {
    struct vfm_device *dev;
    bool closes_device;
    bool under_way;
    struct device_range *ranges; /* while it starts */
};

/* Makes or finishes the call.  0 when it is over. */
static int call(struct device_log *log, const struct device_call *c,
                struct vfm_error *err)
{
    struct device_call answer;
    int ret = 0;

    if (!log->under_way)
        ret = device_call_start(log->dev, c, err);
    log->under_way = ret == 0;
    if (ret == 0)
        ret = device_call_finish(log->dev, &answer, err);
    if (ret != -EAGAIN)
        log->under_way = false;
    return ret;
}

static int copy_ranges(struct device_log *log,
                       const struct vfm_dirty_range *ranges, size_t n)
{
    if (log->under_way)
        return 0;
    free(log->ranges);
    log->ranges = calloc(n + 1, sizeof(*log->ranges));
    if (log->ranges == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        log->ranges[i] =
            (struct device_range){ ranges[i].address, ranges[i].length };
    return 0;
}

static int start(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                 struct vfm_error *err)
{
    struct device_log *log = opaque;
    struct device_call c = { .op = DEVICE_LOG_START, .num_ranges = n };

    if (copy_ranges(log, ranges, n) < 0)
        return error_set(err, -ENOMEM, "%s: out of memory", log->dev->name);
    c.ranges = log->ranges;
    return call(log, &c, err);
}

static void mark(void *opaque, uint64_t address, uint64_t page_size,
                 const uint64_t *bitmap, uint64_t num_pages)
{
    vfm_dirty_mark(opaque, address, page_size, bitmap, num_pages);
}

static int report(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err)
{
    const struct device_call c = {
        .op = DEVICE_LOG_REPORT,
        .mark = mark,
        .opaque = sink,
    };

    return call(opaque, &c, err);
}

static int stop(void *opaque, struct vfm_error *err)
{
    const struct device_call c = { .op = DEVICE_LOG_STOP };

    return call(opaque, &c, err);
}

static void free_log(void *opaque)
{
    struct device_log *log = opaque;

    if (log->closes_device)
        vfm_device_close(log->dev);
    free(log->ranges);
    free(log);
}

int dirty_tracker_new_device(struct vfm_device *dev, bool closes_device,
                             struct vfm_dirty_tracker **trackerp,
                             struct vfm_error *err)
{
    static const struct vfm_dirty_ops ops = {
        .size = sizeof(ops),
        .name = "device's log",
        .start = start,
        .report = report,
        .stop = stop,
        .free = free_log,
    };
    struct device_log *log = calloc(1, sizeof(*log));
    int ret;

    *trackerp = NULL;
    if (log == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", dev->name);
    log->dev = dev;
    log->closes_device = closes_device;
    ret = vfm_dirty_tracker_new(&ops, log, trackerp, err);
    if (ret < 0)
        free(log);
    return ret;
}
