/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands that describe the device or access it: information, regions,
 * interrupts, reset.
 */
#include <errno.h>

#include "emulator/command.h"
#include "emulator/region.h"

int command_device_info(struct connection *c, struct request *rq,
                        struct reply *rp)
{
    struct vfu_device_info info;

    memcpy(&info, rq->payload, sizeof(info));
    if (info.argsz < sizeof(info))
        return -EINVAL;
    info = (struct vfu_device_info){
        .argsz = sizeof(info),
        .flags = UAPI_DEVICE_RESET,
        .num_regions = UAPI_NUM_REGIONS,
        .num_irqs = UAPI_NUM_IRQS,
    };
    if (!c->device->options->accept_any)
        info.flags |= UAPI_DEVICE_PCI;
    memcpy(rp->payload, &info, sizeof(info));
    rp->size = sizeof(info);
    return 0;
}

/* Appends what of the region can be mapped. */
static void add_sparse_area(struct vfu_region_info *info, struct reply *rp)
{
    struct vfu_cap_sparse_mmap cap = {
        .header = { .id = UAPI_CAP_SPARSE_MMAP, .version = 1 },
        .nr_areas = 1,
    };
    struct vfu_sparse_area area = {
        .offset = EDEV_BAR2_TRAPPED,
        .size = EDEV_BAR2_SIZE - EDEV_BAR2_TRAPPED,
    };

    info->cap_offset = sizeof(*info);
    memcpy(rp->payload + sizeof(*info), &cap, sizeof(cap));
    memcpy(rp->payload + sizeof(*info) + sizeof(cap), &area, sizeof(area));
}

int command_region_info(struct connection *c, struct request *rq,
                        struct reply *rp)
{
    struct vfu_region_info info;
    uint32_t room;

    memcpy(&info, rq->payload, sizeof(info));
    room = info.argsz;
    if (room < sizeof(info) || info.index >= UAPI_NUM_REGIONS)
        return -EINVAL;
    info = (struct vfu_region_info){
        .argsz = sizeof(info),
        .index = info.index,
        .size = region_size(c->device, info.index),
    };
    if (info.size > 0)
        info.flags = UAPI_REGION_READ | UAPI_REGION_WRITE;
    rp->size = sizeof(info);
    if (region_is_mappable(c->device, info.index)) {
        info.flags |= UAPI_REGION_MMAP | UAPI_REGION_CAPS;
        info.argsz +=
            sizeof(struct vfu_cap_sparse_mmap) + sizeof(struct vfu_sparse_area);
        if (room >= info.argsz) {
            add_sparse_area(&info, rp);
            rp->size = info.argsz;
            rp->fd = c->device->bar2_fd;
            rp->fd_copies = 1;
        }
    }
    memcpy(rp->payload, &info, sizeof(info));
    return 0;
}

/* There are none: the reply says so. */
int command_region_io_fds(struct connection *c, struct request *rq,
                          struct reply *rp)
{
    uint32_t words[4]; /* argsz, flags, index, count */

    (void)c;
    memcpy(words, rq->payload, sizeof(words));
    if (words[0] < sizeof(words) || words[1] != 0 ||
        words[2] >= UAPI_NUM_REGIONS)
        return -EINVAL;
    words[0] = sizeof(words);
    words[3] = 0;
    memcpy(rp->payload, words, sizeof(words));
    rp->size = sizeof(words);
    return 0;
}

int command_irq_info(struct connection *c, struct request *rq, struct reply *rp)
{
    struct vfu_irq_info info;

    memcpy(&info, rq->payload, sizeof(info));
    if (info.argsz < sizeof(info) || info.index >= UAPI_NUM_IRQS)
        return -EINVAL;
    info.argsz = sizeof(info);
    info.flags = UAPI_IRQ_EVENTFD;
    info.count = c->device->irqs.count[info.index];
    memcpy(rp->payload, &info, sizeof(info));
    rp->size = sizeof(info);
    return 0;
}

int command_set_irqs(struct connection *c, struct request *rq, struct reply *rp)
{
    struct vfu_irq_set set;
    size_t num_fds = rq->num_fds;

    (void)rp;
    memcpy(&set, rq->payload, sizeof(set));
    if (set.argsz < sizeof(set))
        return -EINVAL;
    rq->num_fds = 0; /* they are the interrupts' now */
    return irqs_set(&c->device->irqs, &set, rq->payload + sizeof(set),
                    rq->size - sizeof(set), rq->fds, num_fds);
}

int command_region_read(struct connection *c, struct request *rq,
                        struct reply *rp)
{
    struct vfu_region_access access;

    memcpy(&access, rq->payload, sizeof(access));
    if (access.count > c->device->options->max_data_xfer ||
        access.count > c->client_max_xfer)
        return -EINVAL;
    memcpy(rp->payload, &access, sizeof(access));
    rp->size = sizeof(access) + access.count;
    return region_read(c->device, access.region, access.offset,
                       rp->payload + sizeof(access), access.count);
}

int command_region_write(struct connection *c, struct request *rq,
                         struct reply *rp)
{
    struct vfu_region_access access;

    memcpy(&access, rq->payload, sizeof(access));
    if (access.count != rq->size - sizeof(access))
        return -EINVAL;
    memcpy(rp->payload, &access, sizeof(access));
    rp->size = sizeof(access);
    return region_write(c->device, access.region, access.offset,
                        rq->payload + sizeof(access), access.count);
}

/* One of several writes. */
struct one_write {
    uint64_t offset;
    uint32_t region;
    uint32_t count;
    uint8_t data[8];
};

/* Stops at the first write that is refused; the reply counts the others. */
int command_region_write_multi(struct connection *c, struct request *rq,
                               struct reply *rp)
{
    const uint8_t *at = rq->payload + sizeof(uint64_t);
    size_t room = rq->size - sizeof(uint64_t);
    uint64_t count;
    uint64_t done;

    memcpy(&count, rq->payload, sizeof(count));
    if (count > room / sizeof(struct one_write) ||
        count * sizeof(struct one_write) != room)
        return -EINVAL;
    for (done = 0; done < count; done++, at += sizeof(struct one_write)) {
        struct one_write w;

        memcpy(&w, at, sizeof(w));
        if (w.count > sizeof(w.data) ||
            region_write(c->device, w.region, w.offset, w.data, w.count) < 0)
            break;
    }
    memcpy(rp->payload, &done, sizeof(done));
    rp->size = sizeof(done);
    return 0;
}

int command_reset(struct connection *c, struct request *rq, struct reply *rp)
{
    (void)rq;
    (void)rp;
    if (c->device->options->personality == PERSONALITY_LIBVFIO_USER)
        device_reset_in_place(c->device);
    else
        device_reset(c->device);
    return 0;
}
