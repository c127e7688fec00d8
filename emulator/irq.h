/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_IRQ_H
#define VFM_EMULATOR_IRQ_H

/*
 * Interrupts: eventfds of the client, one per vector, by index (INTx, MSI,
 * MSI-X, ERR, REQ).
 *
 * Ownership: the eventfds given to irq_set() are the device's from then on,
 * on failure too.  Threads: none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emulator/mutant.h"
#include "protocol/vfio-uapi.h"
#include "protocol/vfio-user.h"

#define IRQ_VECTORS_MAX 2048

struct irq_vector {
    int fd; /* -1: none */
    bool masked;
    bool pending;
};

struct irqs {
    uint32_t count[UAPI_NUM_IRQS];
    struct irq_vector *vectors[UAPI_NUM_IRQS];
    uint64_t fired;
    enum mutant mutant;
};

/* Returns 0 or -ENOMEM. */
int irqs_init(struct irqs *q, uint32_t msix_vectors);
void irqs_free(struct irqs *q);

/* Closes all eventfds. */
void irqs_drop(struct irqs *q);

/* VFIO_USER_DEVICE_SET_IRQS.  Returns 0 or a negative errno. */
int irqs_set(struct irqs *q, const struct vfu_irq_set *set,
             const uint8_t *bools, size_t num_bools, int *fds, size_t num_fds);

/* Fires a vector, or leaves it pending if it is masked. */
void irqs_fire(struct irqs *q, uint32_t index, uint32_t vector);

/* Can this vector reach the client? */
bool irqs_connected(const struct irqs *q, uint32_t index, uint32_t vector);

#endif
