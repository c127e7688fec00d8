/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session's bytes as messages: MIG_DATA_READ, MIG_DATA_WRITE and
 * MIG_GET_PRECOPY_INFO.
 */
#include <errno.h>

#include "emulator/command.h"
#include "emulator/misbehave.h"

int command_data_read(struct connection *c, struct request *rq,
                      struct reply *rp)
{
    struct vfu_mig_data data;
    uint8_t *to = rp->payload + sizeof(data);
    size_t padding;
    ssize_t n;

    memcpy(&data, rq->payload, sizeof(data));
    if (data.size > c->device->options->max_data_xfer ||
        data.size > c->client_max_xfer || data.argsz < sizeof(data) + data.size)
        return -EINVAL;
    n = device_read_state(c->device, to, data.size);
    if (n < 0)
        return (int)n;
    padding = personality_padding(c, rq, data.size, (size_t)n);
    if (padding > rp->room - sizeof(data) - (size_t)n)
        return -EINVAL;
    memset(to + n, 0, padding);
    data.size = (uint32_t)n;
    data.argsz = (uint32_t)(sizeof(data) + (size_t)n);
    memcpy(rp->payload, &data, sizeof(data));
    rp->size = data.argsz + padding;
    return 0;
}

int command_data_write(struct connection *c, struct request *rq,
                       struct reply *rp)
{
    bool strict = c->device->options->personality == PERSONALITY_LIBVFIO_USER;
    struct vfu_mig_data data;

    (void)rp;
    memcpy(&data, rq->payload, sizeof(data));
    if (data.size != rq->size - sizeof(data) || data.argsz < sizeof(data))
        return -EINVAL;
    if (strict && data.argsz < sizeof(data) + data.size)
        return -EINVAL;
    return device_write_state(c->device, rq->payload + sizeof(data), data.size);
}

int command_precopy_info(struct connection *c, struct request *rq,
                         struct reply *rp)
{
    struct vfu_precopy_info info = { 0 };
    size_t given = rq->size < sizeof(info) ? rq->size : sizeof(info);
    int ret;

    if (!device_has(c->device, FEATURE_PRECOPY_INFO) ||
        c->device->options->personality == PERSONALITY_LIBVFIO_USER)
        return -EINVAL;
    memcpy(&info, rq->payload, given);
    ret = device_precopy_info(c->device, &info);
    memcpy(rp->payload, &info, sizeof(info));
    rp->size = sizeof(info);
    return ret;
}
