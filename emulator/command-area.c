/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session's bytes in memory that is shared with the client: MIG_AREA_SET,
 * MIG_AREA_READ and MIG_AREA_WRITE.
 */
#include <errno.h>

#include "emulator/command.h"

_Static_assert(AREA_SLACK >= DEVICE_READ_SLACK,
               "a mutant's read stays in what is mapped");

int command_area_set(struct connection *c, struct request *rq, struct reply *rp)
{
    struct vfu_mig_area set;

    (void)rp;
    memcpy(&set, rq->payload, sizeof(set));
    if (set.argsz != sizeof(set) || set.flags != 0 || rq->num_fds != 1 ||
        set.size > c->area_offered)
        return -EINVAL;
    return area_map(&c->area, rq->fds[0], set.size);
}

/* Where the bytes are that the request is about; NULL: nowhere. */
static uint8_t *find(const struct connection *c, const struct request *rq,
                     struct vfu_mig_area_data *data)
{
    memcpy(data, rq->payload, sizeof(*data));
    if (rq->size != sizeof(*data) ||
        data->argsz != (uint64_t)sizeof(*data) + data->size)
        return NULL;
    return area_at(&c->area, data->offset, data->size);
}

int command_area_read(struct connection *c, struct request *rq,
                      struct reply *rp)
{
    struct vfu_mig_area_data data;
    uint8_t *to = find(c, rq, &data);
    ssize_t n;

    if (to == NULL)
        return -EINVAL;
    n = device_read_state(c->device, to, data.size);
    if (n < 0)
        return (int)n;
    data.size = (uint32_t)n;
    data.argsz = (uint32_t)(sizeof(data) + (size_t)n);
    memcpy(rp->payload, &data, sizeof(data));
    rp->size = sizeof(data);
    return 0;
}

int command_area_write(struct connection *c, struct request *rq,
                       struct reply *rp)
{
    struct vfu_mig_area_data data;
    const uint8_t *from = find(c, rq, &data);

    (void)rp;
    if (from == NULL)
        return -EINVAL;
    return device_write_state(c->device, from, data.size);
}
