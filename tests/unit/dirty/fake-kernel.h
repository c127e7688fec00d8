/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_UNIT_DIRTY_FAKE_KERNEL_H
#define VFM_TESTS_UNIT_DIRTY_FAKE_KERNEL_H

/*
 * A kernel for those who ask it who wrote: ioctl() on descriptors of its own
 * is answered by the rules of the uAPI, written down once more, from the
 * kernel's own headers where this machine has them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Descriptors that no process has. */
#define FAKE_DEVICE    10001
#define FAKE_IOMMU     10002
#define FAKE_CONTAINER 10003
#define FAKE_VM        10004

#define FAKE_HWPT      7
#define FAKE_PAGES     4096 /* of 4 KiB, from 0 on, that it knows of */

struct fake_kernel {
    bool dirty[FAKE_PAGES]; /* what was written and not told */
    bool logs;              /* nothing is told otherwise */
    bool manual_protect;    /* of KVM */
    bool has_no_log;        /* the device */
    uint64_t page_sizes;    /* of the container */

    unsigned long fail_request; /* is answered with @fail, after @fail_skip */
    int fail;
    unsigned int fail_skip;
    unsigned int interrupts; /* so many ioctl()s are interrupted first */

    /* What it was asked. */
    unsigned int num_ranges;
    uint64_t first, last; /* the bytes that are logged */
    uint64_t largest;     /* that a report was asked for */
    unsigned int resets;  /* of the rings */
    uint32_t slot_flags;
    void (*before_clear)(void); /* the guest goes on in between */
};

extern struct fake_kernel kernel;

void kernel_reset(void);
void kernel_write(uint64_t page);

#endif
