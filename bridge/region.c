/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions: what the server says of them, and how they are read, written and
 * mapped.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "bridge/device.h"
#include "bridge/memory.h"
#include "bridge/real.h"

/* ------------------------------------------------------------ learning */

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

int region_learn(struct device *d, uint32_t index)
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
    if (ret < 0) {
        wire_close_fds(&fds);
        return ret;
    }
    r->size = reply.info.size;
    r->flags = reply.info.flags;
    learn_areas(r, &reply, &fds);
    if (r->fd < 0)
        r->flags &= ~(UAPI_REGION_MMAP | UAPI_REGION_CAPS);
    wire_close_fds(&fds);
    return 0;
}

void region_close_all(struct device *d)
{
    for (unsigned i = 0; i < UAPI_NUM_REGIONS; i++) {
        if (d->regions[i].fd >= 0)
            REAL(close)(d->regions[i].fd);
        d->regions[i].fd = -1;
    }
}

/* -------------------------------------------------------------- access */

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
    ret = memory_check(buf, x.body_len);
    if (ret == 0)
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

int device_region_info(struct device *d, void *arg)
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
