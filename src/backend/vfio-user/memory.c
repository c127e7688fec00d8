/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving the device memory, and taking it away; which memory it has.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"

static int make_room(struct dma_log *log)
{
    size_t size = log->size == 0 ? 8 : 2 * log->size;
    struct dma_mapping *mappings;

    if (log->count < log->size)
        return 0;
    if (log->count == MAX_DMA_MAPS)
        return -E2BIG;
    mappings = realloc(log->mappings, size * sizeof(*mappings));
    if (mappings == NULL)
        return -ENOMEM;
    log->mappings = mappings;
    log->size = size;
    return 0;
}

static int send_map(struct client *c, const struct dma_mapping *m, int fd,
                    uint64_t fd_offset, uint32_t access)
{
    struct vfu_dma_map map = {
        .argsz = sizeof(map),
        .flags = access,
        .fd_offset = fd < 0 ? 0 : fd_offset,
        .iova = m->iova,
        .size = m->size,
    };
    struct iovec part = { &map, sizeof(map) };
    struct request req = { .timeout_ms = c->settings.command_timeout_ms };
    int ret = client_send(c, &req, VFU_DMA_MAP, &part, 1, &fd, fd >= 0);

    return ret == 0 ? client_wait(c, &req) : ret;
}

/* Maps one piece and remembers it. */
static int map_piece(struct client *c, const struct dma_mapping *m, int fd,
                     uint64_t fd_offset, uint32_t access)
{
    struct dma_mapping *ours;
    int ret = make_room(&c->log);

    if (ret == 0)
        ret = send_map(c, m, fd, fd_offset, access);
    if (ret < 0)
        return ret;
    ours = &c->log.mappings[c->log.count++];
    *ours = *m;
    return log_add(c, ours);
}

static int send_unmap(struct client *c, uint64_t iova, uint64_t size)
{
    struct vfu_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = iova,
        .size = size,
    };
    ssize_t n = client_command(c, VFU_DMA_UNMAP, &unmap, sizeof(unmap), &unmap,
                               sizeof(unmap));

    return n < 0 ? (int)n : 0;
}

static bool is_piece_of(const struct dma_mapping *m, uint64_t iova,
                        uint64_t size)
{
    return !m->is_gone && m->whole_iova == iova && m->whole_size == size;
}

/* Unmaps every piece of it that is not among the @spared first mappings;
 * -ENOENT if there is none.  From the last on, as those behind take the place
 * of one that goes. */
static int unmap_pieces(struct client *c, size_t spared, uint64_t iova,
                        uint64_t size)
{
    int ret = -ENOENT;

    for (size_t i = c->log.count; i > spared; i--) {
        struct dma_mapping *m = &c->log.mappings[i - 1];

        if (!is_piece_of(m, iova, size))
            continue;
        ret = send_unmap(c, m->iova, m->size);
        if (ret < 0)
            return ret;
        log_drop(c, m);
    }
    return ret;
}

static int map_pieces(struct client *c, struct dma_mapping *m, int fd,
                      uint64_t fd_offset, uint32_t access)
{
    size_t before = c->log.count;
    int ret = 0;

    for (uint64_t done = 0; ret == 0 && done < m->whole_size; done += m->size) {
        uint64_t left = m->whole_size - done;

        m->iova = m->whole_iova + done;
        m->size = left < MAX_DMA_MAP ? left : MAX_DMA_MAP;
        ret = map_piece(c, m, fd, fd_offset + done, access);
    }
    if (ret < 0)
        unmap_pieces(c, before, m->whole_iova, m->whole_size);
    return ret;
}

int vfm_vfio_user_dma_map(struct vfm_device *dev, uint64_t iova, uint64_t size,
                          int fd, uint64_t fd_offset, uint32_t access,
                          struct vfm_error *err)
{
    struct dma_mapping m = {
        .whole_iova = iova,
        .whole_size = size,
        .by_message = fd < 0,
        .can_write = (access & VFM_DMA_WRITE) != 0,
    };
    struct client *c;
    int ret = client_of(dev, &c, err);

    if (ret < 0)
        return ret;
    if ((access & ~(VFM_DMA_READ | VFM_DMA_WRITE)) != 0 || size == 0 ||
        iova + (size - 1) < iova)
        return error_set(err, -EINVAL, "%s: cannot map memory: %s", c->name,
                         "bad range or access");
    if (fd >= 0 && c->max_msg_fds == 0)
        return error_set(err, -EOPNOTSUPP, "%s: cannot map memory: %s", c->name,
                         "server takes no descriptors");
    ret = map_pieces(c, &m, fd, fd_offset, access);
    return ret < 0 ? client_error(c, err, ret, "map memory") : 0;
}

int vfm_vfio_user_dma_unmap(struct vfm_device *dev, uint64_t iova,
                            uint64_t size, struct vfm_error *err)
{
    struct client *c;
    int ret = client_of(dev, &c, err);

    if (ret < 0)
        return ret;
    ret = unmap_pieces(c, 0, iova, size);
    if (ret == -ENOENT)
        ret = send_unmap(c, iova, size); /* the server says what it thinks */
    return ret < 0 ? client_error(c, err, ret, "unmap memory") : 0;
}

void memory_reach(struct vfm_device *dev, device_reach_fn *each, void *opaque)
{
    const struct dma_log *log = &device_client(dev)->log;

    for (size_t i = 0; i < log->count; i++)
        if (log->mappings[i].can_write)
            each(opaque, log->mappings[i].iova, log->mappings[i].size);
}

void memory_free(struct client *c)
{
    log_stopped(c);
    free(c->log.mappings);
}
