/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving the device memory, and taking it away.
 */
#include <errno.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"

int vfm_vfio_user_dma_map(struct vfm_device *dev, uint64_t iova, uint64_t size,
                          int fd, uint64_t fd_offset, uint32_t access,
                          struct vfm_error *err)
{
    struct vfu_dma_map map = {
        .argsz = sizeof(map),
        .flags = access,
        .fd_offset = fd < 0 ? 0 : fd_offset,
        .iova = iova,
        .size = size,
    };
    struct iovec part = { &map, sizeof(map) };
    struct request req = { 0 };
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

    req.timeout_ms = c->settings.command_timeout_ms;
    ret = client_send(c, &req, VFU_DMA_MAP, &part, 1, &fd, fd >= 0);
    if (ret == 0)
        ret = client_wait(c, &req);
    return ret < 0 ? client_error(c, err, ret, "map memory") : 0;
}

int vfm_vfio_user_dma_unmap(struct vfm_device *dev, uint64_t iova,
                            uint64_t size, struct vfm_error *err)
{
    struct vfu_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = iova,
        .size = size,
    };
    struct client *c;
    ssize_t n;
    int ret = client_of(dev, &c, err);

    if (ret < 0)
        return ret;
    n = client_command(c, VFU_DMA_UNMAP, &unmap, sizeof(unmap), &unmap,
                       sizeof(unmap));
    return n < 0 ? client_error(c, err, (int)n, "unmap memory") : 0;
}
