/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device behind a vfio-user server, as it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "check/raw.h"
#include "check/wire.h"
#include "util/clock.h"
#include "util/error.h"

/* Of one message, to servers that do not say that they take any as one: some
 * receive with a single call, and Linux cuts there. */
#define SAFE_WRITE (UINT32_C(32) << 10)

struct user {
    struct wire wire;
    struct raw_limits limits;
    char *path;
};

static struct user *user_of(const struct raw *raw)
{
    return raw->impl;
}

/* The earlier of the check's deadline and the command's. */
static ssize_t call(struct raw *raw, const struct wire_message *m, uint32_t ms)
{
    return wire_call(&user_of(raw)->wire, m,
                     clock_min(raw->deadline, clock_deadline(ms)),
                     &raw->broken);
}

/* A command whose payload is @size bytes at @data, and so is its answer. */
static int exchange(struct raw *raw, enum vfu_command command, void *data,
                    size_t size)
{
    struct user *u = user_of(raw);
    struct wire_message m = {
        .command = command, .head = data, .head_size = size, .fd = -1
    };
    ssize_t n = call(raw, &m, u->limits.command_ms);

    if (n < 0)
        return (int)n;
    if ((size_t)n < size)
        return -EPROTO;
    memcpy(data, u->wire.in, size);
    return 0;
}

static uint32_t feature_limit(const struct user *u, uint32_t flags)
{
    return flags == (UAPI_FEATURE_DEVICE_STATE | UAPI_FEATURE_SET)
               ? u->limits.state_ms
               : u->limits.command_ms;
}

static int user_feature(struct raw *raw, struct raw_feature *f)
{
    struct user *u = user_of(raw);
    bool is_get = (f->flags & UAPI_FEATURE_GET) != 0;
    struct vfu_feature head = { .flags = f->flags };
    struct wire_message m = { .command = VFU_DEVICE_FEATURE,
                              .head = &head,
                              .head_size = sizeof(head),
                              .data = f->data,
                              .data_size = is_get ? 0 : f->size,
                              .fd = -1 };
    ssize_t n;

    head.argsz = f->argsz != 0 ? f->argsz : (uint32_t)(sizeof(head) + f->size);
    n = call(raw, &m, feature_limit(u, f->flags));
    if (n < 0)
        return (int)n;
    if ((size_t)n < sizeof(head))
        return -EPROTO;
    f->got = (size_t)n - sizeof(head);
    if (is_get && f->data != NULL)
        memcpy(f->data, u->wire.in + sizeof(head),
               f->got < f->size ? f->got : f->size);
    return 0;
}

static ssize_t user_read(struct raw *raw, int fd, void *buf, size_t len)
{
    struct user *u = user_of(raw);
    struct vfu_mig_data data = { (uint32_t)(sizeof(data) + len),
                                 (uint32_t)len };
    struct wire_message m = { .command = VFU_MIG_DATA_READ,
                              .head = &data,
                              .head_size = sizeof(data),
                              .fd = -1 };
    ssize_t n;

    (void)fd;
    if (len > WIRE_DATA_MAX)
        return -EMSGSIZE;
    n = call(raw, &m, u->limits.data_ms);
    if (n < 0)
        return n;
    if ((size_t)n < sizeof(data))
        return -EPROTO;
    memcpy(&data, u->wire.in, sizeof(data));
    if (data.size > len || data.size > (size_t)n - sizeof(data))
        return -EPROTO;
    memcpy(buf, u->wire.in + sizeof(data), data.size);
    return data.size;
}

static ssize_t user_write(struct raw *raw, int fd, const void *buf, size_t len)
{
    struct vfu_mig_data data = { (uint32_t)(sizeof(data) + len),
                                 (uint32_t)len };
    struct wire_message m = { .command = VFU_MIG_DATA_WRITE,
                              .head = &data,
                              .head_size = sizeof(data),
                              .data = buf,
                              .data_size = len,
                              .fd = -1 };
    ssize_t n;

    (void)fd;
    if (len > WIRE_DATA_MAX)
        return -EMSGSIZE;
    n = call(raw, &m, user_of(raw)->limits.data_ms);
    return n < 0 ? n : (ssize_t)len;
}

static int user_precopy_info(struct raw *raw, int fd,
                             struct uapi_precopy_info *info)
{
    struct vfu_precopy_info p = { .argsz = sizeof(p) };
    int ret;

    (void)fd;
    ret = exchange(raw, VFU_MIG_GET_PRECOPY_INFO, &p, sizeof(p));
    *info = (struct uapi_precopy_info){ p.argsz, p.flags, p.initial_bytes,
                                        p.dirty_bytes };
    return ret;
}

static int user_reset(struct raw *raw)
{
    struct wire_message m = { .command = VFU_DEVICE_RESET, .fd = -1 };
    ssize_t n = call(raw, &m, user_of(raw)->limits.state_ms);

    return n < 0 ? (int)n : 0;
}

static int user_device_info(struct raw *raw, struct uapi_device_info *info)
{
    info->argsz = sizeof(*info);
    return exchange(raw, VFU_DEVICE_GET_INFO, info, sizeof(*info));
}

static int user_region_info(struct raw *raw, uint32_t index,
                            struct raw_region *region)
{
    struct vfu_region_info info = { .argsz = sizeof(info), .index = index };
    int ret = exchange(raw, VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info));

    *region = (struct raw_region){ .size = info.size, .flags = info.flags };
    return ret;
}

static int user_region_read(struct raw *raw, uint32_t index, uint64_t offset,
                            void *buf, size_t len)
{
    struct user *u = user_of(raw);
    struct vfu_region_access a = { offset, index, (uint32_t)len };
    struct wire_message m = {
        .command = VFU_REGION_READ, .head = &a, .head_size = sizeof(a), .fd = -1
    };
    ssize_t n = call(raw, &m, u->limits.command_ms);

    if (n < 0)
        return (int)n;
    if ((size_t)n < sizeof(a) + len)
        return -EPROTO;
    memcpy(buf, u->wire.in + sizeof(a), len);
    return 0;
}

static int user_region_write(struct raw *raw, uint32_t index, uint64_t offset,
                             const void *buf, size_t len)
{
    struct vfu_region_access a = { offset, index, (uint32_t)len };
    struct wire_message m = { .command = VFU_REGION_WRITE,
                              .head = &a,
                              .head_size = sizeof(a),
                              .data = buf,
                              .data_size = len,
                              .fd = -1 };
    ssize_t n = call(raw, &m, user_of(raw)->limits.command_ms);

    return n < 0 ? (int)n : 0;
}

static int user_irq_count(struct raw *raw, uint32_t index)
{
    struct vfu_irq_info info = { .argsz = sizeof(info), .index = index };
    int ret = exchange(raw, VFU_DEVICE_GET_IRQ_INFO, &info, sizeof(info));

    if (ret < 0)
        return ret;
    return info.count > INT32_MAX ? -EPROTO : (int)info.count;
}

static int user_set_irq(struct raw *raw, uint32_t index, uint32_t start,
                        int eventfd)
{
    struct vfu_irq_set set = {
        .argsz = sizeof(set),
        .flags = UAPI_IRQ_DATA_EVENTFD | UAPI_IRQ_ACTION_TRIGGER,
        .index = index,
        .start = start,
        .count = 1,
    };
    struct wire_message m = { .command = VFU_DEVICE_SET_IRQS,
                              .head = &set,
                              .head_size = sizeof(set),
                              .fd = eventfd };
    ssize_t n = call(raw, &m, user_of(raw)->limits.command_ms);

    return n < 0 ? (int)n : 0;
}

static int user_mask_irq(struct raw *raw, uint32_t index, uint32_t start,
                         uint32_t action)
{
    struct vfu_irq_set set = {
        .argsz = sizeof(set),
        .flags = UAPI_IRQ_DATA_NONE | action,
        .index = index,
        .start = start,
        .count = 1,
    };
    struct wire_message m = { .command = VFU_DEVICE_SET_IRQS,
                              .head = &set,
                              .head_size = sizeof(set),
                              .fd = -1 };
    ssize_t n = call(raw, &m, user_of(raw)->limits.command_ms);

    return n < 0 ? (int)n : 0;
}

static pid_t user_peer(struct raw *raw)
{
    struct ucred peer = { .pid = 0 };
    socklen_t size = sizeof(peer);

    if (getsockopt(user_of(raw)->wire.fd, SOL_SOCKET, SO_PEERCRED, &peer,
                   &size) < 0)
        return -errno;
    return peer.pid > 0 ? peer.pid : -EOPNOTSUPP;
}

static int user_dma_map(struct raw *raw, struct raw_range range, int fd)
{
    struct vfu_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFU_DMA_MAP_READ | VFU_DMA_MAP_WRITE,
        .iova = range.iova,
        .size = range.length,
    };
    struct wire_message m = {
        .command = VFU_DMA_MAP, .head = &map, .head_size = sizeof(map), .fd = fd
    };
    ssize_t n = call(raw, &m, user_of(raw)->limits.command_ms);

    return n < 0 ? (int)n : 0;
}

static int user_dma_unmap(struct raw *raw, struct raw_range range)
{
    struct vfu_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = range.iova,
        .size = range.length,
    };

    return exchange(raw, VFU_DMA_UNMAP, &unmap, sizeof(unmap));
}

/* A feature and what follows it, which stands in the message itself. */
struct log_start {
    struct vfu_feature feature;
    struct vfu_feature_log_start start;
};

static int user_log_start(struct raw *raw, uint64_t page_size,
                          const struct raw_range *ranges, size_t num_ranges)
{
    struct log_start s = {
        .feature.flags = UAPI_FEATURE_LOG_START | UAPI_FEATURE_SET,
        .start.page_size = page_size,
        .start.num_ranges = (uint32_t)num_ranges,
    };
    struct wire_message m = { .command = VFU_DEVICE_FEATURE,
                              .head = &s,
                              .head_size = sizeof(s),
                              .data = ranges,
                              .data_size = num_ranges * sizeof(*ranges),
                              .fd = -1 };
    ssize_t n;

    _Static_assert(sizeof(struct raw_range) == sizeof(struct vfu_log_range),
                   "the same on the wire");
    s.feature.argsz = (uint32_t)(sizeof(s) + m.data_size);
    n = call(raw, &m, user_of(raw)->limits.command_ms);
    return n < 0 ? (int)n : 0;
}

struct log_report {
    struct vfu_feature feature;
    struct vfu_feature_log_report report;
};

static int user_log_report(struct raw *raw, struct raw_range range,
                           uint64_t page_size, uint64_t *bitmap)
{
    struct user *u = user_of(raw);
    uint64_t pages = page_size == 0 ? 0
                                    : range.length / page_size +
                                          (range.length % page_size != 0);
    size_t words = (size_t)((pages + 63) / 64);
    struct log_report r = {
        .feature.flags = UAPI_FEATURE_LOG_REPORT | UAPI_FEATURE_GET,
        .report = { range.iova, range.length, page_size },
    };
    struct wire_message m = { .command = VFU_DEVICE_FEATURE,
                              .head = &r,
                              .head_size = sizeof(r),
                              .fd = -1 };
    ssize_t n;

    r.feature.argsz = (uint32_t)(sizeof(r) + words * sizeof(*bitmap));
    n = call(raw, &m, u->limits.command_ms);
    if (n < 0)
        return (int)n;
    if ((size_t)n < sizeof(r) + words * sizeof(*bitmap))
        return -EPROTO;
    for (size_t i = 0; i < words; i++) {
        uint64_t word;

        memcpy(&word, u->wire.in + sizeof(r) + i * sizeof(word), sizeof(word));
        bitmap[i] |= word;
    }
    return 0;
}

/* Whether somebody else is let in while we are.  A server that serves one
 * client at a time lets him wait, which is as good as a refusal. */
static int user_open_twice(struct raw *raw)
{
    const struct user *u = user_of(raw);
    struct vfm_error err;
    struct wire second;
    int ret = wire_open(&second, u->path, clock_deadline(200), &err);

    if (ret == 0)
        wire_close(&second);
    return ret == -ETIMEDOUT ? -EBUSY : ret;
}

static int open_wire(struct raw *raw, struct vfm_error *err)
{
    struct user *u = user_of(raw);
    int ret =
        wire_open(&u->wire, u->path, clock_deadline(u->limits.connect_ms), err);

    if (ret < 0) {
        raw->broken = ret;
        return ret;
    }
    raw->max_read = u->wire.max_data;
    raw->max_write = u->wire.takes_whole || u->wire.max_data < SAFE_WRITE
                         ? u->wire.max_data
                         : SAFE_WRITE;
    return 0;
}

static int user_reopen(struct raw *raw, struct vfm_error *err)
{
    wire_close(&user_of(raw)->wire);
    return open_wire(raw, err);
}

static void user_close(struct raw *raw)
{
    struct user *u = user_of(raw);

    if (u == NULL)
        return;
    wire_close(&u->wire);
    free(u->path);
    free(u);
}

static const struct raw_ops ops = {
    .kind = "vfio-user",
    .feature = user_feature,
    .read = user_read,
    .write = user_write,
    .close = user_close,
    .precopy_info = user_precopy_info,
    .reset = user_reset,
    .reopen = user_reopen,
    .open_twice = user_open_twice,
    .device_info = user_device_info,
    .region_info = user_region_info,
    .region_read = user_region_read,
    .region_write = user_region_write,
    .irq_count = user_irq_count,
    .set_irq = user_set_irq,
    .mask_irq = user_mask_irq,
    .peer = user_peer,
    .dma_map = user_dma_map,
    .dma_unmap = user_dma_unmap,
    .log_start = user_log_start,
    .log_report = user_log_report,
};

static uint32_t or_default(uint32_t ms, uint32_t otherwise)
{
    return ms != 0 ? ms : otherwise;
}

static struct user *new_user(const char *path, const struct raw_limits *l)
{
    struct user *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return NULL;
    u->wire.fd = -1;
    u->limits = (struct raw_limits){
        .connect_ms = or_default(l->connect_ms, 5000),
        .command_ms = or_default(l->command_ms, 5000),
        .state_ms = or_default(l->state_ms, 60000),
        .data_ms = or_default(l->data_ms, 30000),
    };
    u->path = strdup(path);
    if (u->path == NULL) {
        free(u);
        return NULL;
    }
    return u;
}

int raw_open_vfio_user(const char *path, const struct raw_limits *limits,
                       struct raw **rawp, struct vfm_error *err)
{
    struct raw *raw = calloc(1, sizeof(*raw));
    int ret;

    *rawp = NULL;
    if (raw == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", path);
    raw->ops = &ops;
    raw->deadline = CLOCK_NEVER;
    raw->impl = new_user(path, limits);
    ret = raw->impl == NULL ? error_set(err, -ENOMEM, "%s: out of memory", path)
                            : open_wire(raw, err);
    if (ret < 0) {
        raw_close(raw);
        return ret;
    }
    *rawp = raw;
    return 0;
}
