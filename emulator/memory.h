/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_MEMORY_H
#define VFM_EMULATOR_MEMORY_H

/*
 * Device memory that is never stored: what a page holds follows from the
 * seed, the number of the page and how often it was rewritten (registers.h).
 *
 * The last @hot_size bytes are the hot part.  While it runs, the device goes
 * round over the hot pages and rewrites @rate bytes per second of its own
 * running time; how far it got is computed when somebody asks.
 *
 * Threads: none; an object belongs to its caller.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMORY_SIZE_MIN UINT64_C(4096)
#define MEMORY_SIZE_MAX (UINT64_C(64) << 30)

struct memory {
    uint64_t size;     /* a multiple of a page, so are the others */
    uint64_t hot_size; /* at most size */
    uint64_t seed;
    uint64_t rate;          /* bytes per second of running time */
    uint64_t writes;        /* pages rewritten until now */
    uint64_t anchor_ns;     /* since this running time at @rate ... */
    uint64_t anchor_writes; /* ... when so many pages had been rewritten */
};

/* Lets the memory follow the device's running time. */
void memory_advance(struct memory *m, uint64_t run_ns);

/* Changes the rate from running time @run_ns on. */
void memory_set_rate(struct memory *m, uint64_t rate, uint64_t run_ns);

uint64_t memory_num_pages(const struct memory *m);

/* Pages below this number are never rewritten. */
uint64_t memory_first_hot(const struct memory *m);

/* How often page @page was rewritten. */
uint64_t memory_generation(const struct memory *m, uint64_t page);

/* Bytes [@offset, @offset + @length) of a page, which they must not leave. */
void memory_fill(uint64_t base, size_t offset, void *to, size_t length);

/* Are these @length bytes those of the page from @offset on? */
bool memory_matches(uint64_t base, size_t offset, const void *from,
                    size_t length);

#endif
