/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: who is told when a vector fires.
 *
 * A descriptor from the client may be anything.  Only eventfds are taken, so
 * that firing can neither block nor kill the device.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emulator/config.h"
#include "emulator/irq.h"

#define ACTIONS \
    (UAPI_IRQ_ACTION_MASK | UAPI_IRQ_ACTION_UNMASK | UAPI_IRQ_ACTION_TRIGGER)
#define DATAS (UAPI_IRQ_DATA_NONE | UAPI_IRQ_DATA_BOOL | UAPI_IRQ_DATA_EVENTFD)

int irqs_init(struct irqs *q, uint32_t msix_vectors)
{
    *q = (struct irqs){
        .count = {
            [UAPI_IRQ_INTX] = 1,
            [UAPI_IRQ_MSI] = CONFIG_MSI_VECTORS,
            [UAPI_IRQ_MSIX] = msix_vectors,
            [UAPI_IRQ_ERR] = 1,
            [UAPI_IRQ_REQ] = 1,
        },
    };
    for (unsigned i = 0; i < UAPI_NUM_IRQS; i++) {
        q->vectors[i] = calloc(q->count[i] + 1, sizeof(*q->vectors[i]));
        if (q->vectors[i] == NULL) {
            irqs_free(q);
            return -ENOMEM;
        }
        for (uint32_t v = 0; v < q->count[i]; v++)
            q->vectors[i][v].fd = -1;
    }
    return 0;
}

static void assign(struct irq_vector *v, int fd)
{
    if (v->fd >= 0)
        close(v->fd);
    *v = (struct irq_vector){ .fd = fd };
}

void irqs_drop(struct irqs *q)
{
    for (unsigned i = 0; i < UAPI_NUM_IRQS; i++)
        for (uint32_t v = 0; q->vectors[i] != NULL && v < q->count[i]; v++)
            assign(&q->vectors[i][v], -1);
}

void irqs_free(struct irqs *q)
{
    irqs_drop(q);
    for (unsigned i = 0; i < UAPI_NUM_IRQS; i++)
        free(q->vectors[i]);
    *q = (struct irqs){ 0 };
}

static bool is_eventfd(int fd)
{
    char link[64];
    char name[64];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, name, sizeof(name) - 1);
    if (n < 0)
        return false;
    name[n] = '\0';
    return strcmp(name, "anon_inode:[eventfd]") == 0;
}

/* The client may keep the counter full: then it knows already. */
static void notify(struct irqs *q, int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    uint64_t one = 1;

    if (fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0 &&
        write(fd, &one, sizeof(one)) == sizeof(one))
        q->fired++;
}

void irqs_fire(struct irqs *q, uint32_t index, uint32_t vector)
{
    struct irq_vector *v;

    if (index >= UAPI_NUM_IRQS || vector >= q->count[index])
        return;
    v = &q->vectors[index][vector];
    if (v->masked)
        v->pending = q->mutant != MUTANT_IRQ_MASKED_LOST;
    else
        notify(q, v->fd);
}

bool irqs_connected(const struct irqs *q, uint32_t index, uint32_t vector)
{
    return index < UAPI_NUM_IRQS && vector < q->count[index] &&
           q->vectors[index][vector].fd >= 0;
}

static void unmask(struct irqs *q, uint32_t index, uint32_t vector)
{
    struct irq_vector *v = &q->vectors[index][vector];
    bool pending = v->pending;

    v->masked = v->pending = false;
    if (pending)
        irqs_fire(q, index, vector);
}

static bool one_bit(uint32_t flags)
{
    return flags != 0 && (flags & (flags - 1)) == 0;
}

/* Do the parts of the request fit each other and the device? */
static int check(const struct irqs *q, const struct vfu_irq_set *set,
                 size_t num_bools, size_t num_fds)
{
    bool with_fds = (set->flags & UAPI_IRQ_DATA_EVENTFD) != 0;
    bool with_bools = (set->flags & UAPI_IRQ_DATA_BOOL) != 0;

    if (set->index >= UAPI_NUM_IRQS || !one_bit(set->flags & DATAS) ||
        !one_bit(set->flags & ACTIONS) ||
        (set->flags & ~(DATAS | ACTIONS)) != 0)
        return -EINVAL;
    if (set->start > q->count[set->index] ||
        set->count > q->count[set->index] - set->start)
        return -EINVAL;
    if (with_bools && num_bools < set->count)
        return -EINVAL;
    if (with_fds && (set->flags & UAPI_IRQ_ACTION_TRIGGER) == 0)
        return -EINVAL;
    if (with_fds ? num_fds != 0 && num_fds != set->count : num_fds != 0)
        return -EINVAL;
    if (set->count == 0 &&
        (set->start != 0 ||
         set->flags != (UAPI_IRQ_DATA_NONE | UAPI_IRQ_ACTION_TRIGGER)))
        return -EINVAL;
    return 0;
}

static void act(struct irqs *q, const struct vfu_irq_set *set, uint32_t i)
{
    uint32_t vector = set->start + i;

    if ((set->flags & UAPI_IRQ_ACTION_MASK) != 0)
        q->vectors[set->index][vector].masked = true;
    else if ((set->flags & UAPI_IRQ_ACTION_UNMASK) != 0)
        unmask(q, set->index, vector);
    else
        irqs_fire(q, set->index, vector);
}

static int assign_all(struct irqs *q, const struct vfu_irq_set *set, int *fds,
                      size_t num_fds)
{
    struct irq_vector *vectors = q->vectors[set->index] + set->start;

    for (size_t i = 0; i < num_fds; i++)
        if (!is_eventfd(fds[i]))
            return -EINVAL;
    for (uint32_t i = 0; i < set->count; i++) {
        assign(&vectors[i], num_fds > 0 ? fds[i] : -1);
        if (num_fds > 0)
            fds[i] = -1;
    }
    return 0;
}

static int set_checked(struct irqs *q, const struct vfu_irq_set *set,
                       const uint8_t *bools, int *fds, size_t num_fds)
{
    if ((set->flags & UAPI_IRQ_DATA_EVENTFD) != 0)
        return assign_all(q, set, fds, num_fds);
    if (set->count == 0) {
        for (uint32_t v = 0; v < q->count[set->index]; v++)
            assign(&q->vectors[set->index][v], -1);
        return 0;
    }
    for (uint32_t i = 0; i < set->count; i++)
        if ((set->flags & UAPI_IRQ_DATA_BOOL) == 0 || bools[i] != 0)
            act(q, set, i);
    return 0;
}

int irqs_set(struct irqs *q, const struct vfu_irq_set *set,
             const uint8_t *bools, size_t num_bools, int *fds, size_t num_fds)
{
    int ret = check(q, set, num_bools, num_fds);

    if (ret == 0)
        ret = set_checked(q, set, bools, fds, num_fds);
    for (size_t i = 0; i < num_fds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
    return ret;
}
