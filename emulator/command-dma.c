/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA_MAP and DMA_UNMAP.
 */
#include <errno.h>

#include "emulator/command.h"

/* After struct vfu_dma_unmap, in requests for the dirty bitmap. */
struct unmap_bitmap {
    uint64_t page_size;
    uint64_t bytes;
};

static bool is_libvfio_user(const struct connection *c)
{
    return c->device->options->personality == PERSONALITY_LIBVFIO_USER;
}

int command_dma_map(struct connection *c, struct request *rq, struct reply *rp)
{
    struct vfu_dma_map map;
    int fd = -1;
    int ret;

    (void)rp;
    memcpy(&map, rq->payload, sizeof(map));
    if (map.argsz < sizeof(map) || rq->num_fds > 1)
        return -EINVAL;
    if (rq->num_fds == 1) {
        fd = rq->fds[0];
        rq->fds[0] = -1;
    }
    ret = dma_map(&c->device->dma, &map, fd);
    if (is_libvfio_user(c) && ret == -EALREADY)
        return 0;
    if (ret == -EALREADY || ret == -EEXIST)
        return is_libvfio_user(c) ? -EINVAL : -EEXIST;
    return ret;
}

/* Appends the bitmap of a mapping that is about to go. */
static int report_unmapped(struct connection *c, const struct request *rq,
                           const struct vfu_dma_unmap *unmap, struct reply *rp)
{
    struct unmap_bitmap b;
    uint64_t size;

    if (rq->size < sizeof(*unmap) + sizeof(b))
        return -EINVAL;
    memcpy(&b, rq->payload + sizeof(*unmap), sizeof(b));
    size = log_report_size(unmap->iova, unmap->size, b.page_size);
    if (size == 0 || size > b.bytes ||
        size > c->device->options->max_data_xfer ||
        size > rp->room - sizeof(*unmap) - sizeof(b))
        return -EINVAL;
    b.bytes = size;
    memcpy(rp->payload + sizeof(*unmap), &b, sizeof(b));
    rp->size = sizeof(*unmap) + sizeof(b) + size;
    return log_report(&c->device->dma, unmap->iova, unmap->size, b.page_size,
                      rp->payload + sizeof(*unmap) + sizeof(b));
}

static void unmap_all(struct dma *d)
{
    while (d->count > 0) {
        const struct mapping *last = &d->mappings[d->count - 1];

        dma_unmap(d, last->iova, last->size);
    }
}

/* That crate numbers the flags of its own accord.  Returns those of the
 * others; all of them for one that it has not. */
static uint32_t unmap_flags(const struct connection *c, uint32_t flags)
{
    if (c->device->options->personality != PERSONALITY_RUST || flags == 0)
        return flags;
    if (flags == 2)
        return VFU_DMA_UNMAP_GET_DIRTY;
    return flags == 4 ? VFU_DMA_UNMAP_ALL : UINT32_MAX;
}

int command_dma_unmap(struct connection *c, struct request *rq,
                      struct reply *rp)
{
    const uint32_t known = VFU_DMA_UNMAP_GET_DIRTY | VFU_DMA_UNMAP_ALL;
    struct dma *dma = &c->device->dma;
    struct vfu_dma_unmap unmap;
    int ret = 0;

    memcpy(&unmap, rq->payload, sizeof(unmap));
    unmap.flags = unmap_flags(c, unmap.flags);
    if (unmap.argsz < sizeof(unmap) || (unmap.flags & ~known) != 0 ||
        unmap.flags == known)
        return -EINVAL;
    /* Message DMA under way may be for what goes now. */
    engine_abandon(c->device);
    rp->size = sizeof(unmap);
    if (unmap.flags == VFU_DMA_UNMAP_ALL) {
        if (unmap.iova != 0 || unmap.size != 0)
            return -EINVAL;
        unmap_all(dma);
    } else {
        if (unmap.flags == VFU_DMA_UNMAP_GET_DIRTY)
            ret = report_unmapped(c, rq, &unmap, rp);
        if (ret == 0)
            ret = dma_unmap(dma, unmap.iova, unmap.size);
    }
    unmap.argsz = (uint32_t)rp->size;
    memcpy(rp->payload, &unmap, sizeof(unmap));
    return ret;
}
