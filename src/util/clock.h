/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_CLOCK_H
#define VFM_SRC_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS   INT64_C(1000000)
#define NS_PER_SEC  INT64_C(1000000000)

/* A point in time that never comes. */
#define CLOCK_NEVER INT64_MAX

/* The monotonic clock, in nanoseconds. */
static inline int64_t clock_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

/* The point in time @timeout_ms from now; 0 means never. */
static inline int64_t clock_deadline(uint32_t timeout_ms)
{
    return timeout_ms == 0 ? CLOCK_NEVER
                           : clock_now() + (int64_t)timeout_ms * NS_PER_MS;
}

/* What poll() should be told to wait until @deadline: rounded up, so that a
 * wait that ends by its timeout has reached the deadline. */
static inline int clock_poll_timeout(int64_t deadline)
{
    int64_t left;

    if (deadline == CLOCK_NEVER)
        return -1;
    left = deadline - clock_now();
    if (left <= 0)
        return 0;
    left = (left + NS_PER_MS - 1) / NS_PER_MS;
    return left > INT32_MAX ? INT32_MAX : (int)left;
}

static inline int64_t clock_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
