/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arithmetic of the bandwidth limit.  Waiting is left to the caller.
 */
#include "channel/limit.h"
#include "util/clock.h"

#define BURSTS_PER_SEC 50
#define BURST_MIN      4096

__extension__ typedef unsigned __int128 uint128_t;

static uint64_t burst(uint64_t rate)
{
    uint64_t bytes = rate / BURSTS_PER_SEC;

    return bytes < BURST_MIN ? BURST_MIN : bytes;
}

/* The time that @bytes take at @rate, rounded up: a wait that long is enough.
 * Cut at a century or so, so that sums with a time stay in range. */
static int64_t time_for(uint64_t bytes, uint64_t rate)
{
    uint128_t ns = ((uint128_t)bytes * NS_PER_SEC + rate - 1) / rate;

    return ns > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)ns;
}

/* What is in the bucket. */
static uint64_t level(const struct limit *limit, int64_t now)
{
    uint64_t full = burst(limit->rate);
    uint128_t bytes;

    if (now <= limit->empty_at)
        return 0;
    bytes = (uint128_t)(now - limit->empty_at) * limit->rate / NS_PER_SEC;
    return bytes > full ? full : (uint64_t)bytes;
}

void limit_set_rate(struct limit *limit, int64_t now, uint64_t rate)
{
    uint64_t have = UINT64_MAX;

    if (limit->rate != 0)
        have = level(limit, now);
    limit->rate = rate;
    limit->wanted = 0;
    if (rate == 0)
        return;
    if (have > burst(rate))
        have = burst(rate);
    limit->empty_at = now - time_for(have, rate);
}

uint64_t limit_allowance(struct limit *limit, int64_t now, uint64_t want)
{
    uint64_t have;
    uint64_t least;

    if (limit->rate == 0)
        return want;
    have = level(limit, now);
    least = burst(limit->rate) / 2;
    if (least > want)
        least = want;
    if (have < least) {
        limit->wanted = least;
        return 0;
    }
    limit->wanted = 0;
    return have < want ? have : want;
}

void limit_take(struct limit *limit, int64_t now, uint64_t bytes)
{
    int64_t full_since;

    if (limit->rate == 0)
        return;
    full_since = now - time_for(burst(limit->rate), limit->rate);
    if (limit->empty_at < full_since)
        limit->empty_at = full_since;
    limit->empty_at += time_for(bytes, limit->rate);
}

int64_t limit_ready_at(const struct limit *limit)
{
    if (limit->wanted == 0)
        return 0;
    return limit->empty_at + time_for(limit->wanted, limit->rate);
}
