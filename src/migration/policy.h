/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_POLICY_H
#define VFM_SRC_MIGRATION_POLICY_H

/*
 * When to stop the devices: a pure function from what is known to a decision.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/error.h>

#define POLICY_UNKNOWN         UINT64_MAX

/* No device has that much: what claims more cannot tell. */
#define POLICY_PLAUSIBLE_BYTES (UINT64_C(1) << 50)

/* What is known of memory.  Bytes are those of the stream. */
struct policy_ram {
    /* The trackers have just been asked, so that nothing else is dirty.
     * Between two times more may be than is known: nothing is decided then. */
    bool exact;

    uint64_t dirty;
    uint64_t dirty_before; /* when the round before began */

    /* What may have been written without anybody's knowing: it is sent when the
     * VM has stopped, and no waiting makes it less. */
    uint64_t blind;

    uint64_t sync_ns; /* what it takes to ask the trackers */

    /* How often in a row it would have fitted already. */
    unsigned int chances;
};

/* What is known when the question is asked. */
struct policy_input {
    /* Bytes that stopping now would leave; POLICY_UNKNOWN if nobody says. */
    uint64_t remaining;

    /* The same when it was last asked; POLICY_UNKNOWN the first time.  Whether
     * anything was sent since then: while the link is blocked, that it has not
     * become less says nothing. */
    uint64_t remaining_before;
    bool has_moved;

    /* Of those, what waiting cannot make less: the devices that are not in
     * PRE_COPY. */
    uint64_t irreducible;

    /* Initial data not yet sent, or sent and not yet acknowledged. */
    bool initial_pending;

    /* Every device in PRE_COPY has said that there is nothing more for now
     * since it was last asked. */
    bool drained;

    uint64_t bytes_per_sec; /* 0: unknown */

    bool has_ram;
    struct policy_ram ram;
    uint64_t ram_bytes_per_sec; /* 0: unknown */

    uint64_t limit_ns;
    uint64_t elapsed_ns; /* in PRE_COPY */
    uint64_t timeout_ns;
    bool force;
};

enum policy_verdict {
    POLICY_CONTINUE,
    POLICY_SWITCH,
    POLICY_GIVE_UP,
};

struct policy_decision {
    enum policy_verdict verdict;
    uint64_t expected_ns; /* of downtime; POLICY_UNKNOWN */
    bool fits;            /* into the limit, now */
    const char *why;      /* GIVE_UP: a clause; else NULL */
};

struct policy_decision policy_decide(const struct policy_input *in);

/* How long what is left of memory takes; POLICY_UNKNOWN. */
uint64_t policy_ram_ns(const struct policy_input *in);

/* Whether the guest writes so much in a round, of which @sent pages were sent,
 * that the rounds do not get shorter. */
bool policy_is_hot(uint64_t dirty, uint64_t sent);

/* By how many percent to slow the guest after @percent was not enough. */
unsigned int policy_slower(unsigned int percent);

/* The sum; POLICY_UNKNOWN if one of them is, or if it is no number of ours. */
uint64_t policy_add(uint64_t a, uint64_t b);

/*
 * What a device says is left, from its two answers, either of which may be
 * POLICY_UNKNOWN: the larger one that is plausible.  A size of 0 beside no
 * other answer tells nothing.
 */
uint64_t policy_remaining(uint64_t data_size, uint64_t precopy_bytes);

/* @a times @b over @c, not 0; cut to what a number of ours can be. */
uint64_t policy_scale(uint64_t a, uint64_t b, uint64_t c);

/* A rate that follows the last few samples. */
struct policy_rate {
    uint64_t bytes_per_sec; /* 0: no sample yet */
};

/* @bytes took @ns of work.  Too small a sample is not one: it returns false
 * and the caller goes on adding up. */
bool policy_rate_add(struct policy_rate *rate, uint64_t bytes, uint64_t ns);

/* What two stations in a row let through: the lower of those that are known;
 * 0 if neither is. */
uint64_t policy_lower_rate(const struct policy_rate *a,
                           const struct policy_rate *b);

#endif
