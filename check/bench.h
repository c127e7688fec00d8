/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_BENCH_H
#define VFM_CHECK_BENCH_H

/*
 * A device with a driver, and memory that both can reach: what checks of DMA,
 * its log and interrupts work with.
 *
 * As in steps.h, functions return 0 or CHECK_OVER.
 */

#include "check/driver.h"
#include "check/run.h"

#define BENCH_PAGE  4096u
#define BENCH_PAGES 256u
#define BENCH_SIZE  (BENCH_PAGES * BENCH_PAGE)
#define BENCH_IOVA  UINT64_C(0x10000000)
/* Fast enough that a few ms are many pages, and slow enough that no page is
 * written again before somebody looks. */
#define BENCH_RATE  (UINT64_C(4) << 20)

struct bench {
    const struct driver *driver;
    uint8_t *memory; /* at BENCH_IOVA */
    uint8_t *before; /* bench_remember() */
    int fd;
    uint32_t state; /* the check's */
};

typedef int bench_fn(struct run *r, struct bench *b);

/* The argument of a check that is bench_run(). */
struct bench_check {
    bench_fn *fn;
    uint32_t state;
};

/* Makes a bench, runs the function, and takes everything back. */
int bench_run(struct run *r, const void *arg);

/* The pages [@first, @first + @count) of the memory. */
struct raw_range bench_pages(size_t first, size_t count);

/* Writes each byte of @range, and waits until that is done. */
int bench_fill(struct run *r, struct bench *b, struct raw_range range);
int bench_copy(struct run *r, struct bench *b, uint64_t from,
               struct raw_range to);
/* Starts a stream over all the memory and waits until some pages are there. */
int bench_stream(struct run *r, struct bench *b);

/* The highest number of a page of the stream; UINT64_MAX: none. */
uint64_t bench_highest(const struct bench *b);
/* Waits until a page with a number of at least @number is there. */
int bench_wait_for(struct run *r, struct bench *b, uint64_t number);

/* Keeps what the memory is, and whether it still is that. */
void bench_remember(struct bench *b);
bool bench_is_as_before(const struct bench *b, size_t *page);
/* Whether nothing is written for @ms. */
int bench_expect_quiet(struct run *r, struct bench *b, unsigned int ms,
                       const char *when);

/* What a driver said; @what is what it was asked to do. */
int bench_driver_failed(struct run *r, int error, const char *what);
void bench_sleep_ms(unsigned int ms);

#endif
