/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_VMM_IRQ_H
#define VFM_EXAMPLES_VMM_IRQ_H

/*
 * The chipset: an interrupt controller with a vector per device, and a timer
 * that stands still while the VM does.
 *
 * Interrupts are eventfds.  What a device has signalled and the guest has not
 * claimed is the controller's state, and moves with the VM.
 *
 * Threads    All of it may be called from any thread.
 */

#include <pthread.h>
#include <stdbool.h>

#include "guest.h"

struct irqs {
    pthread_mutex_t lock;
    int fds[GUEST_DEVICES_MAX]; /* borrowed */
    unsigned int count;
    int kick_fd; /* ends all waiting */
    uint32_t pending[GUEST_DEVICES_MAX];

    int64_t ran_us; /* before it was started last */
    int64_t started_at_us;
    bool ticks;
};

/* What moves. */
struct irqs_state {
    uint64_t ran_us;
    uint32_t pending[GUEST_DEVICES_MAX];
};

int irqs_open(struct irqs *irqs, const int *fds, unsigned int count);
void irqs_close(struct irqs *irqs);

/* Waits until one of the vectors in @mask is pending, a little, or until it is
 * kicked.  Returns those that are. */
uint32_t irqs_wait(struct irqs *irqs, uint32_t mask);
/* How often @vector was signalled since it was asked for last. */
uint32_t irqs_claim(struct irqs *irqs, unsigned int vector);
/* Nobody waits until it is unkicked. */
void irqs_kick(struct irqs *irqs, bool on);

/* The timer. */
uint64_t irqs_now_us(struct irqs *irqs);
void irqs_tick(struct irqs *irqs, bool on);

/* Takes what the devices, which have stopped, have signalled. */
void irqs_save(struct irqs *irqs, struct irqs_state *state);
void irqs_load(struct irqs *irqs, const struct irqs_state *state);

#endif
