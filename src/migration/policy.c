/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * When to stop the devices.  Nothing here does anything.
 */
#include "migration/policy.h"
#include "util/clock.h"

/* A sample below this measures caches and socket buffers, not a rate. */
#define SAMPLE_MIN_BYTES (UINT64_C(1) << 20)

/* How much the newest sample counts: one part in this many. */
#define RATE_WEIGHT      4

uint64_t policy_add(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? POLICY_UNKNOWN : sum;
}

uint64_t policy_remaining(uint64_t data_size, uint64_t precopy_bytes)
{
    if (data_size != POLICY_UNKNOWN && data_size > POLICY_PLAUSIBLE_BYTES)
        data_size = POLICY_UNKNOWN;
    if (precopy_bytes != POLICY_UNKNOWN &&
        precopy_bytes > POLICY_PLAUSIBLE_BYTES)
        precopy_bytes = POLICY_UNKNOWN;

    if (data_size == POLICY_UNKNOWN)
        return precopy_bytes;
    if (precopy_bytes == POLICY_UNKNOWN)
        return data_size == 0 ? POLICY_UNKNOWN : data_size;
    return data_size > precopy_bytes ? data_size : precopy_bytes;
}

/* @a times @b over @c, and not more than a number of ours can be: some of what
 * goes in here is a peer's word. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
    double result = (double)a * (double)b / (double)c;

    return result < 0x1p63 ? (uint64_t)result : UINT64_C(1) << 63;
}

bool policy_rate_add(struct policy_rate *rate, uint64_t bytes, uint64_t ns)
{
    uint64_t sample;

    if (bytes < SAMPLE_MIN_BYTES || ns == 0)
        return false;
    sample = scale(bytes, NS_PER_SEC, ns);
    if (rate->bytes_per_sec == 0)
        rate->bytes_per_sec = sample;
    else
        rate->bytes_per_sec =
            rate->bytes_per_sec / RATE_WEIGHT * (RATE_WEIGHT - 1) +
            sample / RATE_WEIGHT;
    return true;
}

uint64_t policy_lower_rate(const struct policy_rate *a,
                           const struct policy_rate *b)
{
    if (a->bytes_per_sec == 0 || b->bytes_per_sec == 0)
        return a->bytes_per_sec + b->bytes_per_sec;
    return a->bytes_per_sec < b->bytes_per_sec ? a->bytes_per_sec
                                               : b->bytes_per_sec;
}

/* How long @bytes take. */
static uint64_t time_for(uint64_t bytes, uint64_t bytes_per_sec)
{
    if (bytes == POLICY_UNKNOWN || bytes_per_sec == 0)
        return bytes == 0 ? 0 : POLICY_UNKNOWN;
    return scale(bytes, NS_PER_SEC, bytes_per_sec);
}

/* Whether stopping now keeps within the limit, or as near to it as waiting
 * could bring us. */
static bool fits(const struct policy_input *in, uint64_t expected_ns)
{
    uint64_t floor_ns;

    if (expected_ns == POLICY_UNKNOWN)
        return in->drained;
    /* Within the limit a shorter stop is still a better one, as long as waiting
     * brings us nearer to it. */
    if (expected_ns <= in->limit_ns)
        return in->drained ||
               (in->has_moved && in->remaining >= in->remaining_before);
    floor_ns = time_for(in->irreducible, in->bytes_per_sec);
    return floor_ns > in->limit_ns && in->drained;
}

struct policy_decision policy_decide(const struct policy_input *in)
{
    struct policy_decision d = { .verdict = POLICY_CONTINUE };

    d.expected_ns = time_for(in->remaining, in->bytes_per_sec);
    if (!in->initial_pending && fits(in, d.expected_ns)) {
        d.verdict = POLICY_SWITCH;
    } else if (in->elapsed_ns >= in->timeout_ns) {
        d.verdict = in->force ? POLICY_SWITCH : POLICY_GIVE_UP;
        d.why = in->initial_pending
                    ? "the target has not loaded the initial data"
                    : "the device changes its state faster than it can be "
                      "sent";
    }
    return d;
}
