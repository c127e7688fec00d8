/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What to do with a device after something failed: the one place with that
 * policy, the same for a source, a target and a VM that starts or stops.
 *
 * First the fallback state, which loses nothing.  If the device will not go
 * there, a reset, which brings any device back that still answers, and then
 * the fallback state again: the VM it belongs to may be paused.
 */
#include <errno.h>

#include "device/device.h"
#include "device/state.h"
#include "util/error.h"

static void end_recovery(struct device_recovery *r, enum vfm_recovery how)
{
    r->step = RECOVERY_OVER;
    r->how = how;
}

/* Starts the call @op.  A device that does not even take it is lost. */
static void start_step(struct vfm_device *dev, enum recovery_step step,
                       enum device_op op)
{
    struct device_call call = { .op = op };
    struct device_recovery *r = &dev->recovery;

    r->step = step;
    if (device_call_start(dev, &call, &r->why) < 0)
        end_recovery(r, VFM_RECOVERY_FAILED);
}

static void start_reset(struct vfm_device *dev)
{
    start_step(dev, RECOVERY_RESETTING, DEVICE_RESET);
}

/* The fallback was reached, or was refused with @ret. */
static void fell_back(struct vfm_device *dev, int ret)
{
    if (ret == 0)
        end_recovery(&dev->recovery, VFM_RECOVERY_MOVED);
    else if (ret != -EAGAIN)
        start_reset(dev);
}

static void returned(struct vfm_device *dev, int ret)
{
    if (ret == 0)
        end_recovery(&dev->recovery, VFM_RECOVERY_RESET);
    else if (ret != -EAGAIN)
        end_recovery(&dev->recovery, VFM_RECOVERY_FAILED);
}

static void start_returning(struct vfm_device *dev)
{
    struct device_recovery *r = &dev->recovery;

    r->step = RECOVERY_RETURNING;
    if (r->discards && !state_is_running(dev->state))
        r->fallback = VFM_STATE_STOP;
    returned(dev, device_set_state_start(dev, r->fallback, &r->why));
}

void device_recover_start(struct vfm_device *dev, enum vfm_state fallback)
{
    struct device_recovery *r = &dev->recovery;

    *r = (struct device_recovery){ .step = RECOVERY_FALLING_BACK,
                                   .fallback = fallback };
    if (dev->state == fallback)
        end_recovery(r, VFM_RECOVERY_NONE);
    else
        fell_back(dev, device_set_state_start(dev, fallback, &r->why));
}

void device_recover_by_reset_start(struct vfm_device *dev,
                                   enum vfm_state fallback)
{
    dev->recovery =
        (struct device_recovery){ .fallback = fallback, .discards = true };
    start_reset(dev);
}

/* The call of @r's step ended with @ret. */
static void next_step(struct vfm_device *dev, int ret)
{
    struct device_recovery *r = &dev->recovery;

    if (ret < 0)
        end_recovery(r, VFM_RECOVERY_FAILED);
    else if (r->step == RECOVERY_RESETTING)
        start_step(dev, RECOVERY_ASKING, DEVICE_GET_STATE);
    else
        start_returning(dev);
}

static void finish_step(struct vfm_device *dev)
{
    struct device_recovery *r = &dev->recovery;
    struct device_call answer;
    int ret;

    switch (r->step) {
    case RECOVERY_FALLING_BACK:
        fell_back(dev, device_set_state_finish(dev, &r->why));
        break;
    case RECOVERY_RETURNING:
        returned(dev, device_set_state_finish(dev, &r->why));
        break;
    case RECOVERY_RESETTING:
    case RECOVERY_ASKING:
        ret = device_call_finish(dev, &answer, &r->why);
        if (ret != -EAGAIN)
            next_step(dev, ret);
        break;
    case RECOVERY_OVER:
    default:
        break;
    }
}

int device_recover_finish(struct vfm_device *dev, enum vfm_recovery *how)
{
    enum recovery_step before;

    do {
        before = dev->recovery.step;
        finish_step(dev);
    } while (dev->recovery.step != before);

    *how = dev->recovery.how;
    if (dev->recovery.step == RECOVERY_OVER)
        return 0;
    *how = VFM_RECOVERY_FAILED;
    return -EAGAIN;
}

void device_recover_describe(const struct vfm_device *dev,
                             enum vfm_recovery how, struct vfm_error *err)
{
    const struct device_recovery *r = &dev->recovery;
    const char *state = vfm_state_name(dev->state);

    switch (how) {
    case VFM_RECOVERY_NONE:
    case VFM_RECOVERY_MOVED:
        error_add(err, "%s is %s", dev->name, state);
        break;
    case VFM_RECOVERY_RESET:
        error_add(err, "%s was reset, its state is lost, and is %s", dev->name,
                  state);
        break;
    case VFM_RECOVERY_FAILED:
    default:
        error_add(err, "%s could not be brought back from %s (%s)", dev->name,
                  state, r->why.message);
        break;
    }
}
