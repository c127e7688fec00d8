/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device of the kernel, as it is: system calls on the descriptor that the
 * library knows how to get.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <vfmig/vfio.h>

#include "check/raw.h"
#include "util/clock.h"
#include "util/error.h"

struct kernel {
    struct vfm_device *dev; /* NULL: not open */
    int fd;                 /* its own */
    char *address;
};

static struct kernel *kernel_of(const struct raw *raw)
{
    return raw->impl;
}

static int call(const struct raw *raw, unsigned long request, void *arg)
{
    int ret;

    do
        ret = ioctl(kernel_of(raw)->fd, request, arg);
    while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

static int kernel_feature(struct raw *raw, struct raw_feature *f)
{
    size_t size = sizeof(struct uapi_feature) + f->size;
    size_t room = f->argsz > size ? f->argsz : size;
    struct uapi_feature *head = calloc(1, room);
    int ret;

    if (head == NULL)
        return -ENOMEM;
    head->argsz = f->argsz != 0 ? f->argsz : (uint32_t)size;
    head->flags = f->flags;
    if (f->size > 0)
        memcpy(head + 1, f->data, f->size);
    ret = call(raw, UAPI_DEVICE_FEATURE, head);
    if (ret >= 0 && f->size > 0)
        memcpy(f->data, head + 1, f->size);
    f->got = ret >= 0 ? f->size : 0;
    free(head);
    return ret < 0 ? ret : 0;
}

/* A descriptor that cannot be polled is said to be ready. */
static int wait_for(const struct raw *raw, int fd, short events)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = events };
        int n = poll(&p, 1, clock_poll_timeout(raw->deadline));

        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static ssize_t kernel_read(struct raw *raw, int fd, void *buf, size_t len)
{
    int ret = fd < 0 ? -EBADF : wait_for(raw, fd, POLLIN);
    ssize_t n;

    if (ret < 0)
        return ret;
    n = read(fd, buf, len);
    return n < 0 ? -errno : n;
}

static ssize_t kernel_write(struct raw *raw, int fd, const void *buf,
                            size_t len)
{
    ssize_t n;

    (void)raw;
    if (fd < 0)
        return -EBADF;
    n = write(fd, buf, len);
    return n < 0 ? -errno : n;
}

static int kernel_precopy_info(struct raw *raw, int fd,
                               struct uapi_precopy_info *info)
{
    (void)raw;
    *info = (struct uapi_precopy_info){ .argsz = sizeof(*info) };
    return ioctl(fd, UAPI_GET_PRECOPY_INFO, info) < 0 ? -errno : 0;
}

static int kernel_reset(struct raw *raw)
{
    return call(raw, UAPI_DEVICE_RESET_NOW, NULL);
}

static int kernel_device_info(struct raw *raw, struct uapi_device_info *info)
{
    info->argsz = sizeof(*info);
    return call(raw, UAPI_DEVICE_GET_INFO, info);
}

static int region(const struct raw *raw, uint32_t index,
                  struct uapi_region_info *info)
{
    *info = (struct uapi_region_info){ .argsz = sizeof(*info), .index = index };
    return call(raw, UAPI_DEVICE_GET_REGION_INFO, info);
}

static int kernel_region_info(struct raw *raw, uint32_t index,
                              struct raw_region *out)
{
    struct uapi_region_info info;
    int ret = region(raw, index, &info);

    *out = (struct raw_region){ .size = info.size, .flags = info.flags };
    return ret;
}

static int kernel_region_read(struct raw *raw, uint32_t index, uint64_t offset,
                              void *buf, size_t len)
{
    struct uapi_region_info info;
    int ret = region(raw, index, &info);
    ssize_t n;

    if (ret < 0)
        return ret;
    n = pread(kernel_of(raw)->fd, buf, len, (off_t)(info.offset + offset));
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

static int kernel_region_write(struct raw *raw, uint32_t index, uint64_t offset,
                               const void *buf, size_t len)
{
    struct uapi_region_info info;
    int ret = region(raw, index, &info);
    ssize_t n;

    if (ret < 0)
        return ret;
    n = pwrite(kernel_of(raw)->fd, buf, len, (off_t)(info.offset + offset));
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

/* VFIO_DEVICE_GET_IRQ_INFO and SET_IRQS. */
struct irq_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t count;
};

struct irq_set {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t start;
    uint32_t count;
    int32_t eventfd;
};

#define GET_IRQ_INFO _IO(';', 109)
#define SET_IRQS     _IO(';', 110)

static int kernel_irq_count(struct raw *raw, uint32_t index)
{
    struct irq_info info = { .argsz = sizeof(info), .index = index };
    int ret = call(raw, GET_IRQ_INFO, &info);

    return ret < 0 ? ret : (int)info.count;
}

static int kernel_set_irq(struct raw *raw, uint32_t index, uint32_t start,
                          int eventfd)
{
    struct irq_set set = {
        .argsz = sizeof(set),
        .flags = UAPI_IRQ_DATA_EVENTFD | UAPI_IRQ_ACTION_TRIGGER,
        .index = index,
        .start = start,
        .count = 1,
        .eventfd = eventfd,
    };

    return call(raw, SET_IRQS, &set);
}

static int kernel_mask_irq(struct raw *raw, uint32_t index, uint32_t start,
                           uint32_t action)
{
    struct irq_set set = {
        .argsz = offsetof(struct irq_set, eventfd),
        .flags = UAPI_IRQ_DATA_NONE | action,
        .index = index,
        .start = start,
        .count = 1,
    };

    return call(raw, SET_IRQS, &set);
}

/* The kernel's log: ranges and the bitmap stand elsewhere. */
static int kernel_log_start(struct raw *raw, uint64_t page_size,
                            const struct raw_range *ranges, size_t num_ranges)
{
    struct uapi_log_control c = {
        .page_size = page_size,
        .num_ranges = (uint32_t)num_ranges,
        .ranges = (uint64_t)(uintptr_t)ranges,
    };
    struct raw_feature f = {
        .flags = UAPI_FEATURE_LOG_START | UAPI_FEATURE_SET,
        .data = &c,
        .size = sizeof(c),
    };

    return kernel_feature(raw, &f);
}

static int kernel_log_report(struct raw *raw, struct raw_range range,
                             uint64_t page_size, uint64_t *bitmap)
{
    struct uapi_log_report report = {
        .iova = range.iova,
        .length = range.length,
        .page_size = page_size,
        .bitmap = (uint64_t)(uintptr_t)bitmap,
    };
    struct raw_feature f = {
        .flags = UAPI_FEATURE_LOG_REPORT | UAPI_FEATURE_GET,
        .data = &report,
        .size = sizeof(report),
    };

    return kernel_feature(raw, &f);
}

static int open_device(struct raw *raw, struct vfm_error *err)
{
    struct kernel *k = kernel_of(raw);
    int ret = vfm_device_open_vfio(k->address, &k->dev, err);

    k->fd = ret < 0 ? -1 : vfm_vfio_device_fd(k->dev);
    raw->broken = ret < 0 ? ret : 0;
    return ret;
}

static int kernel_reopen(struct raw *raw, struct vfm_error *err)
{
    vfm_device_close(kernel_of(raw)->dev);
    kernel_of(raw)->dev = NULL;
    return open_device(raw, err);
}

static int kernel_open_twice(struct raw *raw)
{
    struct vfm_device *second;
    struct vfm_error err;
    int ret = vfm_device_open_vfio(kernel_of(raw)->address, &second, &err);

    if (ret == 0)
        vfm_device_close(second);
    return ret;
}

static void kernel_close(struct raw *raw)
{
    struct kernel *k = kernel_of(raw);

    if (k == NULL)
        return;
    vfm_device_close(k->dev);
    free(k->address);
    free(k);
}

static const struct raw_ops ops = {
    .kind = "vfio",
    .feature = kernel_feature,
    .read = kernel_read,
    .write = kernel_write,
    .close = kernel_close,
    .precopy_info = kernel_precopy_info,
    .reset = kernel_reset,
    .reopen = kernel_reopen,
    .open_twice = kernel_open_twice,
    .device_info = kernel_device_info,
    .region_info = kernel_region_info,
    .region_read = kernel_region_read,
    .region_write = kernel_region_write,
    .irq_count = kernel_irq_count,
    .set_irq = kernel_set_irq,
    .mask_irq = kernel_mask_irq,
    .log_start = kernel_log_start,
    .log_report = kernel_log_report,
};

int raw_open_vfio(const char *address, struct raw **rawp, struct vfm_error *err)
{
    struct raw *raw = calloc(1, sizeof(*raw));
    struct kernel *k = calloc(1, sizeof(*k));
    int ret = -ENOMEM;

    *rawp = NULL;
    if (raw != NULL && k != NULL) {
        *raw = (struct raw){ .ops = &ops,
                             .impl = k,
                             .has_descriptors = true,
                             .max_read = SIZE_MAX,
                             .max_write = SIZE_MAX,
                             .deadline = CLOCK_NEVER };
        k->fd = -1;
        k->address = strdup(address);
        ret = k->address == NULL ? -ENOMEM : open_device(raw, err);
    }
    if (ret == 0) {
        *rawp = raw;
        return 0;
    }
    if (ret == -ENOMEM)
        error_set(err, ret, "%s: out of memory", address);
    if (k != NULL)
        free(k->address);
    free(k);
    free(raw);
    return ret;
}
