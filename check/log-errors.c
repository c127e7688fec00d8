/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logs that cannot be, and reports of what is no log: all have to be refused,
 * and must harm no log that is.
 */

#include "check/groups.h"
#include "check/habits.h"
#include "check/logging.h"
#include "check/pagebits.h"
#include "check/steps.h"

#define MANY 1000

/* What a check needs to know of a request that is refused. */
struct bad_start {
    uint64_t page_size;
    struct raw_range ranges[2];
    size_t num_ranges;
    const char *what;
};

/* After what was refused a log can be begun, and is true. */
static int expect_log_works(struct run *r, struct rig *rig)
{
    struct log_bits bits, wanted = { { 0 } };
    struct raw_range range = rig_pages(17, 2);

    if (logging_start(r, RIG_PAGE) != 0 || rig_fill(r, rig, range) != 0 ||
        logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    pagebits_add(wanted.words, rig_pages(0, RIG_PAGES), RIG_PAGE, range);
    return logging_expect(r, &bits, &wanted, "after another was refused");
}

static const struct bad_start bad_sizes[] = {
    { 0, { { RIG_IOVA, RIG_SIZE } }, 1, "pages of 0 bytes" },
    { 1, { { RIG_IOVA, RIG_SIZE } }, 1, "pages of 1 byte" },
    { 100, { { RIG_IOVA, RIG_SIZE } }, 1, "pages of 100 bytes" },
    { 4095, { { RIG_IOVA, RIG_SIZE } }, 1, "pages of 4095 bytes" },
    { 4097, { { RIG_IOVA, RIG_SIZE } }, 1, "pages of 4097 bytes" },
    { 12288, { { RIG_IOVA, RIG_SIZE } }, 1, "pages of 12288 bytes" },
};

static const struct bad_start bad_ranges[] = {
    { 4096, { { RIG_IOVA + 1, 8192 } }, 1, "a range that begins in a page" },
    { 4096, { { RIG_IOVA, 5000 } }, 1, "a range that ends in a page" },
    { 4096, { { RIG_IOVA, 0 } }, 1, "a range of no bytes" },
    { 4096,
      { { UINT64_MAX - 4095, 8192 } },
      1,
      "a range that ends behind the last address" },
    { 4096,
      { { RIG_IOVA, 16384 }, { RIG_IOVA + 8192, 16384 } },
      2,
      "ranges that overlap" },
};

static int expect_start_refused(struct run *r, const struct bad_start *bad)
{
    int ret =
        raw_log_start(r->raw, bad->page_size, bad->ranges, bad->num_ranges);

    if (ret < 0)
        return raw_is_broken(r->raw)
                   ? check_fail(r, "a log with %s broke the connection",
                                bad->what)
                   : 0;
    raw_log_stop(r->raw);
    if (bad->num_ranges > 0 && bad->page_size == RIG_PAGE &&
        habit_is_libvfio_user(r))
        return check_found(r,
                           "the server does not look at ranges, and takes "
                           "%s",
                           bad->what);
    return check_fail(r, "a log with %s was begun", bad->what);
}

static int run_bad_sizes(struct run *r, struct rig *rig)
{
    for (size_t i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++)
        if (expect_start_refused(r, &bad_sizes[i]) != 0)
            return CHECK_OVER;
    return expect_log_works(r, rig);
}

static int run_bad_range(struct run *r, struct rig *rig)
{
    if (expect_start_refused(r, &bad_ranges[rig->state]) != 0)
        return CHECK_OVER;
    return expect_log_works(r, rig);
}

static int run_no_ranges(struct run *r, struct rig *rig)
{
    const struct bad_start none = { .page_size = RIG_PAGE,
                                    .what = "no ranges" };

    if (expect_start_refused(r, &none) != 0)
        return CHECK_OVER;
    return expect_log_works(r, rig);
}

/* Taken or refused, whatever the device has room for; no more than one message
 * may carry. */
static int run_many_ranges(struct run *r, struct rig *rig)
{
    struct raw_range ranges[MANY];
    size_t count = r->raw->max_write / sizeof(ranges[0]) / 2;
    int ret;

    if (count > MANY)
        count = MANY;
    for (size_t i = 0; i < count; i++)
        ranges[i] = (struct raw_range){ RIG_IOVA + i * 2 * RIG_PAGE, RIG_PAGE };
    ret = raw_log_start(r->raw, RIG_PAGE, ranges, count);
    if (raw_is_broken(r->raw))
        return check_fail(r, "a log of %zu ranges broke the connection", count);
    if (ret == 0 && raw_log_stop(r->raw) < 0)
        return check_fail(r,
                          "a log of %zu ranges was begun and cannot be "
                          "stopped",
                          count);
    return expect_log_works(r, rig);
}

/* The log that is there stays as it is. */
static int run_started_twice(struct run *r, struct rig *rig)
{
    const struct raw_range all = rig_pages(0, RIG_PAGES);
    struct log_bits bits, wanted = { { 0 } };
    struct raw_range range = rig_pages(17, 2);

    if (logging_start(r, RIG_PAGE) != 0 || rig_fill(r, rig, range) != 0)
        return CHECK_OVER;
    if (raw_log_start(r->raw, RIG_PAGE, &all, 1) == 0)
        return check_fail(r, "a log was begun while there was one");
    if (logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    pagebits_add(wanted.words, all, RIG_PAGE, range);
    return logging_expect(r, &bits, &wanted, "after a second was refused");
}

static int expect_no_report(struct run *r, const char *when)
{
    struct log_bits bits = { { 0 } };
    int ret =
        raw_log_report(r->raw, rig_pages(0, RIG_PAGES), RIG_PAGE, bits.words);

    if (ret == 0)
        return check_fail(r,
                          "a report %s went well, as if nothing had been "
                          "written",
                          when);
    return raw_is_broken(r->raw)
               ? check_fail(r, "a report %s broke the connection", when)
               : 0;
}

static int run_no_log(struct run *r, struct rig *rig)
{
    if (expect_no_report(r, "without a log") != 0)
        return CHECK_OVER;
    return expect_log_works(r, rig);
}

static int run_after_stop(struct run *r, struct rig *rig)
{
    if (logging_start(r, RIG_PAGE) != 0)
        return CHECK_OVER;
    if (raw_log_stop(r->raw) < 0)
        return check_fail(r, "a log cannot be stopped");
    if (expect_no_report(r, "of a log that was stopped") != 0)
        return CHECK_OVER;
    return expect_log_works(r, rig);
}

/* It may be refused or do nothing, and has to be answered. */
static int run_stop_without(struct run *r, struct rig *rig)
{
    raw_log_stop(r->raw);
    if (raw_is_broken(r->raw))
        return check_fail(r, "stopping a log that is not there broke the "
                             "connection");
    return expect_log_works(r, rig);
}

static int run_bad_reports(struct run *r, struct rig *rig)
{
    static const uint64_t sizes[] = { 100, 4097, 12288 };
    struct log_bits bits = { { 0 } };

    (void)rig;
    if (logging_start(r, RIG_PAGE) != 0)
        return CHECK_OVER;
    if (habit_is_libvfio_user(r))
        return check_skip(r, "the server does not answer to a report in pages "
                             "that are smaller than those of the log");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        /* As many pages as there is room for. */
        struct raw_range range = { RIG_IOVA, RIG_PAGES / 8 * sizes[i] };

        if (raw_log_report(r->raw, range, sizes[i], bits.words) == 0)
            return check_fail(r, "a report in pages of %llu bytes went well",
                              (unsigned long long)sizes[i]);
    }
    return 0;
}

/* After an error all counts as written; but a request that is wrong is none of
 * the log's business. */
static int run_kept_by_refused(struct run *r, struct rig *rig)
{
    const struct raw_range all = rig_pages(0, RIG_PAGES);
    struct log_bits bits, wanted = { { 0 } }, ignored = { { 0 } };
    struct raw_range range = rig_pages(17, 2);

    if (logging_start(r, RIG_PAGE) != 0 || rig_fill(r, rig, range) != 0)
        return CHECK_OVER;
    if (raw_log_report(r->raw, all, 12288, ignored.words) == 0)
        return check_skip(r, "the report that was to be refused was not");
    if (logging_report_all(r, &bits) != 0)
        return CHECK_OVER;
    pagebits_add(wanted.words, all, RIG_PAGE, range);
    return logging_expect(r, &bits, &wanted, "after a report was refused");
}

/* Where nothing is mapped and no range is: an error, or nothing. */
static int run_report_elsewhere(struct run *r, struct rig *rig)
{
    const struct raw_range far = { RIG_IOVA + (UINT64_C(1) << 32), RIG_SIZE };
    struct log_bits bits = { { 0 } }, none = { { 0 } };
    struct raw_range range = rig_pages(17, 2);

    if (logging_start(r, RIG_PAGE) != 0 || rig_fill(r, rig, range) != 0)
        return CHECK_OVER;
    if (raw_log_report(r->raw, far, RIG_PAGE, bits.words) == 0)
        return logging_expect_only(r, &bits, &none,
                                   "of addresses that nobody has mapped");
    return raw_is_broken(r->raw)
               ? check_fail(r, "a report of addresses that nobody has mapped "
                               "broke the connection")
               : 0;
}

/* Whoever dies with a log leaves none. */
static int run_ended_by_closing(struct run *r, struct rig *rig)
{
    struct vfm_error err;
    int ret;

    if (logging_start(r, RIG_PAGE) != 0)
        return CHECK_OVER;
    if (raw_reopen(r->raw, &err) < 0)
        return check_fail(r, "it cannot be opened again: %s", err.message);
    ret = raw_dma_map(r->raw, rig_pages(0, RIG_PAGES), rig->fd);
    if (ret < 0)
        return check_fail(r,
                          "after it was opened again memory cannot be mapped: "
                          "%s",
                          step_errno(ret));
    if (rig->driver->enable != NULL)
        rig->driver->enable(r->raw);
    return expect_log_works(r, rig);
}

#define START_RULE  " (linux/vfio.h, VFIO_DEVICE_FEATURE_DMA_LOGGING_START)"
#define REPORT_RULE " (linux/vfio.h, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT)"
#define STOP_RULE   " (linux/vfio.h, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP)"
#define START_LOOK                                                        \
    "what START checks before it takes anything, and gives back when it " \
    "fails"
#define REPORT_LOOK "what REPORT checks before it touches the log"

#define NEEDS       (NEEDS_DRIVER | NEEDS_MAPPING | NEEDS_LOG)
#define BAD(name_, severity_, rule_, look_, fn_, n_)                        \
    {                                                                       \
        .name = name_, .severity = severity_, .rule = rule_, .look = look_, \
        .needs = NEEDS, .run = rig_run, .arg = &(const struct rig_check)    \
        {                                                                   \
            fn_, n_                                                         \
        }                                                                   \
    }

const struct check checks_log_errors[] = {
    BAD("log-error-page-size", CHECK_MUST,
        "The size of a page is a power of two from 4 KiB on" START_RULE,
        START_LOOK, run_bad_sizes, 0),
    BAD("log-error-range-begins-in-a-page", CHECK_SHOULD,
        "Ranges are whole pages" START_RULE, START_LOOK, run_bad_range, 0),
    BAD("log-error-range-ends-in-a-page", CHECK_SHOULD,
        "Ranges are whole pages" START_RULE, START_LOOK, run_bad_range, 1),
    BAD("log-error-range-empty", CHECK_SHOULD,
        "A range has a length" START_RULE, START_LOOK, run_bad_range, 2),
    BAD("log-error-range-overflows", CHECK_SHOULD,
        "A range ends before the last address" START_RULE, START_LOOK,
        run_bad_range, 3),
    BAD("log-error-ranges-overlap", CHECK_SHOULD,
        "Ranges do not overlap" START_RULE, START_LOOK, run_bad_range, 4),
    { .name = "log-error-no-ranges",
      .severity = CHECK_SHOULD,
      .rule = "A log has ranges; servers of vfio-user take none as "
              "everything, and the kernel refuses it" START_RULE,
      .look = START_LOOK,
      .needs = NEEDS | NEEDS_DESCRIPTORS,
      .run = rig_run,
      .arg = &(const struct rig_check){ run_no_ranges, 0 } },
    BAD("log-error-many-ranges", CHECK_MUST,
        "A log of many ranges is begun or refused" START_RULE, START_LOOK,
        run_many_ranges, 0),
    BAD("log-error-started-twice", CHECK_MUST,
        "There is one log at a time" START_RULE, START_LOOK, run_started_twice,
        0),
    BAD("log-error-report-without-a-log", CHECK_MUST,
        "Without a log there is nothing to report, and whoever is told that "
        "nothing was written loses memory" REPORT_RULE,
        REPORT_LOOK, run_no_log, 0),
    BAD("log-error-report-after-stop", CHECK_MUST,
        "STOP ends the log" STOP_RULE, REPORT_LOOK, run_after_stop, 0),
    BAD("log-error-stop-without-a-log", CHECK_MUST,
        "Stopping what is not there is answered, and harms nothing" STOP_RULE,
        "what STOP takes away", run_stop_without, 0),
    BAD("log-error-report-page-size", CHECK_SHOULD,
        "The size of a page in a report is a power of two from 4 KiB on" REPORT_RULE,
        REPORT_LOOK, run_bad_reports, 0),
    BAD("log-error-keeps-the-log", CHECK_SHOULD,
        "A report that is refused for what it asks clears nothing" REPORT_RULE,
        REPORT_LOOK, run_kept_by_refused, 0),
    BAD("log-error-report-elsewhere", CHECK_SHOULD,
        "Where nothing is logged nothing is reported" REPORT_RULE, REPORT_LOOK,
        run_report_elsewhere, 0),
    BAD("log-ends-with-its-owner", CHECK_MUST,
        "A log is over when the device is closed" START_RULE,
        "what closing the device takes away", run_ended_by_closing, 0),
    { .name = NULL },
};
