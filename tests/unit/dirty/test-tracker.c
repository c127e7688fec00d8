/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What holds for every tracker, with one whose functions do as they are told.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dirty/tracker.h"
#include "util/error.h"

#define PAGE VFM_DIRTY_PAGE_SIZE

static const struct vfm_dirty_range ranges[] = { { 0, 4 * PAGE },
                                                 { 16 * PAGE, 4 * PAGE } };

static struct fake {
    int start;
    int report;
    int stop;
    bool speechless;
    unsigned int delay;
    unsigned int starts;
    unsigned int stops;
    unsigned int frees;
} fake;

static int say(int ret, struct vfm_error *err)
{
    if (ret < 0 && !fake.speechless)
        error_set(err, ret, "fake: is tired");
    return ret;
}

static bool delays(void)
{
    return fake.delay > 0 && fake.delay-- > 0;
}

static int start(void *opaque, const struct vfm_dirty_range *r, size_t n,
                 struct vfm_error *err)
{
    assert_ptr_equal(opaque, &fake);
    if (delays())
        return -EAGAIN;
    assert_int_equal(n, 2);
    assert_memory_equal(r, ranges, sizeof(ranges));
    fake.starts++;
    return say(fake.start, err);
}

static int report(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err)
{
    assert_ptr_equal(opaque, &fake);
    if (delays())
        return -EAGAIN;
    if (fake.report == 0)
        vfm_dirty_mark_range(sink, 17 * PAGE, 1);
    return say(fake.report, err);
}

static int stop(void *opaque, struct vfm_error *err)
{
    assert_ptr_equal(opaque, &fake);
    if (delays())
        return -EAGAIN;
    fake.stops++;
    return say(fake.stop, err);
}

static void free_fake(void *opaque)
{
    assert_ptr_equal(opaque, &fake);
    fake.frees++;
}

static const struct vfm_dirty_ops ops = {
    .size = sizeof(ops),
    .name = "fake",
    .start = start,
    .report = report,
    .stop = stop,
    .free = free_fake,
};

static struct vfm_dirty_tracker *tracker;
static struct vfm_dirty_sink *sink;
static struct vfm_error err;

static int begin(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    memset(&err, 0, sizeof(err));
    assert_int_equal(vfm_dirty_tracker_new(&ops, &fake, &tracker, NULL), 0);
    assert_int_equal(vfm_dirty_sink_new(ranges, 2, &sink, NULL), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    vfm_dirty_tracker_free(tracker);
    assert_int_equal(fake.frees, 1);
    vfm_dirty_sink_free(sink);
    return 0;
}

static void it_starts_reports_and_stops(void **state)
{
    (void)state;
    assert_string_equal(vfm_dirty_tracker_name(tracker), "fake");
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, NULL), 0);
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, NULL), 0);
    assert_int_equal(vfm_dirty_sink_count(sink), 1);
    assert_int_equal(vfm_dirty_tracker_stop(tracker, NULL), 0);
    assert_int_equal(fake.stops, 1);
}

static void it_is_started_once_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), -EINVAL);
    assert_int_equal(vfm_dirty_tracker_stop(tracker, &err), -EINVAL);
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, NULL), 0);
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err), -EBUSY);
    assert_int_equal(fake.starts, 1);
    assert_int_equal(vfm_dirty_tracker_stop(tracker, NULL), 0);
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, NULL), 0);
}

static void one_that_is_started_is_stopped_when_it_is_freed(void **state)
{
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, NULL), 0);
    vfm_dirty_tracker_free(tracker);
    assert_int_equal(fake.stops, 1);
    assert_int_equal(fake.frees, 1);
    vfm_dirty_sink_free(sink);
    begin(state);
}

static void a_report_that_fails_marks_all(void **state)
{
    (void)state;
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, NULL), 0);
    fake.report = -EIO;
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, &err), -EIO);
    assert_string_equal(err.message, "fake: is tired");
    assert_int_equal(vfm_dirty_sink_count(sink), 8);
}

static void one_that_says_nothing_gets_a_sentence(void **state)
{
    (void)state;
    fake.speechless = true;
    fake.start = -EPERM;
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err), -EPERM);
    assert_string_equal(err.message,
                        "fake: cannot start: Operation not permitted");
    fake.start = 0;
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, &err), 0);
    fake.stop = -EIO;
    assert_int_equal(vfm_dirty_tracker_stop(tracker, &err), -EIO);
    assert_string_equal(err.message, "fake: cannot stop: Input/output error");
    /* It was told: it is not asked again. */
    assert_int_equal(vfm_dirty_tracker_stop(tracker, &err), -EINVAL);
}

static void it_is_waited_for(void **state)
{
    (void)state;
    fake.delay = 3;
    assert_int_equal(vfm_dirty_tracker_start(tracker, ranges, 2, NULL), 0);
    fake.delay = 3;
    assert_int_equal(vfm_dirty_tracker_report(tracker, sink, NULL), 0);
    fake.delay = 3;
    assert_int_equal(vfm_dirty_tracker_stop(tracker, NULL), 0);
}

static void without_waiting_it_says_so(void **state)
{
    (void)state;
    fake.delay = 1;
    assert_int_equal(dirty_tracker_start(tracker, ranges, 2, &err), -EAGAIN);
    assert_int_equal(dirty_tracker_start(tracker, ranges, 2, &err), 0);
    fake.delay = 1;
    assert_int_equal(dirty_tracker_report(tracker, sink, &err), -EAGAIN);
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
    assert_int_equal(dirty_tracker_report(tracker, sink, &err), 0);
    fake.delay = 1;
    assert_int_equal(dirty_tracker_stop(tracker, &err), -EAGAIN);
    assert_int_equal(dirty_tracker_stop(tracker, &err), 0);
}

static void one_that_lacks_something_is_refused(void **state)
{
    struct vfm_dirty_tracker *none;
    struct vfm_dirty_ops bad;

    (void)state;
    for (int i = 0; i < 4; i++) {
        bad = ops;
        bad.name = i == 0 ? NULL : ops.name;
        bad.start = i == 1 ? NULL : ops.start;
        bad.report = i == 2 ? NULL : ops.report;
        bad.stop = i == 3 ? NULL : ops.stop;
        assert_int_equal(vfm_dirty_tracker_new(&bad, &fake, &none, &err),
                         -EINVAL);
        assert_null(none);
    }
    assert_int_equal(fake.frees, 0);
    vfm_dirty_tracker_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_starts_reports_and_stops, begin,
                                        end),
        cmocka_unit_test_setup_teardown(it_is_started_once_at_a_time, begin,
                                        end),
        cmocka_unit_test_setup_teardown(
            one_that_is_started_is_stopped_when_it_is_freed, begin, end),
        cmocka_unit_test_setup_teardown(a_report_that_fails_marks_all, begin,
                                        end),
        cmocka_unit_test_setup_teardown(one_that_says_nothing_gets_a_sentence,
                                        begin, end),
        cmocka_unit_test_setup_teardown(it_is_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(without_waiting_it_says_so, begin, end),
        cmocka_unit_test_setup_teardown(one_that_lacks_something_is_refused,
                                        begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
