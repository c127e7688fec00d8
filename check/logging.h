/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_LOGGING_H
#define VFM_CHECK_LOGGING_H

/*
 * The log of a rig's memory, and what has to be in it.
 *
 * As in steps.h, functions return 0 or CHECK_OVER.
 */

#include "check/rig.h"

#define LOG_WORDS (RIG_PAGES / 64)

/* Pages of 4 KiB, of all the rig's memory. */
struct log_bits {
    uint64_t words[LOG_WORDS];
};

/* Begins a log of the rig's memory, in pages of @page_size. */
int logging_start(struct run *r, uint64_t page_size);
/* Reports @range; bits are added to @bits. */
int logging_report(struct run *r, struct raw_range range, uint64_t page_size,
                   struct log_bits *bits);
/* The same, of all the memory in pages of 4 KiB, and anew. */
int logging_report_all(struct run *r, struct log_bits *bits);
/* Whether all of @wanted is there; @when says what happened before. */
int logging_expect(struct run *r, const struct log_bits *bits,
                   const struct log_bits *wanted, const char *when);
/* Whether nothing but @wanted is there. */
int logging_expect_only(struct run *r, const struct log_bits *bits,
                        const struct log_bits *wanted, const char *when);

#endif
