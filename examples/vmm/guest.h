/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_VMM_GUEST_H
#define VFM_EXAMPLES_VMM_GUEST_H

/*
 * The guest program, and what it and its machine agree on.
 *
 * For each device it has, a *lane*, it submits DMA jobs one after the other,
 * waits for the interrupt, checks every byte, and folds what it saw into a hash
 * over all jobs so far.  What a job is follows from its number, so that anybody
 * can compute the hash: one job, byte or interrupt that is lost, doubled or out
 * of order breaks the chain for good.  Besides, it writes pages of its own at
 * some rate, and checks each before it writes it again.
 *
 * All its state is in guest memory.  The same source is compiled twice: for a
 * KVM processor, and as a function that a thread calls again and again.
 */

#include <stdint.h>

#define GUEST_PAGE        4096
#define GUEST_DEVICES_MAX 4
#define GUEST_CPUS_MAX    4

/* Guest-physical addresses. */
#define GUEST_TABLES      0x2000 /* page tables, for a KVM processor */
#define GUEST_CONFIG      0x8000
#define GUEST_CPUS        0x9000  /* a page each */
#define GUEST_LANES       0x10000 /* a page each */
#define GUEST_CODE        0x100000
#define GUEST_STACKS      0x200000  /* ends of them, 64 KiB each */
#define GUEST_OWN         0x1000000 /* pages that the processors write */

/* The machine's own registers, 32 bits but for the timer. */
#define VM_REGISTERS      UINT64_C(0xfed00000)
#define VM_TIMER          0x000 /* u64: microseconds that the VM has run */
#define VM_IRQ_WAIT       0x010 /* + 8 * cpu: vectors pending; waits a little */
#define VM_IRQ_CLAIM      0x100 /* + 8 * device: how many, which are then none */

/* Where the BARs of device n are. */
#define VM_BARS           UINT64_C(0xe0000000)
#define VM_BARS_STEP      UINT64_C(0x1000000)
#define VM_BAR2_OFFSET    UINT64_C(0x800000)

/* What went wrong in a lane. */
enum guest_error {
    GUEST_FINE,
    GUEST_BAD_STATUS,
    GUEST_BAD_COUNT,
    GUEST_BAD_CAUSE,
    GUEST_BAD_INTERRUPTS,
    GUEST_BAD_BYTES,
    GUEST_BAD_OWN_PAGE,
};

struct guest_config {
    uint64_t memory_size;
    uint64_t own_pages; /* of each processor */
    uint64_t own_rate;  /* bytes per second of each */
    uint64_t lanes;     /* where they begin */
    uint64_t lane_size;
    uint32_t num_cpus;
    uint32_t num_devices;
};

struct guest_cpu {
    uint64_t pages; /* of its own, written so far */
    uint32_t error; /* enum guest_error */
};

struct guest_job {
    uint32_t op;
    uint64_t src, dst, length;
    uint64_t seed;  /* of what is at dst afterwards */
    uint64_t check; /* where that can be read; 0: not by the processor */
};

struct guest_lane {
    uint64_t job; /* the one that is under way, or next */
    uint64_t hash;
    uint64_t before; /* what the device had completed when the lane began */
    uint32_t submitted;
    uint32_t begun;
    uint32_t error;  /* enum guest_error; the job is the culprit */
    uint32_t detail; /* what was read instead */
    struct guest_job now;
    struct guest_job last;
};

/* Goes on with what processor @cpu has to do; returns soon. */
void guest_step(uint8_t *memory, unsigned int cpu);

/* Provided by whoever runs it as a function. */
uint64_t guest_mmio_read(uint64_t address, unsigned int size);
void guest_mmio_write(uint64_t address, uint64_t value, unsigned int size);

/* The hash of device @device's lane after @jobs. */
uint64_t guest_expected_hash(const struct guest_config *config,
                             unsigned int device, uint64_t jobs);

#endif
