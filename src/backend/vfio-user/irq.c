/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tying interrupts to eventfds.
 *
 * A message takes only so many descriptors, and they must be one for each
 * interrupt it is about or none at all.  So a call becomes one message for
 * each run of interrupts to be tied, cut to what the server takes, and one for
 * each run to be untied.
 */
#include <errno.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"

static int send_set(struct client *c, uint32_t flags, uint32_t index,
                    uint32_t start, uint32_t count, const int *fds,
                    uint32_t num_fds)
{
    struct vfu_irq_set set = {
        .argsz = sizeof(set),
        .flags = flags | UAPI_IRQ_ACTION_TRIGGER,
        .index = index,
        .start = start,
        .count = count,
    };
    struct iovec part = { &set, sizeof(set) };
    struct request req = { .timeout_ms = c->settings.command_timeout_ms };
    int ret = client_send(c, &req, VFU_DEVICE_SET_IRQS, &part, 1, fds, num_fds);

    return ret == 0 ? client_wait(c, &req) : ret;
}

/* How many of @count entries at @fds go into one message. */
static uint32_t run_length(const struct client *c, const int *fds,
                           uint32_t count)
{
    bool untie = fds[0] < 0;
    uint32_t n = 1;

    if (!untie && count > c->max_msg_fds)
        count = c->max_msg_fds;
    while (n < count && (fds[n] < 0) == untie)
        n++;
    return n;
}

static int set_irqs(struct client *c, uint32_t index, uint32_t start,
                    uint32_t count, const int *fds)
{
    int ret = 0;

    for (uint32_t i = 0, n; i < count && ret == 0; i += n) {
        n = run_length(c, fds + i, count - i);
        if (fds[i] >= 0 && c->max_msg_fds == 0)
            return -EOPNOTSUPP;
        ret = send_set(c, UAPI_IRQ_DATA_EVENTFD, index, start + i, n, fds + i,
                       fds[i] < 0 ? 0 : n);
    }
    return ret;
}

int vfm_vfio_user_set_irqs(struct vfm_device *dev, uint32_t index,
                           uint32_t start, uint32_t count, const int *fds,
                           struct vfm_error *err)
{
    struct client *c;
    int ret = client_of(dev, &c, err);

    if (ret < 0)
        return ret;
    if (start + count < start || (count > 0 && fds == NULL))
        return error_set(err, -EINVAL, "%s: cannot set interrupts: %s", c->name,
                         "bad range");
    if (count == 0)
        ret = send_set(c, UAPI_IRQ_DATA_NONE, index, 0, 0, NULL, 0);
    else
        ret = set_irqs(c, index, start, count, fds);
    return ret < 0 ? client_error(c, err, ret, "set interrupts") : 0;
}
