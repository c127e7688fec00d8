/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions: how large they are and which parts of them can be mapped.
 *
 * The server tells in two steps: first how much there is to tell, then all of
 * it, with the descriptor.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"

/* A region's information with its capabilities: thousands of areas. */
#define MAX_REGION_INFO (UINT32_C(64) << 10)

/* Capabilities are read up to here: the list may run in a circle. */
#define MAX_CAPS        16

/* Asks for region @index; up to @cap bytes go to @reply, a descriptor that
 * came along to *@fd.  Returns how many bytes came or an error. */
static ssize_t query(struct client *c, uint32_t index, uint32_t cap,
                     void *reply, int *fd)
{
    struct vfu_region_info info = { .argsz = cap, .index = index };
    struct iovec part = { &info, sizeof(info) };
    struct request req = {
        .buf = reply,
        .cap = cap,
        .timeout_ms = c->settings.command_timeout_ms,
        .wants_fd = true,
    };
    int ret =
        client_send(c, &req, VFU_DEVICE_GET_REGION_INFO, &part, 1, NULL, 0);

    *fd = -1;
    if (ret == 0)
        ret = client_wait(c, &req);
    if (ret < 0)
        return ret;
    *fd = req.fd;
    if (req.size < sizeof(info))
        return client_lose(c, -EPROTO, "region %u is told in %zu bytes", index,
                           req.size);
    return (ssize_t)(req.size < cap ? req.size : cap);
}

/* Keeps @fd for region @index unless one is there: the caller may hold its
 * number. */
static void keep_fd(struct client *c, uint32_t index, int fd)
{
    if (fd < 0)
        return;
    if (c->region_fds[index] < 0)
        c->region_fds[index] = fd;
    else
        close(fd);
}

int region_query(struct client *c, uint32_t index, struct vfu_region_info *info)
{
    int fd;
    ssize_t n = query(c, index, sizeof(*info), info, &fd);

    if (fd >= 0)
        close(fd);
    return n < 0 ? (int)n : 0;
}

static int bad_caps(struct client *c, uint32_t index, const char *what)
{
    return client_lose(c, -EPROTO, "region %u: %s", index, what);
}

/* Reads one area list, of which @left bytes are there. */
static int read_areas(struct client *c, uint32_t index, uint64_t region_size,
                      const uint8_t *cap, size_t left,
                      struct vfm_region_area *areas, size_t max)
{
    struct vfu_cap_sparse_mmap sparse;
    struct vfu_sparse_area area;

    if (left < sizeof(sparse))
        return bad_caps(c, index, "its list of areas is cut off");
    memcpy(&sparse, cap, sizeof(sparse));
    left -= sizeof(sparse);
    if (sparse.nr_areas > left / sizeof(area))
        return bad_caps(c, index, "its list of areas is cut off");

    for (uint32_t i = 0; i < sparse.nr_areas; i++) {
        memcpy(&area, cap + sizeof(sparse) + i * sizeof(area), sizeof(area));
        if (area.size == 0 || area.offset > region_size ||
            area.size > region_size - area.offset)
            return bad_caps(c, index, "an area is not within it");
        if (i < max)
            areas[i] = (struct vfm_region_area){ area.offset, area.size };
    }
    return (int)sparse.nr_areas;
}

/* Finds the areas in @size bytes at @reply.  A region without a list can be
 * mapped as a whole. */
static int find_areas(struct client *c, uint32_t index, const uint8_t *reply,
                      size_t size, struct vfm_region_area *areas, size_t max)
{
    struct vfu_region_info info;
    struct vfu_cap_header cap;
    uint32_t at;

    memcpy(&info, reply, sizeof(info));
    at = (info.flags & UAPI_REGION_CAPS) != 0 ? info.cap_offset : 0;
    for (int i = 0; i < MAX_CAPS && at != 0; i++, at = cap.next) {
        if (at < sizeof(info) || at > size || size - at < sizeof(cap))
            return bad_caps(c, index, "a capability is not within the answer");
        memcpy(&cap, reply + at, sizeof(cap));
        if (cap.id == UAPI_CAP_SPARSE_MMAP)
            return read_areas(c, index, info.size, reply + at, size - at, areas,
                              max);
    }
    if (max > 0)
        areas[0] = (struct vfm_region_area){ 0, info.size };
    return 1;
}

/* Asks again if there is more to tell.  @reply holds MAX_REGION_INFO bytes.
 * Returns how many came. */
static ssize_t query_all(struct client *c, uint32_t index, uint8_t *reply)
{
    struct vfu_region_info info;
    int fd;
    ssize_t n = query(c, index, sizeof(info), reply, &fd);

    keep_fd(c, index, fd);
    if (n < 0)
        return n;
    memcpy(&info, reply, sizeof(info));
    if (info.argsz <= sizeof(info))
        return n;
    if (info.argsz > MAX_REGION_INFO)
        return bad_caps(c, index, "its capabilities are too many");
    n = query(c, index, info.argsz, reply, &fd);
    keep_fd(c, index, fd);
    return n;
}

static int region_areas(struct client *c, uint32_t index, uint8_t *reply,
                        struct vfm_region_area *areas, size_t max,
                        uint64_t *fd_offset)
{
    struct vfu_region_info info;
    ssize_t n = query_all(c, index, reply);

    if (n < 0)
        return (int)n;
    memcpy(&info, reply, sizeof(info));
    *fd_offset = info.offset;
    if ((info.flags & UAPI_REGION_MMAP) == 0 || info.size == 0 ||
        c->region_fds[index] < 0)
        return 0;
    return find_areas(c, index, reply, (size_t)n, areas, max);
}

int vfm_vfio_user_region_areas(struct vfm_device *dev, uint32_t region,
                               struct vfm_region_area *areas, size_t max,
                               int *fd, uint64_t *fd_offset,
                               struct vfm_error *err)
{
    struct client *c;
    uint8_t *reply;
    int ret = client_of(dev, &c, err);

    *fd = -1;
    *fd_offset = 0;
    if (ret < 0)
        return ret;
    if (region >= UAPI_NUM_REGIONS)
        return error_set(err, -EINVAL, "%s: there is no region %u", c->name,
                         region);
    reply = malloc(MAX_REGION_INFO);
    if (reply == NULL)
        return client_error(c, err, -ENOMEM, "ask for a region");

    ret = region_areas(c, region, reply, areas, max, fd_offset);
    if (ret > 0)
        *fd = c->region_fds[region];
    free(reply);
    return ret < 0 ? client_error(c, err, ret, "ask for a region") : ret;
}
