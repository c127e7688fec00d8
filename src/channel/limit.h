/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_CHANNEL_LIMIT_H
#define VFM_SRC_CHANNEL_LIMIT_H

#include <stdint.h>

/*
 * A limit to bytes per second: a bucket that fills at the rate and holds a
 * fiftieth of a second's worth, at least one page.
 *
 * Pure: the caller says what time it is, in nanoseconds that never go back.
 * Instead of a level, which would be wrong a nanosecond later, the state is
 * the time at which the bucket was empty; taking bytes moves it on.
 */
struct limit {
    uint64_t rate; /* bytes per second; 0: no limit */
    int64_t empty_at;
    uint64_t wanted; /* what the last refused caller waits for, or 0 */
};

/* Changes the rate; what is in the bucket stays, as far as it fits.  A bucket
 * that was without limit, or new (all zero), is full. */
void limit_set_rate(struct limit *limit, int64_t now, uint64_t rate);

/*
 * Returns how many of @want bytes may be sent now; 0: none, see
 * limit_ready_at().  Half a bucket is waited for rather than sending byte by
 * byte.
 */
uint64_t limit_allowance(struct limit *limit, int64_t now, uint64_t want);

/* Takes @bytes out.  More than there are make the next wait longer. */
void limit_take(struct limit *limit, int64_t now, uint64_t bytes);

/* Returns when limit_allowance(), which returned 0, will not; 0: now. */
int64_t limit_ready_at(const struct limit *limit);

#endif
