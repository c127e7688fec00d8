/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: eventfds are handed on to the server, which signals them itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "bridge/device.h"
#include "bridge/memory.h"
#include "bridge/real.h"

#define DATAS (UAPI_IRQ_DATA_NONE | UAPI_IRQ_DATA_BOOL | UAPI_IRQ_DATA_EVENTFD)

int device_irq_info(struct device *d, void *arg)
{
    struct vfu_irq_info info;
    int ret = argument_get(arg, &info, sizeof(info), sizeof(info));

    if (ret < 0)
        return ret;
    if (info.index >= d->info.num_irqs)
        return -EINVAL;
    info = d->irqs[info.index];
    info.argsz = sizeof(info);
    return argument_put(arg, &info, sizeof(info));
}

static int send_set(struct device *d, const struct vfu_irq_set *set,
                    const void *bools, size_t num_bools,
                    const struct wire_fds *fds)
{
    struct exchange x = {
        .command = VFU_DEVICE_SET_IRQS,
        .head = set,
        .head_len = sizeof(*set),
        .body = bools,
        .body_len = num_bools,
        .fds = fds,
    };

    return link_call(&d->link, &x);
}

static int check_fds(const int32_t *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (fds[i] >= 0 && REAL(fcntl)(fds[i], F_GETFD) < 0)
            return -errno;
    return 0;
}

/* The next of @count entries that go into one message: descriptors, at most
 * as many as the server takes, or none, which unties them. */
static uint32_t next_run(const struct device *d, const int32_t *fds,
                         uint32_t count, struct wire_fds *run)
{
    uint32_t max =
        d->link.max_fds < WIRE_MAX_FDS ? d->link.max_fds : WIRE_MAX_FDS;
    uint32_t n = 0;

    run->count = 0;
    if (fds[0] < 0) {
        while (n < count && fds[n] < 0)
            n++;
        return n;
    }
    while (n < count && n < max && fds[n] >= 0)
        run->fd[run->count++] = fds[n++];
    return n;
}

static int set_eventfds(struct device *d, const struct vfu_irq_set *set,
                        const int32_t *fds)
{
    int ret = check_fds(fds, set->count);

    for (uint32_t i = 0, n; i < set->count && ret == 0; i += n) {
        struct vfu_irq_set part = *set;
        struct wire_fds run;

        n = next_run(d, fds + i, set->count - i, &run);
        if (n == 0)
            return -EINVAL; /* it takes no descriptors */
        part.argsz = sizeof(part);
        part.start = set->start + i;
        part.count = n;
        ret = send_set(d, &part, NULL, 0, &run);
    }
    return ret;
}

/* What comes after the structure. */
static int set_with_data(struct device *d, struct vfu_irq_set *set,
                         const void *arg)
{
    bool bools = (set->flags & UAPI_IRQ_DATA_BOOL) != 0;
    size_t len = set->count * (bools ? 1 : sizeof(int32_t));
    void *data = malloc(len + 1);
    int ret;

    if (data == NULL)
        return -ENOMEM;
    ret = set->argsz - sizeof(*set) < len
              ? -EINVAL
              : memory_read((uintptr_t)arg + sizeof(*set), data, len);
    set->argsz = (uint32_t)(sizeof(*set) + (bools ? len : 0));
    if (ret == 0 && bools)
        ret = send_set(d, set, data, len, NULL);
    else if (ret == 0)
        ret = set_eventfds(d, set, data);
    free(data);
    return ret;
}

int device_set_irqs(struct device *d, void *arg)
{
    struct vfu_irq_set set;
    uint32_t datas;
    int ret = argument_get(arg, &set, sizeof(set), sizeof(set));

    if (ret < 0)
        return ret;
    if (set.index >= d->info.num_irqs || set.start > d->irqs[set.index].count ||
        set.count > d->irqs[set.index].count - set.start)
        return -EINVAL;
    datas = set.flags & DATAS;
    if (datas == UAPI_IRQ_DATA_BOOL || datas == UAPI_IRQ_DATA_EVENTFD)
        return set.count == 0 ? -EINVAL : set_with_data(d, &set, arg);
    set.argsz = sizeof(set);
    return send_set(d, &set, NULL, 0, NULL);
}
