/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session is open where there is one and nowhere else, and the handle says
 * where the device is, whatever the device answers on the way.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device/state.h"
#include "fake-device.h"

#define ALL \
    (VFM_MIGRATION_STOP_COPY | VFM_MIGRATION_P2P | VFM_MIGRATION_PRE_COPY)

static uint8_t pattern[10000];

static int set_up(void **state)
{
    struct fake_device *f = malloc(sizeof(*f));

    fake_pattern(pattern, sizeof(pattern), 1);
    fake_open(f, "fake", ALL);
    f->data = pattern;
    f->size = sizeof(pattern);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fake_device *f = *state;

    fake_close(f);
    free(f);
    return 0;
}

static void enter(struct fake_device *f, enum vfm_state want)
{
    assert_int_equal(vfm_device_set_state(f->dev, want, NULL), 0);
    assert_int_equal(vfm_device_state(f->dev), want);
    assert_int_equal(f->dev->session, state_session(want));
}

/* The next transition fails and leaves the device in @left. */
static void fail_to(struct fake_device *f, enum vfm_state want,
                    enum vfm_state left)
{
    struct vfm_error err = { 0 };

    fake_fail(f, FAKE_SET_STATE, f->calls[FAKE_SET_STATE], -EIO)->state = left;
    assert_int_equal(vfm_device_set_state(f->dev, want, &err), -EIO);
    assert_int_equal(err.code, -EIO);
    assert_string_equal(err.message, "fake: device refuses set state: "
                                     "Input/output error");
    assert_int_equal(vfm_device_state(f->dev), left);
}

static void assert_reading_is_refused(struct fake_device *f)
{
    uint8_t byte;

    assert_int_equal(vfm_device_read(f->dev, &byte, 1, NULL), -EBADFD);
    assert_int_equal(vfm_device_write(f->dev, &byte, 1, NULL), -EBADFD);
}

static void a_session_continues_from_pre_copy_to_stop_copy(void **state)
{
    struct fake_device *f = *state;
    static uint8_t got[sizeof(pattern)];
    size_t at = 0;
    ssize_t n;

    f->pre_copy_size = 5000;
    enter(f, VFM_STATE_PRE_COPY);
    while ((n = vfm_device_read(f->dev, got + at, 100, NULL)) > 0)
        at += (size_t)n;
    assert_int_equal(n, -ENOMSG);
    assert_int_equal(at, 5000);
    enter(f, VFM_STATE_STOP_COPY);
    while ((n = vfm_device_read(f->dev, got + at, 4000, NULL)) > 0)
        at += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(at, sizeof(pattern));
    assert_memory_equal(got, pattern, sizeof(pattern));
}

static void every_state_has_its_session_and_no_other(void **state)
{
    static const enum vfm_state tour[] = {
        VFM_STATE_STOP,         VFM_STATE_STOP_COPY, VFM_STATE_RUNNING,
        VFM_STATE_RUNNING_P2P,  VFM_STATE_PRE_COPY,  VFM_STATE_PRE_COPY_P2P,
        VFM_STATE_PRE_COPY_P2P, VFM_STATE_STOP_COPY, VFM_STATE_RESUMING,
        VFM_STATE_STOP_COPY,    VFM_STATE_RESUMING,  VFM_STATE_RUNNING,
    };
    struct fake_device *f = *state;

    for (size_t i = 0; i < sizeof(tour) / sizeof(tour[0]); i++)
        enter(f, tour[i]);
    assert_reading_is_refused(f);
}

static void asking_for_the_present_state_does_not_reach_the_device(void **state)
{
    struct fake_device *f = *state;

    enter(f, VFM_STATE_RUNNING);
    enter(f, VFM_STATE_STOP);
    enter(f, VFM_STATE_STOP);
    assert_int_equal(f->calls[FAKE_SET_STATE], 1);
}

static void what_cannot_be_is_refused_without_the_device(void **state)
{
    struct fake_device *f = *state;
    struct vfm_error err;

    enter(f, VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_PRE_COPY, &err),
                     -EINVAL);
    assert_string_equal(err.message,
                        "fake: there is no way from STOP_COPY to PRE_COPY");
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_ERROR, &err),
                     -EINVAL);
    assert_int_equal(
        vfm_device_set_state(f->dev, (enum vfm_state)NUM_STATES, &err),
        -EOPNOTSUPP);
    f->dev->info.migration = VFM_MIGRATION_STOP_COPY;
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_RUNNING_P2P, &err),
                     -EOPNOTSUPP);
    assert_string_equal(err.message, "fake: device has no state RUNNING_P2P");
    assert_int_equal(f->calls[FAKE_SET_STATE], 1);
    assert_int_equal(f->dev->session, SESSION_SAVE);
}

static void after_a_failure_the_device_is_asked_where_it_is(void **state)
{
    struct fake_device *f = *state;

    fail_to(f, VFM_STATE_STOP_COPY, VFM_STATE_STOP);
    assert_int_equal(f->calls[FAKE_GET_STATE], 1);
    assert_int_equal(f->dev->session, SESSION_NONE);
}

static void a_refusal_at_the_start_is_a_failure_like_any(void **state)
{
    struct fake_device *f = *state;

    fake_fail(f, FAKE_SET_STATE, 0, -EBUSY)->at_start = true;
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL),
                     -EBUSY);
    assert_int_equal(f->calls[FAKE_GET_STATE], 1);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_RUNNING);
}

static void a_session_outlives_a_failure_that_leaves_it(void **state)
{
    struct fake_device *f = *state;
    uint8_t byte;

    enter(f, VFM_STATE_PRE_COPY);
    fail_to(f, VFM_STATE_STOP_COPY, VFM_STATE_PRE_COPY);
    assert_int_equal(f->dev->session, SESSION_SAVE);
    fail_to(f, VFM_STATE_STOP_COPY, VFM_STATE_PRE_COPY_P2P);
    enter(f, VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_device_read(f->dev, &byte, 1, NULL), 1);
    assert_int_equal(byte, pattern[0]);
}

static void a_failure_that_ends_the_session_ends_it_here(void **state)
{
    struct fake_device *f = *state;

    enter(f, VFM_STATE_STOP_COPY);
    fail_to(f, VFM_STATE_RUNNING, VFM_STATE_STOP);
    assert_int_equal(f->dev->session, SESSION_NONE);
    assert_reading_is_refused(f);
}

/* Nobody received what was opened on the way. */
static void a_session_that_was_lost_on_the_way_is_not_invented(void **state)
{
    struct fake_device *f = *state;

    fail_to(f, VFM_STATE_PRE_COPY, VFM_STATE_PRE_COPY);
    assert_int_equal(f->dev->session, SESSION_NONE);
    assert_reading_is_refused(f);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP_COPY, NULL),
                     0);
    assert_int_equal(f->dev->session, SESSION_NONE);
    assert_reading_is_refused(f);
    enter(f, VFM_STATE_STOP);
    enter(f, VFM_STATE_STOP_COPY);
}

static void a_lost_loading_session_is_not_invented_either(void **state)
{
    struct fake_device *f = *state;

    fail_to(f, VFM_STATE_RESUMING, VFM_STATE_RESUMING);
    assert_reading_is_refused(f);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_RESUMING, NULL), 0);
    assert_reading_is_refused(f);
}

static void a_device_that_does_not_say_where_it_is_is_in_error(void **state)
{
    struct fake_device *f = *state;

    enter(f, VFM_STATE_PRE_COPY);
    fake_fail(f, FAKE_GET_STATE, 0, -EIO);
    fake_fail(f, FAKE_SET_STATE, 1, -EBUSY);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL),
                     -EBUSY);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_ERROR);
    assert_reading_is_refused(f);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL),
                     -EINVAL);
}

static void a_state_that_does_not_exist_is_error(void **state)
{
    struct fake_device *f = *state;

    fake_fail(f, FAKE_GET_STATE, 0, 0)->state = (enum vfm_state)8;
    fake_fail(f, FAKE_SET_STATE, 0, -EBUSY);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL),
                     -EBUSY);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_ERROR);
}

static void asking_for_the_state_finds_what_the_device_did_itself(void **state)
{
    struct fake_device *f = *state;

    enter(f, VFM_STATE_PRE_COPY);
    f->state = VFM_STATE_ERROR;
    assert_int_equal(vfm_device_refresh_state(f->dev, NULL), 0);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_ERROR);
    assert_reading_is_refused(f);
}

static void an_answer_that_is_no_state_is_a_protocol_error(void **state)
{
    struct fake_device *f = *state;
    struct vfm_error err;

    fake_fail(f, FAKE_GET_STATE, 0, 0)->state = (enum vfm_state)99;
    assert_int_equal(vfm_device_refresh_state(f->dev, &err), -EPROTO);
    assert_string_equal(err.message, "fake: device is in state 99");
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_RUNNING);
}

static void a_session_that_somebody_else_opened_is_not_ours(void **state)
{
    struct fake_device *f = *state;

    fake_begin_in(f, VFM_STATE_STOP_COPY);
    assert_reading_is_refused(f);
    fake_begin_in(f, VFM_STATE_RESUMING);
    assert_reading_is_refused(f);
}

static void a_reset_ends_the_session_and_the_device_runs(void **state)
{
    struct fake_device *f = *state;

    enter(f, VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_device_reset(f->dev, NULL), 0);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_RUNNING);
    assert_int_equal(f->resets, 1);
    assert_reading_is_refused(f);
}

static void a_device_that_a_reset_leaves_stopped_is_told_to_run(void **state)
{
    struct fake_device *f = *state;

    f->reset_keeps_state = true;
    enter(f, VFM_STATE_STOP);
    assert_int_equal(vfm_device_reset(f->dev, NULL), 0);
    assert_int_equal(f->state, VFM_STATE_RUNNING);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_RUNNING);
}

static void info_of_an_older_header_is_refused_and_of_a_newer_zeroed(
    void **state)
{
    struct fake_device *f = *state;
    struct {
        struct vfm_device_info info;
        uint64_t later;
    } info = { .info.size = sizeof(info), .later = 1 };

    assert_int_equal(vfm_device_get_info(f->dev, &info.info), 0);
    assert_int_equal(info.info.size, sizeof(info));
    assert_int_equal(info.info.migration, ALL);
    assert_int_equal(info.later, 0);
    info.info.size = sizeof(struct vfm_device_info) - 1;
    assert_int_equal(vfm_device_get_info(f->dev, &info.info), -EINVAL);
}

static void a_device_does_without_what_it_is_told_to(void **state)
{
    struct fake_device *f = *state;
    struct vfm_device_info info = { .size = sizeof(info) };

    assert_int_equal(vfm_device_do_without(f->dev, 0, NULL), 0);
    assert_true(vfm_device_has_state(f->dev, VFM_STATE_PRE_COPY_P2P));
    assert_int_equal(
        vfm_device_do_without(f->dev, VFM_MIGRATION_PRE_COPY, NULL), 0);
    assert_false(vfm_device_has_state(f->dev, VFM_STATE_PRE_COPY));
    assert_true(vfm_device_has_state(f->dev, VFM_STATE_RUNNING_P2P));
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_PRE_COPY, NULL),
                     -EOPNOTSUPP);
    assert_int_equal(vfm_device_do_without(f->dev, VFM_MIGRATION_P2P, NULL), 0);
    assert_false(vfm_device_has_state(f->dev, VFM_STATE_RUNNING_P2P));
    assert_int_equal(vfm_device_get_info(f->dev, &info), 0);
    assert_int_equal(info.migration, VFM_MIGRATION_STOP_COPY);
    assert_false(info.has_precopy_info);
    enter(f, VFM_STATE_STOP_COPY);
}

static void a_device_cannot_do_without_where_it_is(void **state)
{
    struct fake_device *f = *state;
    struct vfm_error err = { 0 };

    enter(f, VFM_STATE_RUNNING_P2P);
    assert_int_equal(vfm_device_do_without(f->dev, VFM_MIGRATION_P2P, &err),
                     -EBUSY);
    assert_string_equal(err.message,
                        "fake: cannot do without RUNNING_P2P, where it is");
    assert_true(vfm_device_has_state(f->dev, VFM_STATE_RUNNING_P2P));
    enter(f, VFM_STATE_RUNNING);
    assert_int_equal(
        vfm_device_do_without(f->dev, VFM_MIGRATION_STOP_COPY, &err), -EINVAL);
    assert_int_equal(vfm_device_do_without(f->dev, UINT64_C(8), &err), -EINVAL);
}

static void closing_nothing_does_nothing(void **state)
{
    (void)state;
    vfm_device_close(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_session_continues_from_pre_copy_to_stop_copy),
        TEST(every_state_has_its_session_and_no_other),
        TEST(asking_for_the_present_state_does_not_reach_the_device),
        TEST(what_cannot_be_is_refused_without_the_device),
        TEST(after_a_failure_the_device_is_asked_where_it_is),
        TEST(a_refusal_at_the_start_is_a_failure_like_any),
        TEST(a_session_outlives_a_failure_that_leaves_it),
        TEST(a_failure_that_ends_the_session_ends_it_here),
        TEST(a_session_that_was_lost_on_the_way_is_not_invented),
        TEST(a_lost_loading_session_is_not_invented_either),
        TEST(a_device_that_does_not_say_where_it_is_is_in_error),
        TEST(a_state_that_does_not_exist_is_error),
        TEST(asking_for_the_state_finds_what_the_device_did_itself),
        TEST(an_answer_that_is_no_state_is_a_protocol_error),
        TEST(a_session_that_somebody_else_opened_is_not_ours),
        TEST(a_reset_ends_the_session_and_the_device_runs),
        TEST(a_device_that_a_reset_leaves_stopped_is_told_to_run),
        TEST(info_of_an_older_header_is_refused_and_of_a_newer_zeroed),
        TEST(a_device_does_without_what_it_is_told_to),
        TEST(a_device_cannot_do_without_where_it_is),
        cmocka_unit_test(closing_nothing_does_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
