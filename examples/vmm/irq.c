/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts that are counted: an eventfd is read into a counter, the counter
 * is what the guest claims.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "irq.h"

#define WAIT_MS 1

static int64_t clock_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int irqs_open(struct irqs *irqs, const int *fds, unsigned int count)
{
    *irqs = (struct irqs){ .count = count };
    pthread_mutex_init(&irqs->lock, NULL);
    memcpy(irqs->fds, fds, count * sizeof(*fds));
    irqs->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return irqs->kick_fd < 0 ? -errno : 0;
}

void irqs_close(struct irqs *irqs)
{
    if (irqs->kick_fd > 0)
        close(irqs->kick_fd);
    pthread_mutex_destroy(&irqs->lock);
}

/* With the lock held. */
static void collect(struct irqs *irqs, uint32_t mask)
{
    for (unsigned int i = 0; i < irqs->count; i++) {
        uint64_t n;

        if ((mask >> i & 1) != 0 &&
            read(irqs->fds[i], &n, sizeof(n)) == sizeof(n))
            irqs->pending[i] += (uint32_t)n;
    }
}

static uint32_t look(struct irqs *irqs, uint32_t mask)
{
    uint32_t pending = 0;

    pthread_mutex_lock(&irqs->lock);
    collect(irqs, mask);
    for (unsigned int i = 0; i < irqs->count; i++)
        if (irqs->pending[i] > 0)
            pending |= UINT32_C(1) << i;
    pthread_mutex_unlock(&irqs->lock);
    return pending & mask;
}

uint32_t irqs_wait(struct irqs *irqs, uint32_t mask)
{
    struct pollfd fds[GUEST_DEVICES_MAX + 1];
    uint32_t pending = look(irqs, mask);
    nfds_t n = 0;

    if (pending != 0)
        return pending;
    for (unsigned int i = 0; i < irqs->count; i++)
        if ((mask >> i & 1) != 0)
            fds[n++] = (struct pollfd){ irqs->fds[i], POLLIN, 0 };
    fds[n++] = (struct pollfd){ irqs->kick_fd, POLLIN, 0 };
    poll(fds, n, WAIT_MS);
    return look(irqs, mask);
}

uint32_t irqs_claim(struct irqs *irqs, unsigned int vector)
{
    uint32_t n;

    if (vector >= irqs->count)
        return 0;
    pthread_mutex_lock(&irqs->lock);
    n = irqs->pending[vector];
    irqs->pending[vector] = 0;
    pthread_mutex_unlock(&irqs->lock);
    return n;
}

void irqs_kick(struct irqs *irqs, bool on)
{
    uint64_t n = 1;

    if (on ? write(irqs->kick_fd, &n, sizeof(n)) < 0
           : read(irqs->kick_fd, &n, sizeof(n)) < 0)
        n = 0; /* it is as it should be already */
}

uint64_t irqs_now_us(struct irqs *irqs)
{
    int64_t now;

    pthread_mutex_lock(&irqs->lock);
    now = irqs->ran_us;
    if (irqs->ticks)
        now += clock_us() - irqs->started_at_us;
    pthread_mutex_unlock(&irqs->lock);
    return (uint64_t)now;
}

void irqs_tick(struct irqs *irqs, bool on)
{
    int64_t now = clock_us();

    pthread_mutex_lock(&irqs->lock);
    if (irqs->ticks && !on)
        irqs->ran_us += now - irqs->started_at_us;
    if (!irqs->ticks && on)
        irqs->started_at_us = now;
    irqs->ticks = on;
    pthread_mutex_unlock(&irqs->lock);
}

void irqs_save(struct irqs *irqs, struct irqs_state *state)
{
    memset(state, 0, sizeof(*state));
    pthread_mutex_lock(&irqs->lock);
    collect(irqs, UINT32_MAX);
    state->ran_us = (uint64_t)irqs->ran_us;
    memcpy(state->pending, irqs->pending, sizeof(irqs->pending));
    pthread_mutex_unlock(&irqs->lock);
}

void irqs_load(struct irqs *irqs, const struct irqs_state *state)
{
    pthread_mutex_lock(&irqs->lock);
    collect(irqs, UINT32_MAX); /* of whoever had the devices before */
    irqs->ran_us = (int64_t)state->ran_us;
    memcpy(irqs->pending, state->pending, sizeof(irqs->pending));
    pthread_mutex_unlock(&irqs->lock);
}
