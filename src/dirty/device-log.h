/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DIRTY_DEVICE_LOG_H
#define VFM_SRC_DIRTY_DEVICE_LOG_H

#include "device/device.h"
#include "dirty/tracker.h"

/* The tracker that is a device's own log of its DMA, however the device is
 * reached.  It takes one call of the device at a time, as others do: nobody
 * else may make one between its start, report or stop and their end.
 * @closes_device: when it is freed.  Returns 0 or -ENOMEM. */
int dirty_tracker_new_device(struct vfm_device *dev, bool closes_device,
                             struct vfm_dirty_tracker **trackerp,
                             struct vfm_error *err);

#endif
