/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device's log of its own DMA, in the kernel: VFIO_DEVICE_FEATURE, features
 * DMA_LOGGING_START, _STOP and _REPORT.
 */
#include <errno.h>
#include <stdlib.h>

#include "dirty/kernel.h"
#include "protocol/vfio-uapi.h"
#include "util/error.h"

/* The kernel takes a page of ranges and no more. */
#define RANGES_MAX 256

struct vfio_log {
    int fd;
    struct kernel_ranges asked;
};

static int feature(int fd, uint32_t flags, void *buf, size_t size)
{
    struct uapi_feature *f = buf;

    f->argsz = (uint32_t)size;
    f->flags = flags;
    return kernel_call(fd, UAPI_DEVICE_FEATURE, buf);
}

/* One range from the first byte to the last: what lies in between and is not
 * mapped is nothing that a device could write. */
static void cover(struct kernel_ranges *kr)
{
    const struct vfm_dirty_range *last = &kr->ranges[kr->n - 1];

    kr->ranges[0].length = last->address + last->length - kr->ranges[0].address;
    kr->n = 1;
}

static int start(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                 struct vfm_error *err)
{
    struct vfio_log *log = opaque;
    struct {
        struct uapi_feature feature;
        struct uapi_log_control control;
    } arg = { .control.page_size = VFM_DIRTY_PAGE_SIZE };
    int ret = kernel_ranges_set(&log->asked, ranges, n, true);

    if (ret < 0)
        return error_set(err, ret, "device's DMA log: out of memory");
    if (log->asked.n > RANGES_MAX)
        cover(&log->asked);
    /* struct vfm_dirty_range is the kernel's. */
    arg.control.num_ranges = (uint32_t)log->asked.n;
    arg.control.ranges = (uintptr_t)log->asked.ranges;
    ret = feature(log->fd, UAPI_FEATURE_SET | UAPI_FEATURE_LOG_START, &arg,
                  sizeof(arg));
    if (ret < 0)
        return kernel_failed(err, ret, "device's DMA log: cannot start it");
    return 0;
}

static int get(void *opaque, uint64_t address, uint64_t length,
               uint64_t *bitmap, size_t bitmap_bytes)
{
    const struct vfio_log *log = opaque;
    struct {
        struct uapi_feature feature;
        struct uapi_log_report report;
    } arg = {
        .report.iova = address,
        .report.length = length,
        .report.page_size = VFM_DIRTY_PAGE_SIZE,
        .report.bitmap = (uintptr_t)bitmap,
    };

    (void)bitmap_bytes;
    return feature(log->fd, UAPI_FEATURE_GET | UAPI_FEATURE_LOG_REPORT, &arg,
                   sizeof(arg));
}

static int report(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err)
{
    struct vfio_log *log = opaque;
    int ret = kernel_report(&log->asked, VFM_DIRTY_PAGE_SIZE,
                            KERNEL_PIECE_PAGES, get, log, sink);

    if (ret < 0)
        return kernel_failed(err, ret, "device's DMA log: cannot read it");
    return 0;
}

static int stop(void *opaque, struct vfm_error *err)
{
    const struct vfio_log *log = opaque;
    struct uapi_feature f;
    int ret = feature(log->fd, UAPI_FEATURE_SET | UAPI_FEATURE_LOG_STOP, &f,
                      sizeof(f));

    if (ret < 0)
        return kernel_failed(err, ret, "device's DMA log: cannot stop it");
    return 0;
}

static void free_log(void *opaque)
{
    struct vfio_log *log = opaque;

    kernel_ranges_free(&log->asked);
    free(log);
}

/* A log that can be started can be stopped and reports. */
static int probe(int fd, struct vfm_error *err)
{
    struct uapi_feature f;
    int ret = feature(
        fd, UAPI_FEATURE_PROBE | UAPI_FEATURE_SET | UAPI_FEATURE_LOG_START, &f,
        sizeof(f));

    if (ret == -ENOTTY)
        return error_set(err, ret, "the device has no DMA log");
    if (ret < 0)
        return kernel_failed(err, ret, "cannot ask the device for its DMA log");
    return 0;
}

int vfm_dirty_tracker_new_vfio(int device_fd,
                               struct vfm_dirty_tracker **trackerp,
                               struct vfm_error *err)
{
    static const struct vfm_dirty_ops ops = {
        .name = "device's DMA log",
        .start = start,
        .report = report,
        .stop = stop,
        .free = free_log,
    };
    struct vfio_log *log;
    int ret = probe(device_fd, err);

    *trackerp = NULL;
    if (ret < 0)
        return ret;
    log = calloc(1, sizeof(*log));
    if (log != NULL)
        log->fd = device_fd;
    return kernel_tracker_new(&ops, log, trackerp, err);
}
