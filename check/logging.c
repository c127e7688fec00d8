/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of a rig's memory, and what has to be in it.
 */
#include "check/logging.h"
#include "check/pagebits.h"
#include "check/steps.h"

int logging_start(struct run *r, uint64_t page_size)
{
    const struct raw_range all = rig_pages(0, RIG_PAGES);
    int ret = raw_log_start(r->raw, page_size, &all, 1);

    if (ret < 0)
        return check_fail(r, "a log in pages of %llu bytes cannot be begun: %s",
                          (unsigned long long)page_size, step_errno(ret));
    return 0;
}

int logging_report(struct run *r, struct raw_range range, uint64_t page_size,
                   struct log_bits *bits)
{
    int ret = raw_log_report(r->raw, range, page_size, bits->words);

    if (ret < 0)
        return check_fail(r, "a report of the log gives %s", step_errno(ret));
    return 0;
}

int logging_report_all(struct run *r, struct log_bits *bits)
{
    *bits = (struct log_bits){ { 0 } };
    return logging_report(r, rig_pages(0, RIG_PAGES), RIG_PAGE, bits);
}

int logging_expect(struct run *r, const struct log_bits *bits,
                   const struct log_bits *wanted, const char *when)
{
    size_t page = pagebits_missing(bits->words, wanted->words, RIG_PAGES);

    if (page == PAGEBITS_NONE)
        return 0;
    return check_fail(r, "page %zu was written and is not in the log %s", page,
                      when);
}

int logging_expect_only(struct run *r, const struct log_bits *bits,
                        const struct log_bits *wanted, const char *when)
{
    size_t page = pagebits_missing(wanted->words, bits->words, RIG_PAGES);

    if (page == PAGEBITS_NONE)
        return 0;
    return check_fail(r, "page %zu is in the log %s, and was not written", page,
                      when);
}
