/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * One system call for each operation.  It is over when it has begun: finishing
 * tells what came of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/vfio/kernel.h"
#include "util/error.h"
#include "util/ioctl.h"

/* A state that opens a session brings its descriptor; one that keeps it brings
 * none, and has its own time to begin to talk. */
static int take_session(struct kernel_device *k, enum vfm_state from,
                        enum vfm_state to, int fd)
{
    enum session before = state_session(from);
    enum session after = state_session(to);

    k->blocked = false;
    if (after == before || after == SESSION_NONE) {
        if (fd >= 0)
            close(fd); /* nobody asked for it */
        return 0;
    }
    return fd >= 0 ? data_begin(k, fd) : -EPROTO;
}

/* The flags of what is left to pre-copy mean something only to who has said
 * that he knows them, before it begins. */
static void ask_for_flags(struct kernel_device *k)
{
    struct uapi_feature arg;

    k->has_flags =
        kernel_feature(k, UAPI_FEATURE_SET | UAPI_FEATURE_PRECOPY_INFO_V2, &arg,
                       sizeof(arg)) == 0;
}

static bool begins_pre_copy(enum vfm_state from, enum vfm_state to)
{
    return state_session(from) == SESSION_NONE &&
           state_session(to) == SESSION_SAVE && state_is_running(to);
}

static int set_state(struct kernel_device *k, enum vfm_state state)
{
    struct {
        struct uapi_feature feature;
        struct uapi_device_state next;
    } arg = { .next.state = (uint32_t)state, .next.data_fd = -1 };
    int ret;

    if (begins_pre_copy(k->dev->state, state))
        ask_for_flags(k);
    ret = kernel_feature(k, UAPI_FEATURE_SET | UAPI_FEATURE_DEVICE_STATE, &arg,
                         sizeof(arg));
    if (ret < 0)
        return ret;
    return take_session(k, k->dev->state, state, arg.next.data_fd);
}

static int get_data_size(const struct kernel_device *k, uint64_t *bytes)
{
    struct {
        struct uapi_feature feature;
        uint64_t bytes;
    } arg = { .bytes = 0 };
    int ret = kernel_feature(k, UAPI_FEATURE_GET | UAPI_FEATURE_DATA_SIZE, &arg,
                             sizeof(arg));

    *bytes = arg.bytes;
    return ret;
}

static int get_precopy_info(const struct kernel_device *k,
                            struct vfm_precopy_info *info)
{
    struct uapi_precopy_info arg = { .argsz = sizeof(arg) };
    int ret;

    if (k->data_fd < 0)
        return -EINVAL;
    ret = ioctl_retry(k->data_fd, UAPI_GET_PRECOPY_INFO, &arg);
    if (ret < 0)
        return ret;
    *info = (struct vfm_precopy_info){
        .flags = k->has_flags ? arg.flags & UAPI_PRECOPY_REINIT : 0,
        .initial_bytes = arg.initial_bytes,
        .dirty_bytes = arg.dirty_bytes,
    };
    return 0;
}

static int access_regions(struct kernel_device *k,
                          const struct device_call *call)
{
    bool write = call->op == DEVICE_REGION_WRITE;
    int ret = 0;

    for (unsigned int i = 0; i < call->num_accesses; i++) {
        struct device_access *a = &call->accesses[i];

        a->ret = ret < 0 && write ? -ECANCELED
                                  : kernel_access(k, write, a->region,
                                                  a->offset, a->buf, a->len);
        if (ret == 0)
            ret = a->ret;
    }
    return ret;
}

static int perform(struct kernel_device *k, struct device_call *call)
{
    switch (call->op) {
    case DEVICE_SET_STATE:
        return set_state(k, call->state);
    case DEVICE_GET_STATE:
        return kernel_get_state(k, &call->state);
    case DEVICE_RESET:
        return ioctl_retry(k->fd, UAPI_DEVICE_RESET_NOW, NULL);
    case DEVICE_DATA_SIZE:
        return get_data_size(k, &call->bytes);
    case DEVICE_PRECOPY_INFO:
        return get_precopy_info(k, &call->precopy);
    case DEVICE_REGION_READ:
    case DEVICE_REGION_WRITE:
        return access_regions(k, call);
    case DEVICE_LOG_START:
        return log_start(k, call);
    case DEVICE_LOG_STOP:
        return log_stop(k);
    case DEVICE_LOG_REPORT:
        return log_report(k, call);
    }
    return -EINVAL;
}

static const char *what_of(const struct device_call *call)
{
    static const char *const what[] = {
        [DEVICE_GET_STATE] = "tell its state",
        [DEVICE_RESET] = "reset",
        [DEVICE_DATA_SIZE] = "tell the size of its state",
        [DEVICE_PRECOPY_INFO] = "tell what is left to pre-copy",
        [DEVICE_LOG_START] = "start logging",
        [DEVICE_LOG_STOP] = "stop logging",
        [DEVICE_LOG_REPORT] = "report what it wrote",
    };

    return what[call->op];
}

/* What is not there has one number, whoever says so; and where the kernel did
 * not get a lock, as for a reset, there is no answer to be waited for. */
static int translate(int ret)
{
    if (ret == -ENOTTY)
        return -EOPNOTSUPP;
    return ret == -EAGAIN ? -EBUSY : ret;
}

/* Of accesses to regions, the first that failed. */
static int describe_access(const struct kernel_device *k,
                           const struct device_call *call, int ret,
                           struct vfm_error *err)
{
    const struct device_access *a = call->accesses;

    while (a->ret == 0)
        a++;
    return error_set(err, ret, "%s: cannot %s region %u at 0x%llx: %s",
                     k->dev->name,
                     call->op == DEVICE_REGION_WRITE ? "write" : "read",
                     a->region, (unsigned long long)a->offset, strerror(-ret));
}

static int describe(const struct kernel_device *k,
                    const struct device_call *call, int ret,
                    struct vfm_error *err)
{
    ret = translate(ret);
    if (call->op == DEVICE_REGION_READ || call->op == DEVICE_REGION_WRITE)
        return describe_access(k, call, ret, err);
    if (call->op == DEVICE_SET_STATE)
        return error_set(err, ret, "%s: cannot go to %s: %s", k->dev->name,
                         vfm_state_name(call->state), strerror(-ret));
    return error_set(err, ret, "%s: cannot %s: %s", k->dev->name, what_of(call),
                     strerror(-ret));
}

static int call_start(struct vfm_device *dev, struct device_call *call,
                      struct vfm_error *err)
{
    struct kernel_device *k = kernel_of(dev);

    (void)err;
    k->result = perform(k, call);
    if (k->result < 0)
        k->result = describe(k, call, k->result, &k->why);
    return 0;
}

static int call_finish(struct vfm_device *dev, struct device_call *call,
                       struct vfm_error *err)
{
    const struct kernel_device *k = kernel_of(dev);

    (void)call;
    if (k->result < 0)
        return error_set(err, k->result, "%s", k->why.message);
    return 0;
}

static int access_region(struct vfm_device *dev, bool write, uint32_t region,
                         uint64_t offset, void *buf, size_t len,
                         struct vfm_error *err)
{
    struct kernel_device *k = kernel_of(dev);
    int ret = translate(kernel_access(k, write, region, offset, buf, len));

    if (ret < 0)
        return error_set(err, ret, "%s: cannot %s region %u at 0x%llx: %s",
                         dev->name, write ? "write" : "read", region,
                         (unsigned long long)offset, strerror(-ret));
    return 0;
}

/* What its IOMMU maps only its VMM knows: it may be anything. */
static void reach(struct vfm_device *dev, device_reach_fn *each, void *opaque)
{
    (void)dev;
    each(opaque, 0, UINT64_MAX - 4095);
}

static int check(struct vfm_device *dev, struct vfm_error *err)
{
    (void)dev;
    (void)err;
    return 0;
}

static void close_device(struct vfm_device *dev)
{
    struct kernel_device *k = kernel_of(dev);

    data_end(dev);
    if (k->owns_fd && k->fd >= 0)
        close(k->fd);
    if (k->group_fd >= 0)
        close(k->group_fd);
    if (k->iommu_fd >= 0)
        close(k->iommu_fd);
    free(k->ranges);
    free(k->buf);
    free(k);
}

const struct device_ops kernel_ops = {
    .name = "vfio",
    .call_start = call_start,
    .call_finish = call_finish,
    .peek = data_peek,
    .consume = data_consume,
    .write = data_write,
    .flush = data_flush,
    .end_session = data_end,
    .access = access_region,
    .reach = reach,
    .wait_fds = data_wait_fds,
    .check = check,
    .close = close_device,
};
