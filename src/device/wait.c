/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public calls, which wait: each starts what device.c offers and polls
 * until it is finished.  Deadlines are the backend's.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "device/device.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/options.h"

int device_wait(struct vfm_device *dev, struct vfm_error *err)
{
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t deadline = CLOCK_NEVER;
    int n = device_wait_fds(dev, fds, &deadline);

    /* Who has no memory for a moment looks again: the deadline is the call's.
     */
    if (poll(fds, (nfds_t)n, clock_poll_timeout(deadline)) < 0 &&
        errno != EINTR && errno != ENOMEM)
        return error_set(err, -errno, "%s: cannot poll: %s", dev->name,
                         strerror(errno));
    return 0;
}

/* A migration, or a wait that failed, may have left a call under way. */
static int check_idle(const struct vfm_device *dev, struct vfm_error *err)
{
    if (!device_is_busy(dev))
        return 0;
    return error_set(err, -EBUSY, "%s: another call is under way", dev->name);
}

/* A refused write that nobody was told of is told before a device leaves
 * RESUMING: afterwards it would only say that its state is incomplete. */
static int finish_writes(struct vfm_device *dev, enum vfm_state want,
                         struct vfm_error *err)
{
    int ret;

    if (dev->session != SESSION_LOAD || state_session(want) == SESSION_LOAD ||
        dev->refusal_told)
        return 0;
    while ((ret = device_flush(dev, err)) == -EAGAIN) {
        ret = device_wait(dev, err);
        if (ret < 0)
            break;
    }
    dev->refusal_told = ret < 0;
    return ret;
}

int vfm_device_set_state(struct vfm_device *dev, enum vfm_state want,
                         struct vfm_error *err)
{
    int ret = check_idle(dev, err);

    if (ret == 0)
        ret = finish_writes(dev, want, err);
    if (ret == 0)
        ret = device_set_state_start(dev, want, err);
    while (ret == -EAGAIN) {
        ret = device_wait(dev, err);
        if (ret == 0)
            ret = device_set_state_finish(dev, err);
    }
    return ret;
}

/* Makes the call in @call, which receives the answer. */
static int make_call(struct vfm_device *dev, struct device_call *call,
                     struct vfm_error *err)
{
    int ret = check_idle(dev, err);

    if (ret == 0)
        ret = device_call_start(dev, call, err);
    if (ret < 0)
        return ret;
    while ((ret = device_call_finish(dev, call, err)) == -EAGAIN) {
        ret = device_wait(dev, err);
        if (ret < 0)
            return ret;
    }
    return ret;
}

enum vfm_recovery vfm_device_recover(struct vfm_device *dev,
                                     enum vfm_state fallback,
                                     struct vfm_error *err)
{
    enum vfm_recovery how;
    struct vfm_error busy;

    if (check_idle(dev, &busy) < 0) {
        error_add(err, "%s", busy.message);
        return VFM_RECOVERY_FAILED;
    }
    device_recover_start(dev, fallback);
    while (device_recover_finish(dev, &how) == -EAGAIN)
        if (device_wait(dev, NULL) < 0)
            break;
    device_recover_describe(dev, how, err);
    return how;
}

int vfm_device_refresh_state(struct vfm_device *dev, struct vfm_error *err)
{
    struct device_call call = { .op = DEVICE_GET_STATE };

    return make_call(dev, &call, err);
}

int vfm_device_reset(struct vfm_device *dev, struct vfm_error *err)
{
    struct device_call call = { .op = DEVICE_RESET };
    int ret = make_call(dev, &call, err);

    if (ret == 0)
        ret = vfm_device_refresh_state(dev, err);
    if (ret == 0 && dev->state != VFM_STATE_RUNNING)
        ret = vfm_device_set_state(dev, VFM_STATE_RUNNING, err);
    return ret;
}

int vfm_device_data_size(struct vfm_device *dev, uint64_t *bytes,
                         struct vfm_error *err)
{
    struct device_call call = { .op = DEVICE_DATA_SIZE };
    int ret = make_call(dev, &call, err);

    if (ret == 0)
        *bytes = call.bytes;
    return ret;
}

#define PRECOPY_SIZE_MIN sizeof(struct vfm_precopy_info)

int vfm_device_precopy_info(struct vfm_device *dev,
                            struct vfm_precopy_info *info,
                            struct vfm_error *err)
{
    struct device_call call = { .op = DEVICE_PRECOPY_INFO };
    int ret = make_call(dev, &call, err);

    if (ret < 0)
        return ret;
    if (answer_copy(info, PRECOPY_SIZE_MIN, &call.precopy,
                    sizeof(call.precopy)) < 0)
        return error_set(err, -EINVAL, "%s: pre-copy information of %zu bytes",
                         dev->name, info->size);
    return 0;
}

int vfm_device_region_read(struct vfm_device *dev, uint32_t region,
                           uint64_t offset, void *buf, size_t len,
                           struct vfm_error *err)
{
    return dev->ops->access(dev, false, region, offset, buf, len, err);
}

int vfm_device_region_write(struct vfm_device *dev, uint32_t region,
                            uint64_t offset, const void *buf, size_t len,
                            struct vfm_error *err)
{
    return dev->ops->access(dev, true, region, offset, (void *)buf, len, err);
}

ssize_t vfm_device_read(struct vfm_device *dev, void *buf, size_t len,
                        struct vfm_error *err)
{
    const void *data;
    ssize_t n;

    if (len == 0) /* what it would return means something else */
        return error_set(err, -EINVAL, "%s: no room to read to", dev->name);
    while ((n = device_peek(dev, &data, err)) == -EAGAIN) {
        n = device_wait(dev, err);
        if (n < 0)
            return n;
    }
    if (n <= 0)
        return n;
    if ((size_t)n > len)
        n = (ssize_t)len;
    memcpy(buf, data, (size_t)n);
    device_consume(dev, (size_t)n);
    return n;
}

int vfm_device_write(struct vfm_device *dev, const void *buf, size_t len,
                     struct vfm_error *err)
{
    const char *data = buf;

    while (len > 0) {
        ssize_t n = device_write(dev, data, len, err);

        if (n > 0) {
            data += n;
            len -= (size_t)n;
            continue;
        }
        if (n == -EAGAIN)
            n = device_wait(dev, err);
        if (n < 0) {
            dev->refusal_told = dev->session == SESSION_LOAD;
            return (int)n;
        }
    }
    return 0;
}
