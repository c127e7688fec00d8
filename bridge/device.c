/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connecting to a device, what it consists of, and access to its regions.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/backing.h"
#include "bridge/device.h"
#include "bridge/real.h"
#include "bridge/space.h"

/* All that are connected. */
static struct device *devices;
static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;

int argument_put(void *arg, const void *from, size_t len)
{
    return memory_write((uintptr_t)arg, from, len);
}

int argument_get(const void *arg, void *to, size_t min, size_t max)
{
    uint32_t size;
    int ret = memory_read((uintptr_t)arg, &size, sizeof(size));

    if (ret < 0)
        return ret;
    if (size < min)
        return -EINVAL;
    memset(to, 0, max);
    return memory_read((uintptr_t)arg, to, size < max ? size : max);
}

/* ------------------------------------------------------------ learning */

static int ask_info(struct device *d)
{
    struct vfu_device_info ask = { .argsz = sizeof(ask) };
    struct exchange x = {
        .command = VFU_DEVICE_GET_INFO,
        .head = &ask,
        .head_len = sizeof(ask),
        .reply = &d->info,
        .reply_room = sizeof(d->info),
    };
    int ret = link_call(&d->link, &x);

    if (ret == 0 && x.reply_len < sizeof(d->info))
        ret = -EPROTO;
    if (d->info.num_regions > UAPI_NUM_REGIONS)
        d->info.num_regions = UAPI_NUM_REGIONS;
    if (d->info.num_irqs > UAPI_NUM_IRQS)
        d->info.num_irqs = UAPI_NUM_IRQS;
    return ret;
}

struct region_reply {
    struct vfu_region_info info;
    uint8_t caps[4096];
    size_t len; /* how much of both came */
};

#define REGION_REPLY_ROOM ((uint32_t)offsetof(struct region_reply, len))

static int ask_region(struct device *d, uint32_t index, uint32_t room,
                      struct region_reply *reply, struct wire_fds *fds)
{
    struct vfu_region_info ask = { .argsz = room, .index = index };
    struct exchange x = {
        .command = VFU_DEVICE_GET_REGION_INFO,
        .head = &ask,
        .head_len = sizeof(ask),
        .reply = reply,
        .reply_room = REGION_REPLY_ROOM,
        .reply_fds = fds,
    };
    int ret;

    memset(reply, 0, sizeof(*reply));
    ret = link_call(&d->link, &x);
    if (ret == 0 && x.reply_len < sizeof(reply->info))
        ret = -EPROTO;
    reply->len = x.reply_len;
    return ret;
}

/* Where the list of areas is in the reply's chain of capabilities; 0: there is
 * none; beyond the reply: the chain makes no sense.  It has to lead on, so that
 * one in a circle has an end. */
static size_t find_areas(const struct region_reply *reply)
{
    const size_t none = reply->len;
    size_t at = reply->info.cap_offset;
    size_t before = sizeof(reply->info) - 1;
    struct vfu_cap_header cap;

    if ((reply->info.flags & UAPI_REGION_CAPS) == 0)
        return 0;
    for (; at != 0; at = cap.next) {
        if (at <= before || at > reply->len - sizeof(cap))
            return none;
        memcpy(&cap, (const uint8_t *)reply + at, sizeof(cap));
        if (cap.id == UAPI_CAP_SPARSE_MMAP)
            return at;
        before = at;
    }
    return 0;
}

/* The areas of the capability at @at in the reply; false: they make no
 * sense. */
static bool read_areas(struct region *r, const struct region_reply *reply,
                       size_t at)
{
    const uint8_t *bytes = (const uint8_t *)reply;
    struct vfu_cap_sparse_mmap cap;
    size_t room;

    if (at > reply->len - sizeof(cap))
        return false;
    memcpy(&cap, bytes + at, sizeof(cap));
    room = (reply->len - at - sizeof(cap)) / sizeof(r->areas[0]);
    if (cap.nr_areas > DEVICE_MAX_AREAS || cap.nr_areas > room)
        return false;
    memcpy(r->areas, bytes + at + sizeof(cap),
           cap.nr_areas * sizeof(r->areas[0]));
    r->num_areas = cap.nr_areas;
    for (uint32_t i = 0; i < r->num_areas; i++)
        if (r->areas[i].size > r->size ||
            r->areas[i].offset > r->size - r->areas[i].size)
            return false;
    return true;
}

/* A region that the server lets us map in part or, if it does not say which,
 * as a whole.  What makes no sense is not mapped. */
static void learn_areas(struct region *r, const struct region_reply *reply,
                        struct wire_fds *fds)
{
    size_t at = find_areas(reply);

    if (fds->count == 0 || (r->flags & UAPI_REGION_MMAP) == 0)
        return;
    r->num_areas = 1;
    r->areas[0] = (struct vfu_sparse_area){ .offset = 0, .size = r->size };
    if (at != 0 && !read_areas(r, reply, at))
        return;
    r->fd_offset = reply->info.offset;
    r->fd = fds->fd[--fds->count];
}

static int learn_region(struct device *d, uint32_t index)
{
    struct region *r = &d->regions[index];
    struct wire_fds fds = { .count = 0 };
    struct region_reply reply;
    int ret = ask_region(d, index, sizeof(reply.info), &reply, &fds);

    /* The rest, and the descriptor, come if there is room for them. */
    if (ret == 0 && reply.info.argsz > sizeof(reply.info)) {
        wire_close_fds(&fds);
        ret = ask_region(d, index, REGION_REPLY_ROOM, &reply, &fds);
    }
    if (ret < 0)
        return ret;
    r->size = reply.info.size;
    r->flags = reply.info.flags;
    learn_areas(r, &reply, &fds);
    if (r->fd < 0)
        r->flags &= ~(UAPI_REGION_MMAP | UAPI_REGION_CAPS);
    wire_close_fds(&fds);
    return 0;
}

static int learn_irq(struct device *d, uint32_t index)
{
    struct vfu_irq_info ask = { .argsz = sizeof(ask), .index = index };
    struct exchange x = {
        .command = VFU_DEVICE_GET_IRQ_INFO,
        .head = &ask,
        .head_len = sizeof(ask),
        .reply = &d->irqs[index],
        .reply_room = sizeof(d->irqs[index]),
    };
    int ret = link_call(&d->link, &x);

    return ret == 0 && x.reply_len < sizeof(ask) ? -EPROTO : ret;
}

static int learn(struct device *d)
{
    int ret = ask_info(d);

    for (uint32_t i = 0; i < d->info.num_regions && ret == 0; i++)
        ret = learn_region(d, i);
    for (uint32_t i = 0; i < d->info.num_irqs && ret == 0; i++)
        ret = learn_irq(d, i);
    return ret;
}

/* A device that was opened runs and remembers nothing. */
static int reset(struct device *d)
{
    struct exchange x = { .command = VFU_DEVICE_RESET,
                          .timeout_ms = LINK_STATE_MS };
    int ret;

    pthread_mutex_lock(&d->state_lock);
    ret = link_call(&d->link, &x);
    if (ret == 0)
        ret = feature_learn_state(d);
    session_end(d);
    pthread_mutex_unlock(&d->state_lock);
    return ret;
}

/* ---------------------------------------------------- getting at one */

static void close_regions(struct device *d)
{
    for (unsigned i = 0; i < UAPI_NUM_REGIONS; i++) {
        if (d->regions[i].fd >= 0)
            REAL(close)(d->regions[i].fd);
        d->regions[i].fd = -1;
    }
}

/* Whoever is not there is no device; one that serves somebody else is busy. */
static int open_link(struct device *d)
{
    int ret = link_open(&d->link, d->place.socket, &space_memory, d);

    if (ret == -ENOENT || ret == -ECONNREFUSED)
        return -ENODEV;
    return ret == -EIO ? -EBUSY : ret;
}

static int new_device(const struct place *place, bool anew, struct device **dp)
{
    struct device *d = calloc(1, sizeof(*d));
    int ret;

    if (d == NULL)
        return -ENOMEM;
    d->place = *place;
    atomic_init(&d->refs, 0);
    for (unsigned i = 0; i < UAPI_NUM_REGIONS; i++)
        d->regions[i].fd = -1;
    pthread_mutex_init(&d->state_lock, NULL);
    pthread_mutex_init(&d->space_lock, NULL);
    ret = open_link(d);
    if (ret < 0) {
        free(d);
        return ret;
    }
    ret = learn(d);
    if (ret == 0 && anew && (d->info.flags & UAPI_DEVICE_RESET) != 0)
        ret = reset(d);
    else if (ret == 0)
        ret = feature_learn_state(d);
    if (ret < 0) {
        link_close(&d->link);
        close_regions(d);
        free(d);
        return ret;
    }
    *dp = d;
    return 0;
}

int device_open(const struct place *place, bool anew, bool alone,
                struct device **dp)
{
    struct device *d;
    int ret = 0;

    pthread_mutex_lock(&devices_lock);
    for (d = devices; d != NULL; d = d->next)
        if (d->place.group == place->group)
            break;
    if (d != NULL && alone)
        ret = -EBUSY;
    else if (d == NULL)
        ret = new_device(place, anew, &d);
    if (ret == 0 && d->opens == 0) {
        d->next = devices;
        devices = d;
    }
    if (ret == 0) {
        d->refs++;
        d->opens++;
    }
    pthread_mutex_unlock(&devices_lock);
    *dp = ret == 0 ? d : NULL;
    return ret;
}

void device_ref(struct device *d)
{
    atomic_fetch_add(&d->refs, 1);
}

void device_put(struct device *d)
{
    if (atomic_fetch_sub(&d->refs, 1) == 1)
        free(d);
}

/* The last descriptor takes what it had set up with it. */
static void shut(struct device *d)
{
    struct device **at = &devices;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    pthread_mutex_lock(&d->state_lock);
    session_end(d);
    pthread_mutex_unlock(&d->state_lock);
    link_close(&d->link);
    close_regions(d);
}

void device_close(struct device *d)
{
    pthread_mutex_lock(&devices_lock);
    if (--d->opens == 0)
        shut(d);
    pthread_mutex_unlock(&devices_lock);
    device_put(d);
}

void device_forget_all(void)
{
    for (struct device *d = devices; d != NULL; d = d->next)
        link_forget(&d->link);
    devices = NULL;
    pthread_mutex_init(&devices_lock, NULL);
}

int device_place(int n, struct place *place)
{
    const char *at = getenv(PLACE_ENV_SOCKET);
    size_t len;

    for (int i = 0; at != NULL && i < n; i++) {
        at = strchr(at, ':');
        if (at != NULL)
            at++;
    }
    if (at == NULL || n < 0 || n >= PLACE_MAX)
        return -ENODEV;
    len = strcspn(at, ":");
    if (len == 0 || len >= sizeof(place->socket))
        return -ENODEV;
    memcpy(place->socket, at, len);
    place->socket[len] = '\0';
    snprintf(place->bdf, sizeof(place->bdf), PLACE_BDF, PLACE_BDF_ARG(n));
    place->group = PLACE_GROUP(n);
    return 0;
}

/* ------------------------------------------------------------- regions */

/* How much of @len bytes at @pos are there, and in which region. */
static ssize_t locate(const struct device *d, int64_t pos, size_t len,
                      struct vfu_region_access *a)
{
    uint64_t index = (uint64_t)pos >> DEVICE_REGION_SHIFT;
    uint64_t offset =
        (uint64_t)pos & ((UINT64_C(1) << DEVICE_REGION_SHIFT) - 1);

    if (pos < 0 || index >= d->info.num_regions ||
        offset >= d->regions[index].size)
        return -EINVAL;
    if (len > d->regions[index].size - offset)
        len = d->regions[index].size - offset;
    if (len > d->link.max_xfer)
        len = d->link.max_xfer;
    *a = (struct vfu_region_access){
        .offset = offset,
        .region = (uint32_t)index,
        .count = (uint32_t)len,
    };
    return (ssize_t)len;
}

ssize_t device_read(struct device *d, void *buf, size_t len, int64_t pos)
{
    struct vfu_region_access a;
    struct vfu_region_access answer;
    struct exchange x = {
        .command = VFU_REGION_READ,
        .head = &a,
        .head_len = sizeof(a),
        .reply = &answer,
        .reply_room = sizeof(answer),
        .data = buf,
    };
    ssize_t n = locate(d, pos, len, &a);
    int ret;

    if (n <= 0)
        return n;
    x.data_room = (size_t)n;
    ret = link_call(&d->link, &x);
    if (ret == 0 && x.reply_len != sizeof(answer) + (size_t)n)
        ret = -EIO;
    return ret < 0 ? ret : n;
}

ssize_t device_write(struct device *d, const void *buf, size_t len, int64_t pos)
{
    struct vfu_region_access a;
    struct exchange x = {
        .command = VFU_REGION_WRITE,
        .head = &a,
        .head_len = sizeof(a),
        .body = buf,
    };
    ssize_t n = locate(d, pos, len, &a);
    int ret;

    if (n <= 0)
        return n;
    x.body_len = (size_t)n;
    ret = link_call(&d->link, &x);
    return ret < 0 ? ret : n;
}

int device_map(struct device *d, uint64_t offset, size_t len, int *fd,
               uint64_t *fd_offset)
{
    uint64_t index = offset >> DEVICE_REGION_SHIFT;
    uint64_t at = offset & ((UINT64_C(1) << DEVICE_REGION_SHIFT) - 1);
    const struct region *r;

    if (index >= d->info.num_regions || d->regions[index].fd < 0)
        return -EINVAL;
    r = &d->regions[index];
    for (uint32_t i = 0; i < r->num_areas; i++) {
        const struct vfu_sparse_area *a = &r->areas[i];

        if (at < a->offset || at - a->offset > a->size ||
            len > a->size - (at - a->offset))
            continue;
        *fd = r->fd;
        *fd_offset = r->fd_offset + at;
        return 0;
    }
    return -EINVAL;
}

/* --------------------------------------------------------- the ioctl()s */

static int get_info(struct device *d, void *arg)
{
    struct vfu_device_info info;
    int ret = argument_get(arg, &info, sizeof(info), sizeof(info));

    if (ret < 0)
        return ret;
    info = d->info;
    info.argsz = sizeof(info);
    info.flags &= UAPI_DEVICE_RESET | UAPI_DEVICE_PCI;
    return argument_put(arg, &info, sizeof(info));
}

/* The areas as a capability, where there is room for it. */
static int put_areas(const struct region *r, struct vfu_region_info *info,
                     void *arg)
{
    struct {
        struct vfu_cap_sparse_mmap cap;
        struct vfu_sparse_area areas[DEVICE_MAX_AREAS];
    } sparse = {
        .cap.header = { .id = UAPI_CAP_SPARSE_MMAP, .version = 1 },
        .cap.nr_areas = r->num_areas,
    };
    size_t len = sizeof(sparse.cap) + r->num_areas * sizeof(r->areas[0]);
    uint32_t room = info->argsz;

    info->flags |= UAPI_REGION_CAPS;
    info->argsz = (uint32_t)(sizeof(*info) + len);
    if (room < info->argsz)
        return 0;
    info->cap_offset = sizeof(*info);
    memcpy(sparse.areas, r->areas, r->num_areas * sizeof(r->areas[0]));
    return argument_put((char *)arg + sizeof(*info), &sparse, len);
}

static int get_region_info(struct device *d, void *arg)
{
    const struct region *r;
    struct vfu_region_info info;
    uint32_t known = UAPI_REGION_READ | UAPI_REGION_WRITE | UAPI_REGION_MMAP;
    int ret = argument_get(arg, &info, sizeof(info), sizeof(info));

    if (ret < 0)
        return ret;
    if (info.index >= d->info.num_regions)
        return -EINVAL;
    r = &d->regions[info.index];
    info.flags = r->flags & known;
    info.cap_offset = 0;
    info.size = r->size;
    info.offset = (uint64_t)info.index << DEVICE_REGION_SHIFT;
    if (r->fd >= 0)
        ret = put_areas(r, &info, arg);
    else
        info.argsz = sizeof(info);
    return ret < 0 ? ret : argument_put(arg, &info, sizeof(info));
}

int device_ioctl(struct device *d, unsigned long request, void *arg)
{
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        return get_info(d, arg);
    case VFIO_DEVICE_GET_REGION_INFO:
        return get_region_info(d, arg);
    case VFIO_DEVICE_GET_IRQ_INFO:
        return device_irq_info(d, arg);
    case VFIO_DEVICE_SET_IRQS:
        return device_set_irqs(d, arg);
    case VFIO_DEVICE_RESET:
        return (d->info.flags & UAPI_DEVICE_RESET) != 0 ? reset(d) : -EINVAL;
    case VFIO_DEVICE_FEATURE:
        return device_feature(d, arg);
    case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        return -ENODEV; /* its slot and bus are its own */
    }
    return -ENOTTY;
}
