/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_RIG_H
#define VFM_CHECK_RIG_H

/*
 * The rig: a device with a driver, and memory that both can reach, with which
 * checks of DMA, its log and interrupts work.
 *
 * As in steps.h, functions return 0 or CHECK_OVER.
 */

#include "check/driver.h"
#include "check/run.h"

#define RIG_PAGE  4096u
#define RIG_PAGES 256u
#define RIG_SIZE  (RIG_PAGES * RIG_PAGE)
#define RIG_IOVA  UINT64_C(0x10000000)
/* Fast enough that a few ms are many pages, and slow enough that no page is
 * written again before somebody looks. */
#define RIG_RATE  (UINT64_C(4) << 20)

struct rig {
    const struct driver *driver;
    uint8_t *memory; /* at RIG_IOVA */
    uint8_t *before; /* rig_remember() */
    int fd;
    uint32_t state; /* the check's */
};

typedef int rig_fn(struct run *r, struct rig *rig);

/* The argument of a check that is rig_run(). */
struct rig_check {
    rig_fn *fn;
    uint32_t state;
};

/* Makes a rig, runs the function, and takes everything back. */
int rig_run(struct run *r, const void *arg);

/* The pages [@first, @first + @count) of the memory. */
struct raw_range rig_pages(size_t first, size_t count);

/* Writes each byte of @range, and waits until that is done. */
int rig_fill(struct run *r, struct rig *rig, struct raw_range range);
int rig_copy(struct run *r, struct rig *rig, uint64_t from,
             struct raw_range to);
/* Starts a stream over all the memory and waits until some pages are there. */
int rig_stream(struct run *r, struct rig *rig);

/* The highest number of a page of the stream; UINT64_MAX: none. */
uint64_t rig_highest(const struct rig *rig);
/* Waits until a page with a number of at least @number is there. */
int rig_wait_for(struct run *r, struct rig *rig, uint64_t number);

/* Keeps what the memory is, and whether it still is that. */
void rig_remember(struct rig *rig);
bool rig_is_as_before(const struct rig *rig, size_t *page);
/* Whether nothing is written for @ms. */
int rig_expect_quiet(struct run *r, struct rig *rig, unsigned int ms,
                     const char *when);

/* What a driver said; @what is what it was asked to do. */
int rig_driver_failed(struct run *r, int error, const char *what);
void rig_sleep_ms(unsigned int ms);

#endif
