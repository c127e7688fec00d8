/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of a kernel device that only its VMM knows: the device's own log, on
 * a handle of which nobody else has heard.
 */
#include <errno.h>
#include <string.h>

#include "backend/vfio/kernel.h"
#include "dirty/device-log.h"
#include "util/error.h"

#define NAME "device's DMA log"

/* A log that can be started can be stopped and reports. */
static int probe(const struct vfm_device *dev, struct vfm_error *err)
{
    struct uapi_feature probe;
    int ret = kernel_feature(kernel_of(dev),
                             UAPI_FEATURE_PROBE | UAPI_FEATURE_SET |
                                 UAPI_FEATURE_LOG_START,
                             &probe, sizeof(probe));

    if (ret == -ENOTTY)
        return error_set(err, ret, "the device has no DMA log");
    if (ret < 0)
        return error_set(err, ret, "cannot ask the device for its DMA log: %s",
                         strerror(-ret));
    return 0;
}

int vfm_dirty_tracker_new_vfio(int device_fd,
                               struct vfm_dirty_tracker **trackerp,
                               struct vfm_error *err)
{
    struct vfm_device *dev;
    int ret;

    *trackerp = NULL;
    ret = kernel_open_for_log(device_fd, NAME, &dev, err);
    if (ret < 0)
        return ret;
    ret = probe(dev, err);
    if (ret == 0)
        ret = dirty_tracker_new_device(dev, true, trackerp, err);
    if (ret < 0)
        vfm_device_close(dev);
    return ret;
}
