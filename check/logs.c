/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of DMA: all that was written is in it, once, however the device was
 * stopped in between.
 *
 * A page that is missing is memory that the guest loses.  A page too many is
 * sent once more than it had to be.  What is refused is log-errors.c's.
 */
#include <string.h>

#include "check/groups.h"
#include "check/habits.h"
#include "check/logging.h"
#include "check/pagebits.h"
#include "check/steps.h"

#define PIECES_MAX 8
#define LARGE_PAGE (UINT64_C(64) << 10)
/* Pages of a stream that are enough to be looked for. */
#define MORE       16

/* What is written, in bytes from the beginning of the memory. */
struct pattern {
    uint64_t offsets[PIECES_MAX];
    uint64_t lengths[PIECES_MAX];
    size_t count;
};

static int write_pattern(struct run *r, struct rig *rig,
                         const struct pattern *p, struct log_bits *wanted)
{
    for (size_t i = 0; i < p->count; i++) {
        struct raw_range range = { RIG_IOVA + p->offsets[i], p->lengths[i] };

        if (rig_fill(r, rig, range) != 0)
            return CHECK_OVER;
        pagebits_add(wanted->words, rig_pages(0, RIG_PAGES), RIG_PAGE, range);
    }
    return 0;
}

#define PAGE(n) ((uint64_t)(n)*RIG_PAGE)

static const struct pattern patterns[] = {
    { { 0 }, { PAGE(1) }, 1 },
    { { PAGE(RIG_PAGES - 1) }, { PAGE(1) }, 1 },
    { { PAGE(6) - 8 }, { 16 }, 1 },
    { { PAGE(5) }, { PAGE(7) }, 1 },
    { { 0 }, { PAGE(RIG_PAGES) }, 1 },
    { { PAGE(1), PAGE(62), PAGE(63), PAGE(64) + 8, PAGE(127), PAGE(130),
        PAGE(191), PAGE(254) },
      { 8, 8, PAGE(1), 8, PAGE(1), PAGE(3), PAGE(1), 8 },
      8 },
};

/* Begins a log, writes a pattern and reports. */
static int log_pattern(struct run *r, struct rig *rig, struct log_bits *bits,
                       struct log_bits *wanted)
{
    *wanted = (struct log_bits){ { 0 } };
    if (logging_start(r, RIG_PAGE) != 0 ||
        write_pattern(r, rig, &patterns[rig->state], wanted) != 0)
        return CHECK_OVER;
    return logging_report_all(r, bits);
}

static int run_pattern(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted;

    if (log_pattern(r, rig, &bits, &wanted) != 0)
        return CHECK_OVER;
    return logging_expect(r, &bits, &wanted, "when it is reported");
}

static int run_only(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted;

    for (uint32_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        rig->state = i;
        if (log_pattern(r, rig, &bits, &wanted) != 0 ||
            logging_expect_only(r, &bits, &wanted, "when it is reported") != 0)
            return CHECK_OVER;
        raw_log_stop(r->raw);
    }
    return 0;
}

static int write_pages(struct run *r, struct rig *rig, struct log_bits *wanted,
                       size_t first, size_t count)
{
    struct raw_range range = rig_pages(first, count);

    pagebits_add(wanted->words, rig_pages(0, RIG_PAGES), RIG_PAGE, range);
    return rig_fill(r, rig, range);
}

static int run_cleared(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } }, none = { { 0 } };

    if (logging_start(r, RIG_PAGE) != 0 ||
        write_pages(r, rig, &wanted, 3, 2) != 0 ||
        logging_report_all(r, &bits) != 0 ||
        logging_expect(r, &bits, &wanted, "the first time") != 0 ||
        logging_report_all(r, &bits) != 0 ||
        logging_expect_only(r, &bits, &none, "a second time") != 0)
        return CHECK_OVER;
    /* And what is written again is there again. */
    if (write_pages(r, rig, &wanted, 3, 2) != 0 ||
        logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    return logging_expect(r, &bits, &wanted, "after it was written again");
}

static int run_clears_its_part(struct run *r, struct rig *rig)
{
    struct log_bits low = { { 0 } }, high = { { 0 } };
    struct log_bits wanted = { { 0 } };
    const size_t half = RIG_PAGES / 2;
    int ret;

    if (logging_start(r, RIG_PAGE) != 0 ||
        write_pages(r, rig, &wanted, 3, 1) != 0 ||
        write_pages(r, rig, &wanted, half + 72, 1) != 0)
        return CHECK_OVER;
    ret = raw_log_report(r->raw, rig_pages(0, half), RIG_PAGE, low.words);
    if (ret == 0)
        ret =
            raw_log_report(r->raw, rig_pages(half, half), RIG_PAGE, high.words);
    if (ret < 0 && habit_is_libvfio_user(r))
        return check_found(r,
                           "the server reports whole mappings only; a part "
                           "gives %s",
                           step_errno(ret));
    if (ret < 0)
        return check_fail(r, "a report of a part of the log gives %s",
                          step_errno(ret));
    if (!pagebits_has(low.words, 3) || pagebits_has(low.words, 72))
        return check_fail(r, "the report of the first half is wrong: page 3 "
                             "and no other was written there");
    if (!pagebits_has(high.words, 72))
        return check_fail(r,
                          "a report of the first half of the log took page "
                          "%zu of the second half with it",
                          half + 72);
    return 0;
}

/* What was written before the device went to a state is there in it. */
static int run_kept_in_state(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } };

    if (logging_start(r, RIG_PAGE) != 0 ||
        write_pages(r, rig, &wanted, 10, 3) != 0 ||
        step_go(r, rig->state) != 0 || logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    return logging_expect(r, &bits, &wanted, "after the device went there");
}

static int run_kept_over_stop(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } };

    if (logging_start(r, RIG_PAGE) != 0 ||
        write_pages(r, rig, &wanted, 10, 3) != 0 ||
        step_go(r, UAPI_STATE_STOP) != 0 ||
        step_go(r, UAPI_STATE_RUNNING) != 0 ||
        write_pages(r, rig, &wanted, 100, 1) != 0 ||
        logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    return logging_expect(r, &bits, &wanted, "after a stop");
}

static void add_changed(const struct rig *rig, struct log_bits *bits)
{
    for (size_t i = 0; i < RIG_PAGES; i++)
        if (memcmp(rig->before + i * RIG_PAGE, rig->memory + i * RIG_PAGE,
                   RIG_PAGE) != 0)
            bits->words[i / 64] |= UINT64_C(1) << i % 64;
}

/* A stream is under way until the device stops: each page that is another than
 * it was is in one of the reports, of which the last is made in STOP_COPY. */
static int run_until_stop(struct run *r, struct rig *rig)
{
    struct log_bits bits = { { 0 } }, wanted = { { 0 } };

    if (rig_stream(r, rig) != 0)
        return CHECK_OVER;
    if (logging_start(r, RIG_PAGE) != 0)
        return CHECK_OVER;
    rig_remember(rig);
    for (unsigned int i = 0; i < 4; i++)
        if (rig_wait_for(r, rig, rig_highest(rig) + MORE / 4) != 0 ||
            logging_report(r, rig_pages(0, RIG_PAGES), RIG_PAGE, &bits) != 0)
            return CHECK_OVER;
    if (step_go(r, rig->state) != 0 ||
        logging_report(r, rig_pages(0, RIG_PAGES), RIG_PAGE, &bits) != 0)
        return CHECK_OVER;
    add_changed(rig, &wanted);
    return logging_expect(r, &bits, &wanted,
                          "of a stream that went on until the device stopped");
}

static int run_in_precopy(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } };

    if (rig_stream(r, rig) != 0 || logging_start(r, RIG_PAGE) != 0 ||
        step_go(r, rig->state) != 0 || logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    /* From here on all that changes is written in that state. */
    rig_remember(rig);
    if (rig_wait_for(r, rig, rig_highest(rig) + MORE) != 0)
        return CHECK_OVER;
    add_changed(rig, &wanted);
    if (logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    return logging_expect(r, &bits, &wanted, "in PRE_COPY");
}

static int run_after_load(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } };

    if (step_have_image(r) != 0 || step_load(r, &r->image) != 0 ||
        step_go(r, UAPI_STATE_RUNNING) != 0 ||
        logging_start(r, RIG_PAGE) != 0 ||
        write_pages(r, rig, &wanted, 20, 4) != 0 ||
        logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    return logging_expect(r, &bits, &wanted, "after a load");
}

static int run_reads(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } };
    struct raw_range to = rig_pages(20, 2);

    if (logging_start(r, RIG_PAGE) != 0 ||
        rig_copy(r, rig, rig_pages(10, 2).iova, to) != 0 ||
        logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    pagebits_add(wanted.words, rig_pages(0, RIG_PAGES), RIG_PAGE, to);
    if (logging_expect(r, &bits, &wanted, "of a copy") != 0)
        return CHECK_OVER;
    return logging_expect_only(r, &bits, &wanted,
                               "of a copy, from where it was read");
}

static int start_two_ranges(struct run *r)
{
    const struct raw_range ranges[] = { rig_pages(0, 16), rig_pages(100, 16) };
    int ret = raw_log_start(r->raw, RIG_PAGE, ranges, 2);

    if (ret < 0)
        return check_fail(r, "a log of two ranges cannot be begun: %s",
                          step_errno(ret));
    return 0;
}

static int run_two_ranges(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } };

    if (start_two_ranges(r) != 0 || write_pages(r, rig, &wanted, 3, 1) != 0 ||
        write_pages(r, rig, &wanted, 105, 1) != 0 ||
        logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    return logging_expect(r, &bits, &wanted, "of two ranges");
}

static int run_outside_ranges(struct run *r, struct rig *rig)
{
    struct log_bits bits, none = { { 0 } }, written = { { 0 } };

    if (start_two_ranges(r) != 0 || write_pages(r, rig, &written, 50, 1) != 0 ||
        logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    if (pagebits_has(bits.words, 50) && habit_is_libvfio_user(r))
        return check_found(r, "the server logs whole mappings, whatever ranges "
                              "it is asked for");
    return logging_expect_only(r, &bits, &none, "although no range has it");
}

/* A report in other pages than those of the log. */
static int run_page_sizes(struct run *r, struct rig *rig)
{
    const struct raw_range all = rig_pages(0, RIG_PAGES);
    struct log_bits bits = { { 0 } }, wanted = { { 0 } }, ignored = { { 0 } };

    if (logging_start(r, RIG_PAGE) != 0 ||
        write_pages(r, rig, &ignored, 3, 1) != 0 ||
        write_pages(r, rig, &ignored, 200, 1) != 0 ||
        logging_report(r, all, LARGE_PAGE, &bits) != 0)
        return CHECK_OVER;
    pagebits_add(wanted.words, all, LARGE_PAGE, rig_pages(3, 1));
    pagebits_add(wanted.words, all, LARGE_PAGE, rig_pages(200, 1));
    if (memcmp(&bits, &wanted, sizeof(bits)) != 0)
        return check_fail(r,
                          "pages 3 and 200 were written, and a report in "
                          "pages of 64 KiB does not have bits 0 and 12 and "
                          "no others: its first word is 0x%llx",
                          (unsigned long long)bits.words[0]);
    return 0;
}

static int run_large_pages(struct run *r, struct rig *rig)
{
    const struct raw_range all = rig_pages(0, RIG_PAGES);
    struct log_bits bits = { { 0 } }, wanted = { { 0 } }, ignored = { { 0 } };

    if (logging_start(r, LARGE_PAGE) != 0 ||
        write_pages(r, rig, &ignored, 200, 1) != 0 ||
        logging_report(r, all, LARGE_PAGE, &bits) != 0)
        return CHECK_OVER;
    pagebits_add(wanted.words, all, LARGE_PAGE, rig_pages(200, 1));
    if (pagebits_missing(bits.words, wanted.words, 16) != PAGEBITS_NONE)
        return check_fail(r, "page 200 was written, and a log in pages of 64 "
                             "KiB does not have bit 12");
    return 0;
}

/* What was written before the log began is nobody's business. */
static int run_begins_empty(struct run *r, struct rig *rig)
{
    struct log_bits bits, none = { { 0 } }, before = { { 0 } };

    if (write_pages(r, rig, &before, 3, 1) != 0 ||
        logging_start(r, RIG_PAGE) != 0 || logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    return logging_expect_only(r, &bits, &none, "that has just begun");
}

static int run_begins_again(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } };

    for (unsigned int i = 0; i < 5; i++) {
        wanted = (struct log_bits){ { 0 } };
        if (logging_start(r, RIG_PAGE) != 0 ||
            write_pages(r, rig, &wanted, i * 8, 2) != 0 ||
            logging_report_all(r, &bits) != 0 ||
            logging_expect(r, &bits, &wanted, "that was begun again") != 0)
            return CHECK_OVER;
        if (raw_log_stop(r->raw) < 0)
            return check_fail(r, "the log cannot be stopped");
    }
    return 0;
}

#define LOG_RULE                                                       \
    " (linux/vfio.h, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: the log " \
    "of the pages that the device wrote)"
#define START_RULE " (linux/vfio.h, VFIO_DEVICE_FEATURE_DMA_LOGGING_START)"
#define ALL_LOOK                                                        \
    "from which address to which a write is logged: the first and the " \
    "last byte of it, and the word of the bitmap that has the page"
#define CLEAR_LOOK "what a report clears, and that it clears it at all"
#define STOP_LOOK                                                       \
    "whether stopping empties or ends the log, and what is written on " \
    "the way is logged before the step is done"
#define RANGE_LOOK "what of the ranges of START is kept, and looked at"
#define SIZE_LOOK                                                      \
    "how pages of the log and pages of the report are made into each " \
    "other"

#define NEEDS (NEEDS_DRIVER | NEEDS_MAPPING | NEEDS_LOG)
#define LOG(name_, severity_, rule_, look_, needs_, fn_, state_)            \
    {                                                                       \
        .name = name_, .severity = severity_, .rule = rule_, .look = look_, \
        .needs = NEEDS | (needs_), .run = rig_run,                          \
        .arg = &(const struct rig_check)                                    \
        {                                                                   \
            fn_, state_                                                     \
        }                                                                   \
    }
#define ALL(name_, what_, n_) \
    LOG(name_, CHECK_MUST, what_ LOG_RULE, ALL_LOOK, 0, run_pattern, n_)

const struct check checks_logs[] = {
    ALL("log-has-the-first-page", "A write to the first page is logged", 0),
    ALL("log-has-the-last-page", "A write to the last page is logged", 1),
    ALL("log-has-both-sides-of-a-border",
        "Of a write over the border of two pages both are logged", 2),
    ALL("log-has-several-pages", "Of a long write all pages are logged", 3),
    ALL("log-has-all-pages", "A write to all of the memory is logged", 4),
    ALL("log-has-scattered-pages", "Each of several writes is logged", 5),
    LOG("log-has-nothing-else", CHECK_SHOULD,
        "Pages that were not written are not logged" LOG_RULE, ALL_LOOK, 0,
        run_only, 0),
    LOG("log-begins-empty", CHECK_SHOULD,
        "A log begins when it is started, and empty" START_RULE,
        "what START does to a log that was there before", 0, run_begins_empty,
        0),
    LOG("log-begins-again", CHECK_MUST,
        "A log that was stopped can be started again" START_RULE,
        "what STOP takes away", 0, run_begins_again, 0),
    LOG("log-cleared-by-a-report", CHECK_MUST,
        "A report clears what it reports" LOG_RULE, CLEAR_LOOK, 0, run_cleared,
        0),
    LOG("log-report-clears-only-its-part", CHECK_MUST,
        "A report of a range clears the log of that range and no other" LOG_RULE,
        CLEAR_LOOK, 0, run_clears_its_part, 0),
    LOG("log-kept-in-STOP", CHECK_MUST,
        "What was written before a stop is in a report made in STOP" LOG_RULE,
        STOP_LOOK, 0, run_kept_in_state, UAPI_STATE_STOP),
    LOG("log-kept-in-STOP_COPY", CHECK_MUST,
        "What was written before a stop is in a report made in STOP_COPY" LOG_RULE,
        STOP_LOOK, 0, run_kept_in_state, UAPI_STATE_STOP_COPY),
    LOG("log-kept-in-RUNNING_P2P", CHECK_MUST,
        "What was written before is in a report made in RUNNING_P2P" LOG_RULE,
        STOP_LOOK, NEEDS_P2P, run_kept_in_state, UAPI_STATE_RUNNING_P2P),
    LOG("log-kept-over-STOP", CHECK_MUST,
        "A log goes on when the device runs again" LOG_RULE, STOP_LOOK, 0,
        run_kept_over_stop, 0),
    LOG("log-has-all-until-STOP", CHECK_MUST,
        "The last write before STOP is in the report after it" LOG_RULE,
        STOP_LOOK, 0, run_until_stop, UAPI_STATE_STOP),
    LOG("log-has-all-until-STOP_COPY", CHECK_MUST,
        "The last write before STOP is in the report made in STOP_COPY" LOG_RULE,
        STOP_LOOK, 0, run_until_stop, UAPI_STATE_STOP_COPY),
    LOG("log-in-PRE_COPY", CHECK_MUST,
        "In PRE_COPY the device writes, and what it writes is logged" LOG_RULE,
        "the states in which the device logs", NEEDS_PRE_COPY, run_in_precopy,
        UAPI_STATE_PRE_COPY),
    LOG("log-after-a-load", CHECK_MUST,
        "A device that was loaded logs as any other" LOG_RULE,
        "what loading does to the log", 0, run_after_load, 0),
    LOG("log-without-reads", CHECK_SHOULD,
        "Memory that was only read is not logged" LOG_RULE,
        "which direction of a transfer is logged", 0, run_reads, 0),
    LOG("log-of-two-ranges", CHECK_MUST, "All ranges are logged" START_RULE,
        RANGE_LOOK, 0, run_two_ranges, 0),
    LOG("log-without-what-no-range-has", CHECK_SHOULD,
        "Only the ranges are logged" START_RULE, RANGE_LOOK, 0,
        run_outside_ranges, 0),
    LOG("log-report-in-larger-pages", CHECK_MUST,
        "A report has a bit for each page of the size that it is asked for" LOG_RULE,
        SIZE_LOOK, 0, run_page_sizes, 0),
    LOG("log-in-larger-pages", CHECK_MUST,
        "A log has pages of any size that is a power of two" START_RULE,
        SIZE_LOOK, 0, run_large_pages, 0),
    { .name = NULL },
};
