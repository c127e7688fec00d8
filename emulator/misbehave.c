/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults of a connection: late, wrong or missing replies, hanging up, and
 * messages that nobody asked for.
 */
#include <errno.h>
#include <string.h>

#include "emulator/command.h"
#include "emulator/misbehave.h"
#include "protocol/vfio-uapi.h"
#include "util/clock.h"

/* An id that no message of ours has. */
#define INJECTED_ID 0xdead

static void inject(struct connection *c, enum fault_part part)
{
    const struct dma *dma = &c->device->dma;
    struct vfu_header h = {
        .id = INJECTED_ID,
        .command = VFU_DMA_READ,
        .size = sizeof(h) + sizeof(struct vfu_dma_access),
    };
    struct vfu_dma_access access = {
        .iova = dma->count > 0 ? dma->mappings[0].iova : 0,
        .count = 8,
    };
    uint8_t *to = transport_reserve(&c->main);

    if (to == NULL)
        return;
    if (part == PART_REPLY) {
        h.command = VFU_MIG_DATA_READ;
        h.flags = VFU_TYPE_REPLY;
    }
    memcpy(to, &h, sizeof(h));
    memcpy(to + sizeof(h), &access, sizeof(access));
    transport_commit(&c->main, h.size, -1, 0);
}

int misbehave_before(struct connection *c, const struct request *rq)
{
    struct fault_list *list = &c->device->faults;
    struct effects *e = &c->device->effects;
    uint32_t command = command_by_message(rq->command);
    uint32_t feature = feature_number(rq);
    const struct fault *f;

    e->delay = fault_at_command(list, FAULT_DELAY, command, feature);
    e->corrupt = fault_at_command(list, FAULT_CORRUPT, command, feature);
    e->close = fault_at_command(list, FAULT_CLOSE, command, feature);
    e->inject = fault_at_command(list, FAULT_INJECT, command, feature);
    if (effects_stop(e))
        return -ECONNABORTED;
    if (e->inject != NULL)
        inject(c, e->inject->part);
    f = fault_at_command(list, FAULT_FAIL, command, feature);
    if (f == NULL)
        return personality_check(c, rq);
    /* The worst that a driver may do: it fails and has forgotten. */
    if (rq->command == VFU_DEVICE_FEATURE && feature == UAPI_FEATURE_LOG_REPORT)
        log_forget(&c->device->dma);
    return -f->error;
}

bool misbehave_is_silent(const struct connection *c)
{
    const struct fault *close = c->device->effects.close;

    return close != NULL &&
           (close->when == CLOSE_BEFORE || close->when == CLOSE_UNANSWERED);
}

void misbehave_in_reply(struct connection *c, struct vfu_header *h,
                        struct reply *rp)
{
    const struct fault *corrupt = c->device->effects.corrupt;

    if (corrupt != NULL)
        corrupt_reply(corrupt->part, c->device, h, rp);
}

void misbehave_after(struct connection *c, size_t size)
{
    struct effects *e = &c->device->effects;

    if (e->delay != NULL)
        c->hold_until =
            e->delay->amount == 0
                ? CLOCK_NEVER
                : clock_now() + (int64_t)e->delay->amount * NS_PER_MS;
    if (e->close != NULL) {
        c->closing = true;
        if (e->close->when == CLOSE_MID)
            transport_cut(&c->main, transport_pending(&c->main) - size / 2);
    }
    *e = (struct effects){ 0 };
}
