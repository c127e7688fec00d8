/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recovery: every step of it fails once, and the sentence says what became of
 * the device.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake-device.h"

#define ALL \
    (VFM_MIGRATION_STOP_COPY | VFM_MIGRATION_P2P | VFM_MIGRATION_PRE_COPY)

static int set_up(void **state)
{
    struct fake_device *f = malloc(sizeof(*f));

    fake_open(f, "fake", ALL);
    fake_begin_in(f, VFM_STATE_STOP_COPY);
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

static void recover(struct fake_device *f, enum vfm_state fallback,
                    enum vfm_recovery how, const char *sentence)
{
    struct vfm_error err = { .code = -EIO, .message = "save: no" };

    assert_int_equal(vfm_device_recover(f->dev, fallback, &err), how);
    assert_int_equal(err.code, -EIO);
    assert_string_equal(err.message, sentence);
}

/* The same for a device whose state is not wanted any more. */
static void discard(struct fake_device *f, enum vfm_state fallback,
                    enum vfm_recovery how)
{
    enum vfm_recovery got;

    device_recover_by_reset_start(f->dev, fallback);
    while (device_recover_finish(f->dev, &got) == -EAGAIN)
        assert_int_equal(device_wait(f->dev, NULL), 0);
    assert_int_equal(got, how);
}

static void a_device_that_is_back_already_is_left_alone(void **state)
{
    struct fake_device *f = *state;

    recover(f, VFM_STATE_STOP_COPY, VFM_RECOVERY_NONE,
            "save: no; fake is STOP_COPY");
    assert_int_equal(f->calls[FAKE_SET_STATE], 0);
    assert_int_equal(f->resets, 0);
}

static void a_device_that_goes_back_loses_nothing(void **state)
{
    struct fake_device *f = *state;

    recover(f, VFM_STATE_RUNNING, VFM_RECOVERY_MOVED,
            "save: no; fake is RUNNING");
    assert_int_equal(f->resets, 0);
    assert_true(fake_runs(f, FAKE_ORIGINAL));
}

static void a_device_that_refuses_is_reset(void **state)
{
    struct fake_device *f = *state;

    fake_fail(f, FAKE_SET_STATE, 0, -EIO);
    recover(f, VFM_STATE_RUNNING, VFM_RECOVERY_RESET,
            "save: no; fake was reset, its state is lost, and is RUNNING");
    assert_int_equal(f->resets, 1);
}

static void a_device_of_a_paused_vm_is_stopped_again_after_the_reset(
    void **state)
{
    struct fake_device *f = *state;

    fake_fail(f, FAKE_SET_STATE, 0, -EIO);
    recover(f, VFM_STATE_STOP, VFM_RECOVERY_RESET,
            "save: no; fake was reset, its state is lost, and is STOP");
    assert_int_equal(f->state, VFM_STATE_STOP);
}

static void a_device_in_error_is_reset_at_once(void **state)
{
    struct fake_device *f = *state;

    fake_begin_in(f, VFM_STATE_ERROR);
    recover(f, VFM_STATE_RUNNING, VFM_RECOVERY_RESET,
            "save: no; fake was reset, its state is lost, and is RUNNING");
    assert_int_equal(f->calls[FAKE_SET_STATE], 0);
}

static void a_reset_that_leaves_the_device_stopped_is_followed_by_a_move(
    void **state)
{
    struct fake_device *f = *state;

    f->reset_keeps_state = true;
    fake_fail(f, FAKE_SET_STATE, 0, -EIO);
    recover(f, VFM_STATE_RUNNING, VFM_RECOVERY_RESET,
            "save: no; fake was reset, its state is lost, and is RUNNING");
    assert_int_equal(f->state, VFM_STATE_RUNNING);
}

static void a_device_that_refuses_the_reset_too_is_where_it_is(void **state)
{
    struct fake_device *f = *state;

    fake_fail(f, FAKE_SET_STATE, 0, -EIO)->state = VFM_STATE_STOP;
    fake_fail(f, FAKE_RESET, 0, -EINVAL);
    recover(f, VFM_STATE_RUNNING, VFM_RECOVERY_FAILED,
            "save: no; fake could not be brought back from STOP (fake: device "
            "refuses reset: Invalid argument)");
}

static void a_reset_that_is_not_even_taken_is_a_failure(void **state)
{
    struct fake_device *f = *state;

    fake_fail(f, FAKE_SET_STATE, 0, -EIO);
    fake_fail(f, FAKE_RESET, 0, -EOPNOTSUPP)->at_start = true;
    recover(f, VFM_STATE_RUNNING, VFM_RECOVERY_FAILED,
            "save: no; fake could not be brought back from STOP_COPY (fake: "
            "device refuses reset: Operation not supported)");
}

static void a_device_that_does_not_say_where_the_reset_left_it_is_lost(
    void **state)
{
    struct fake_device *f = *state;
    struct vfm_error err = { 0 };

    fake_fail(f, FAKE_SET_STATE, 0, -EIO);
    fake_fail(f, FAKE_GET_STATE, 1, -ENOTCONN);
    assert_int_equal(vfm_device_recover(f->dev, VFM_STATE_RUNNING, &err),
                     VFM_RECOVERY_FAILED);
    assert_non_null(strstr(err.message, "could not be brought back"));
    assert_non_null(strstr(err.message, "refuses get state"));
    assert_null(strchr(err.message, '\n'));
}

static void a_lie_after_the_reset_is_not_believed(void **state)
{
    struct fake_device *f = *state;
    struct vfm_error err = { 0 };

    fake_fail(f, FAKE_SET_STATE, 0, -EIO);
    fake_fail(f, FAKE_GET_STATE, 1, 0)->state = (enum vfm_state)77;
    assert_int_equal(vfm_device_recover(f->dev, VFM_STATE_RUNNING, &err),
                     VFM_RECOVERY_FAILED);
    assert_non_null(strstr(err.message, "device is in state 77"));
}

static void a_device_that_is_in_error_after_the_reset_is_lost(void **state)
{
    struct fake_device *f = *state;

    fake_fail(f, FAKE_SET_STATE, 0, -EIO);
    fake_fail(f, FAKE_GET_STATE, 1, 0)->state = VFM_STATE_ERROR;
    recover(f, VFM_STATE_RUNNING, VFM_RECOVERY_FAILED,
            "save: no; fake could not be brought back from ERROR (fake: there "
            "is no way from ERROR to RUNNING)");
}

static void a_device_that_is_gone_cannot_be_brought_back(void **state)
{
    struct fake_device *f = *state;
    struct vfm_error err = { 0 };

    fake_fail(f, FAKE_SET_STATE, 0, -ENOTCONN)->count = FAKE_FOR_EVER;
    fake_fail(f, FAKE_GET_STATE, 0, -ENOTCONN)->count = FAKE_FOR_EVER;
    fake_fail(f, FAKE_RESET, 0, -ENOTCONN)->count = FAKE_FOR_EVER;
    assert_int_equal(vfm_device_recover(f->dev, VFM_STATE_RUNNING, &err),
                     VFM_RECOVERY_FAILED);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_ERROR);
    assert_non_null(strstr(err.message, "from ERROR"));
}

static void a_fallback_that_fails_after_the_reset_is_a_failure(void **state)
{
    struct fake_device *f = *state;

    f->reset_keeps_state = true;
    fake_fail(f, FAKE_SET_STATE, 0, -EIO)->count = 2;
    recover(f, VFM_STATE_RUNNING, VFM_RECOVERY_FAILED,
            "save: no; fake could not be brought back from STOP_COPY (fake: "
            "device refuses set state: Input/output error)");
    assert_int_equal(f->resets, 1);
}

static void what_is_not_wanted_is_reset_at_once(void **state)
{
    struct fake_device *f = *state;

    fake_begin_in(f, VFM_STATE_RESUMING);
    discard(f, VFM_STATE_RUNNING, VFM_RECOVERY_RESET);
    assert_int_equal(f->calls[FAKE_SET_STATE], 0);
    assert_int_equal(f->resets, 1);
    assert_int_equal(f->state, VFM_STATE_RUNNING);
}

/* Some servers reset without leaving the state, and who knows what else they
 * keep. */
static void what_is_not_wanted_never_runs(void **state)
{
    struct fake_device *f = *state;

    f->reset_keeps_state = true;
    fake_begin_in(f, VFM_STATE_STOP);
    discard(f, VFM_STATE_RUNNING, VFM_RECOVERY_RESET);
    assert_int_equal(f->state, VFM_STATE_STOP);
    fake_begin_in(f, VFM_STATE_RESUMING);
    discard(f, VFM_STATE_RUNNING, VFM_RECOVERY_RESET);
    assert_int_equal(f->state, VFM_STATE_STOP);
}

static void what_is_not_wanted_and_refuses_the_reset_stays_as_it_is(
    void **state)
{
    struct fake_device *f = *state;

    fake_begin_in(f, VFM_STATE_STOP);
    fake_fail(f, FAKE_RESET, 0, -EINVAL);
    discard(f, VFM_STATE_RUNNING, VFM_RECOVERY_FAILED);
    assert_int_equal(f->state, VFM_STATE_STOP);
    assert_int_equal(f->calls[FAKE_SET_STATE], 0);
}

static void the_worst_of_two_recoveries_is_described(void **state)
{
    struct fake_device *f = *state;
    struct vfm_error err = { 0 };

    fake_fail(f, FAKE_SET_STATE, 0, -EIO);
    assert_int_equal(vfm_device_recover(f->dev, VFM_STATE_RUNNING_P2P, NULL),
                     VFM_RECOVERY_RESET);
    assert_int_equal(vfm_device_recover(f->dev, VFM_STATE_RUNNING, NULL),
                     VFM_RECOVERY_MOVED);
    device_recover_describe(f->dev, VFM_RECOVERY_RESET, &err);
    assert_string_equal(err.message,
                        "fake was reset, its state is lost, and is RUNNING");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_that_is_back_already_is_left_alone),
        TEST(a_device_that_goes_back_loses_nothing),
        TEST(a_device_that_refuses_is_reset),
        TEST(a_device_of_a_paused_vm_is_stopped_again_after_the_reset),
        TEST(a_device_in_error_is_reset_at_once),
        TEST(a_reset_that_leaves_the_device_stopped_is_followed_by_a_move),
        TEST(a_device_that_refuses_the_reset_too_is_where_it_is),
        TEST(a_reset_that_is_not_even_taken_is_a_failure),
        TEST(a_device_that_does_not_say_where_the_reset_left_it_is_lost),
        TEST(a_lie_after_the_reset_is_not_believed),
        TEST(a_device_that_is_in_error_after_the_reset_is_lost),
        TEST(a_device_that_is_gone_cannot_be_brought_back),
        TEST(a_fallback_that_fails_after_the_reset_is_a_failure),
        TEST(what_is_not_wanted_is_reset_at_once),
        TEST(what_is_not_wanted_never_runs),
        TEST(what_is_not_wanted_and_refuses_the_reset_stays_as_it_is),
        TEST(the_worst_of_two_recoveries_is_described),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
