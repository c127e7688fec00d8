/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocking calls over a device that needs several attempts for everything.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake-device.h"
#include "util/clock.h"

#define ALL \
    (VFM_MIGRATION_STOP_COPY | VFM_MIGRATION_P2P | VFM_MIGRATION_PRE_COPY)

static uint8_t pattern[3000];

static int set_up(void **state)
{
    struct fake_device *f = malloc(sizeof(*f));

    fake_pattern(pattern, sizeof(pattern), 2);
    fake_open(f, "fake", ALL);
    f->data = pattern;
    f->size = sizeof(pattern);
    f->delay = 3;
    f->io_delay = 2;
    f->piece = 1000;
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

static void a_slow_device_gets_where_it_should(void **state)
{
    struct fake_device *f = *state;

    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP_COPY, NULL),
                     0);
    assert_int_equal(f->state, VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_device_refresh_state(f->dev, NULL), 0);
    assert_int_equal(vfm_device_reset(f->dev, NULL), 0);
    assert_int_equal(f->state, VFM_STATE_RUNNING);
}

static void a_slow_failure_is_asked_about_slowly(void **state)
{
    struct fake_device *f = *state;

    fake_fail(f, FAKE_SET_STATE, 0, -EIO)->state = VFM_STATE_STOP;
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_RESUMING, NULL),
                     -EIO);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_STOP);
}

static void a_slow_device_is_brought_back(void **state)
{
    struct fake_device *f = *state;
    struct vfm_error err = { 0 };

    fake_begin_in(f, VFM_STATE_ERROR);
    assert_int_equal(vfm_device_recover(f->dev, VFM_STATE_STOP, &err),
                     VFM_RECOVERY_RESET);
    assert_int_equal(f->state, VFM_STATE_STOP);
}

static void a_slow_device_is_read_to_the_end(void **state)
{
    struct fake_device *f = *state;
    static uint8_t got[sizeof(pattern)];
    size_t at = 0;
    ssize_t n;

    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP_COPY, NULL),
                     0);
    while ((n = vfm_device_read(f->dev, got + at, 700, NULL)) > 0)
        at += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(at, sizeof(pattern));
    assert_memory_equal(got, pattern, sizeof(pattern));
}

static void a_slow_device_takes_all_that_is_written(void **state)
{
    struct fake_device *f = *state;

    f->expected = pattern;
    f->expected_size = sizeof(pattern);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_RESUMING, NULL), 0);
    assert_int_equal(vfm_device_write(f->dev, pattern, sizeof(pattern), NULL),
                     0);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_RUNNING, NULL), 0);
    assert_true(fake_runs(f, FAKE_LOADED));
}

static void a_device_that_misses_data_refuses_to_stop(void **state)
{
    struct fake_device *f = *state;

    f->expected = pattern;
    f->expected_size = sizeof(pattern);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_RESUMING, NULL), 0);
    assert_int_equal(vfm_device_write(f->dev, pattern, 10, NULL), 0);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL),
                     -EBADMSG);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_RESUMING);
}

static void failures_of_reads_and_writes_come_through(void **state)
{
    struct fake_device *f = *state;
    uint8_t byte = 0;

    fake_fail(f, FAKE_PEEK, 0, -EIO);
    fake_fail(f, FAKE_WRITE, 0, -ENOSPC);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP_COPY, NULL),
                     0);
    assert_int_equal(vfm_device_read(f->dev, &byte, 1, NULL), -EIO);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_RESUMING, NULL), 0);
    assert_int_equal(vfm_device_write(f->dev, &byte, 1, NULL), -ENOSPC);
}

static void sizes_are_what_the_device_says(void **state)
{
    struct fake_device *f = *state;
    struct vfm_precopy_info info = { .size = sizeof(info) };
    uint64_t bytes;

    f->pre_copy_size = 2000;
    f->initial_size = 500;
    assert_int_equal(vfm_device_data_size(f->dev, &bytes, NULL), 0);
    assert_int_equal(bytes, sizeof(pattern));
    assert_int_equal(vfm_device_precopy_info(f->dev, &info, NULL), -EINVAL);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_PRE_COPY, NULL), 0);
    assert_int_equal(vfm_device_precopy_info(f->dev, &info, NULL), 0);
    assert_int_equal(info.initial_bytes, 500);
    assert_int_equal(info.dirty_bytes, 1500);
    assert_int_equal(info.size, sizeof(info));
    f->lies_size = true;
    f->says_size = UINT64_MAX;
    assert_int_equal(vfm_device_data_size(f->dev, &bytes, NULL), 0);
    assert_true(bytes == UINT64_MAX);
}

/* A program of another version than ours: older, or newer, or wrong. */
static void an_answer_has_the_size_that_was_asked_for(void **state)
{
    struct fake_device *f = *state;
    struct {
        struct vfm_precopy_info info;
        uint64_t more;
    } newer = { { .size = sizeof(newer) }, 1 };
    struct vfm_precopy_info info = { .size = sizeof(info) - 1, .flags = 7 };
    struct vfm_error err;

    f->pre_copy_size = 2000;
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_PRE_COPY, NULL), 0);
    assert_int_equal(vfm_device_precopy_info(f->dev, &newer.info, NULL), 0);
    assert_int_equal(newer.info.size, sizeof(newer));
    assert_int_equal(newer.info.dirty_bytes + newer.info.initial_bytes, 2000);
    assert_int_equal(newer.more, 0);
    assert_int_equal(vfm_device_precopy_info(f->dev, &info, &err), -EINVAL);
    assert_non_null(strstr(err.message, "pre-copy information of"));
    assert_int_equal(info.flags, 7);
    info.size = 0;
    assert_int_equal(vfm_device_precopy_info(f->dev, &info, NULL), -EINVAL);
}

static void regions_are_read_and_written(void **state)
{
    struct fake_device *f = *state;
    uint8_t bytes[4];

    fake_set_config(f, 256);
    assert_int_equal(vfm_device_region_read(f->dev, 7, 0, bytes, 4, NULL), 0);
    assert_memory_equal(bytes, f->config, 4);
    assert_int_equal(vfm_device_region_write(f->dev, 7, 0x10, bytes, 4, NULL),
                     0);
    assert_memory_equal(bytes, f->config + 0x10, 4);
    assert_int_equal(vfm_device_region_read(f->dev, 7, 254, bytes, 4, NULL),
                     -EINVAL);
}

static void a_silent_device_fails_at_its_deadline(void **state)
{
    struct fake_device *f = *state;
    int64_t began = clock_now();

    f->silent = true;
    f->silence_ends = began + 20 * NS_PER_MS;
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL),
                     -ETIMEDOUT);
    assert_int_equal(vfm_device_state(f->dev), VFM_STATE_ERROR);
    assert_true(clock_now() >= f->silence_ends);
    assert_true(clock_now() - began < NS_PER_SEC);
}

static void a_call_that_failed_leaves_the_handle_usable(void **state)
{
    struct fake_device *f = *state;
    uint64_t bytes;

    fake_fail(f, FAKE_DATA_SIZE, 0, -EOPNOTSUPP);
    fake_fail(f, FAKE_DATA_SIZE, 1, -EIO)->at_start = true;
    assert_int_equal(vfm_device_data_size(f->dev, &bytes, NULL), -EOPNOTSUPP);
    assert_int_equal(vfm_device_data_size(f->dev, &bytes, NULL), -EIO);
    assert_int_equal(vfm_device_data_size(f->dev, &bytes, NULL), 0);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void a_device_that_has_not_answered_yet_is_busy(void **state)
{
    struct fake_device *f = *state;
    struct device_call call = { .op = DEVICE_DATA_SIZE };
    struct vfm_error err = { 0 };
    uint64_t bytes;

    assert_int_equal(device_call_start(f->dev, &call, NULL), 0);
    assert_int_equal(vfm_device_data_size(f->dev, &bytes, &err), -EBUSY);
    assert_string_equal(err.message, "fake: another call is under way");
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL),
                     -EBUSY);
    assert_int_equal(vfm_device_reset(f->dev, NULL), -EBUSY);
    assert_int_equal(vfm_device_recover(f->dev, VFM_STATE_STOP, &err),
                     VFM_RECOVERY_FAILED);
    while (device_call_finish(f->dev, &call, NULL) == -EAGAIN)
        assert_int_equal(device_wait(f->dev, NULL), 0);
    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP, NULL), 0);
}

static void a_read_without_room_does_not_look_like_the_end(void **state)
{
    struct fake_device *f = *state;
    char byte;

    assert_int_equal(vfm_device_set_state(f->dev, VFM_STATE_STOP_COPY, NULL),
                     0);
    assert_int_equal(vfm_device_read(f->dev, &byte, 0, NULL), -EINVAL);
    assert_int_equal(vfm_device_read(f->dev, &byte, 1, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slow_device_gets_where_it_should),
        TEST(a_slow_failure_is_asked_about_slowly),
        TEST(a_slow_device_is_brought_back),
        TEST(a_slow_device_is_read_to_the_end),
        TEST(a_slow_device_takes_all_that_is_written),
        TEST(a_device_that_misses_data_refuses_to_stop),
        TEST(failures_of_reads_and_writes_come_through),
        TEST(sizes_are_what_the_device_says),
        TEST(an_answer_has_the_size_that_was_asked_for),
        TEST(regions_are_read_and_written),
        TEST(a_silent_device_fails_at_its_deadline),
        TEST(a_call_that_failed_leaves_the_handle_usable),
        TEST(a_device_that_has_not_answered_yet_is_busy),
        TEST(a_read_without_room_does_not_look_like_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
