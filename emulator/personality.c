/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The habits of other servers, as far as a client notices.  Of the library that
 * most devices use: commands refused by state, replies that are longer than
 * they should be, bodies received with a single call.  Of the Rust crate: an
 * older version.  Of QEMU: what it refuses.
 */
#include <errno.h>
#include <string.h>

#include "emulator/misbehave.h"
#include "util/clock.h"

/* What Linux delivers at once of a large message on a UNIX socket. */
#define RECEIVED_AT_ONCE 36544u

/* The largest numbers that QEMU takes. */
#define QEMU_MAX_FDS     16u
#define QEMU_MAX_XFER    (UINT64_C(64) << 20)
#define QEMU_MAX_MAPS    65535u

static bool applies(const struct connection *c)
{
    return c->device->options->personality == PERSONALITY_LIBVFIO_USER;
}

uint16_t personality_minor(const struct connection *c)
{
    switch (c->device->options->personality) {
    case PERSONALITY_RUST:
        return 1;
    case PERSONALITY_QEMU_LIMITS:
        return 0;
    default:
        return VFU_VERSION_MINOR;
    }
}

bool personality_accepts(const struct connection *c,
                         const struct personality_limits *limits)
{
    if (c->device->options->personality != PERSONALITY_QEMU_LIMITS)
        return true;
    return limits->max_msg_fds <= QEMU_MAX_FDS &&
           limits->max_data_xfer_size <= QEMU_MAX_XFER &&
           limits->max_dma_maps <= QEMU_MAX_MAPS &&
           limits->pgsizes % EDEV_PAGE_SIZE == 0;
}

static bool needs_running_device(uint32_t command)
{
    switch (command) {
    case VFU_DEVICE_GET_INFO:
    case VFU_DEVICE_GET_REGION_INFO:
    case VFU_DEVICE_GET_IRQ_INFO:
    case VFU_DEVICE_SET_IRQS:
    case VFU_DMA_MAP:
    case VFU_DMA_UNMAP:
    case VFU_DEVICE_RESET:
        return true;
    default:
        return false;
    }
}

bool personality_takes_whole_messages(const struct connection *c)
{
    return !applies(c);
}

bool personality_takes_area(const struct connection *c)
{
    return c->device->options->personality == PERSONALITY_SPEC &&
           !c->device->options->no_data_area;
}

int personality_check(const struct connection *c, const struct request *rq)
{
    uint32_t state = c->device->state;
    bool stopped = state == UAPI_STATE_STOP || state == UAPI_STATE_STOP_COPY;

    if (!applies(c))
        return 0;
    if (stopped && needs_running_device(rq->command))
        return -EINVAL;
    if (state == UAPI_STATE_STOP_COPY &&
        (rq->command == VFU_REGION_READ || rq->command == VFU_REGION_WRITE))
        return -EINVAL;
    return 0;
}

size_t personality_error_payload(const struct connection *c,
                                 const struct request *rq, struct reply *rp)
{
    struct vfu_region_access access;
    size_t size = rq->size < rp->room ? rq->size : rp->room;

    if (!applies(c))
        return 0;
    switch (rq->command) {
    case VFU_DEVICE_FEATURE:
        memcpy(rp->payload, rq->payload, size);
        return size;
    case VFU_REGION_READ:
        if (size < sizeof(access))
            return 0;
        memcpy(&access, rq->payload, sizeof(access));
        memcpy(rp->payload, &access, sizeof(access));
        if (access.count > rp->room - sizeof(access))
            return 0;
        memset(rp->payload + sizeof(access), 0, access.count);
        return sizeof(access) + access.count;
    default:
        return 0;
    }
}

bool personality_survives_bad_size(const struct connection *c)
{
    return applies(c) && c->negotiated;
}

size_t personality_received_size(const struct connection *c,
                                 const struct vfu_header *h)
{
    size_t body = h->size - sizeof(*h);

    if (!applies(c) || body <= RECEIVED_AT_ONCE - sizeof(*h))
        return h->size;
    return RECEIVED_AT_ONCE;
}

int personality_check_report(struct connection *c,
                             const struct vfu_feature_log_report *r)
{
    const struct dma *dma = &c->device->dma;
    const struct mapping *m = dma_find(dma, r->iova);

    if (!applies(c) || !dma->log.active)
        return 0;
    if (m == NULL)
        return -ENOENT;
    if (m->memory == NULL)
        return -EINVAL;
    if (m->iova != r->iova)
        return -ENOTSUP;
    if (r->length > m->size)
        return 1;
    if (r->page_size < dma->log.page_size)
        c->hold_until = CLOCK_NEVER;
    return 0;
}

size_t personality_padding(const struct connection *c, const struct request *rq,
                           size_t asked, size_t size)
{
    return applies(c) ? rq->size - sizeof(struct vfu_mig_data) + asked - size
                      : 0;
}
