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

/* Rounds that would fit and are not taken, because the next is shorter. */
#define CHANCES_MAX      8

/* Percent of the time that a guest is kept from running: QEMU's numbers. */
#define SLOW_FIRST       20
#define SLOW_STEP        10
#define SLOW_MAX         99

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
uint64_t policy_scale(uint64_t a, uint64_t b, uint64_t c)
{
    double result = (double)a * (double)b / (double)c;

    return result < 0x1p63 ? (uint64_t)result : UINT64_C(1) << 63;
}

bool policy_rate_add(struct policy_rate *rate, uint64_t bytes, uint64_t ns)
{
    uint64_t sample;

    if (bytes < SAMPLE_MIN_BYTES || ns == 0)
        return false;
    sample = policy_scale(bytes, NS_PER_SEC, ns);
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
    return policy_scale(bytes, NS_PER_SEC, bytes_per_sec);
}

static bool devices_are_done(const struct policy_input *in)
{
    return in->drained ||
           (in->has_moved && in->remaining >= in->remaining_before);
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
        return devices_are_done(in);
    floor_ns = time_for(in->irreducible, in->bytes_per_sec);
    return floor_ns > in->limit_ns && in->drained;
}

/* What is below a sample is in the link's buffers before anybody looks. */
static uint64_t time_for_pages(uint64_t bytes, uint64_t bytes_per_sec)
{
    if (bytes_per_sec == 0 && bytes < SAMPLE_MIN_BYTES)
        return 0;
    return time_for(bytes, bytes_per_sec);
}

uint64_t policy_ram_ns(const struct policy_input *in)
{
    const struct policy_ram *ram = &in->ram;

    if (!in->has_ram)
        return 0;
    return policy_add(time_for_pages(policy_add(ram->dirty, ram->blind),
                                     in->ram_bytes_per_sec),
                      ram->sync_ns);
}

/* The devices' part.  One that cannot tell, but has nothing more for now, is
 * taken at that word: there is no better one. */
static uint64_t devices_ns(const struct policy_input *in)
{
    if (in->has_ram && in->remaining == POLICY_UNKNOWN && in->drained)
        return 0;
    return time_for(in->remaining, in->bytes_per_sec);
}

/* Memory that no waiting makes less takes longer than the limit. */
static bool is_hopeless(const struct policy_input *in)
{
    return in->has_ram && in->ram.exact &&
           time_for_pages(in->ram.blind, in->ram_bytes_per_sec) > in->limit_ns;
}

/* Whether one more round would leave noticeably less; not for ever, for a guest
 * may be a little less busy each time. */
static bool shrinks(const struct policy_ram *ram)
{
    return ram->dirty > 0 && ram->chances < CHANCES_MAX &&
           ram->dirty <= ram->dirty_before / 4 * 3;
}

/* With memory the limit is one: what the devices have that no waiting makes
 * less is the only thing that does not count. */
static bool is_within_limit(const struct policy_input *in, uint64_t expected_ns)
{
    bool devices_fit =
        time_for(in->irreducible, in->bytes_per_sec) <= in->limit_ns;
    uint64_t ns = devices_fit ? expected_ns : policy_ram_ns(in);

    return in->ram.exact && ns <= in->limit_ns;
}

static bool may_switch(const struct policy_input *in, uint64_t expected_ns)
{
    if (in->initial_pending)
        return false;
    if (!in->has_ram)
        return fits(in, expected_ns);
    if (!in->ram.exact || !devices_are_done(in) || shrinks(&in->ram))
        return false;
    return is_within_limit(in, expected_ns) || (in->force && is_hopeless(in));
}

static const char *why_not(const struct policy_input *in)
{
    if (is_hopeless(in))
        return "too much memory may be written without anybody's knowing";
    if (in->initial_pending)
        return "the target has not loaded the initial data";
    if (in->has_ram && policy_ram_ns(in) > in->limit_ns)
        return "memory is written faster than it can be sent";
    return "what is left of the devices does not get little enough to be sent in "
           "time";
}

struct policy_decision policy_decide(const struct policy_input *in)
{
    struct policy_decision d = { .verdict = POLICY_CONTINUE };

    d.expected_ns = policy_add(devices_ns(in), policy_ram_ns(in));
    d.fits = in->has_ram && is_within_limit(in, d.expected_ns);
    if (may_switch(in, d.expected_ns)) {
        d.verdict = POLICY_SWITCH;
    } else if (in->elapsed_ns >= in->timeout_ns || is_hopeless(in)) {
        d.verdict = in->force ? POLICY_SWITCH : POLICY_GIVE_UP;
        d.why = why_not(in);
    }
    return d;
}

bool policy_is_hot(uint64_t dirty, uint64_t sent)
{
    return dirty > sent / 2;
}

unsigned int policy_slower(unsigned int percent)
{
    if (percent == 0)
        return SLOW_FIRST;
    return percent + SLOW_STEP > SLOW_MAX ? SLOW_MAX : percent + SLOW_STEP;
}
