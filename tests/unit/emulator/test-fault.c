/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The grammar of faults, and when one is due.
 */
#include <errno.h>

#include "test.h"

#include "emulator/fault.h"
#include "protocol/vfio-uapi.h"
#include "protocol/vfio-user.h"

static struct fault_list parse(const char *option, const char *text)
{
    struct fault_list list = { 0 };
    struct vfm_error err;

    if (fault_add(&list, option, text, &err) < 0)
        fail_msg("%s", err.message);
    return list;
}

static void what_can_be_said_is_understood(void **state)
{
    static const char *const rows[][2] = {
        { "fail", "PRE_COPY>PRE_COPY_P2P" },
        { "fail", "STOP_COPY:EBUSY,leave=error,count=3,skip=2" },
        { "fail", "STOP:110,leave=RUNNING" },
        { "fail", "MIG_DATA_READ:ENOMEM" },
        { "fail", "LOG_START" },
        { "fail", "read@1M:EFAULT" },
        { "fail", "write@0" },
        { "fail", "DEVICE_RESET" },
        { "delay", "STOP_COPY:500" },
        { "delay", "MIG_DATA_WRITE:0,skip=7" },
        { "short", "read@100" },
        { "short", "read@100:0" },
        { "corrupt", "read@12345" },
        { "corrupt", "write@12345:data" },
        { "corrupt", "VERSION:deep" },
        { "corrupt", "DEVICE_GET_REGION_INFO:cap-loop,count=0" },
        { "corrupt", "RESUMING>STOP:error-zero" },
        { "close", "STOP_COPY" },
        { "close", "MIG_DATA_READ,when=mid" },
        { "close", "read@1,when=unanswered" },
        { "inject", "MIG_DATA_READ" },
        { "inject", "DEVICE_STATE:reply" },
    };

    (void)state;
    for (size_t i = 0; i < NUM(rows); i++)
        assert_int_equal(parse(rows[i][0], rows[i][1]).count, 1);
}

static void what_makes_no_sense_is_refused_with_the_words(void **state)
{
    static const char *const rows[][2] = {
        { "fail", "" },
        { "fail", "," },
        { "fail", "NOWHERE" },
        { "fail", "STOP>" },
        { "fail", "STOP>NOWHERE" },
        { "fail", "STOP:EWHAT" },
        { "fail", "STOP:0" },
        { "fail", "STOP,leave=NOWHERE" },
        { "fail", "MIG_DATA_READ,leave=STOP" },
        { "fail", "STOP,when=mid" },
        { "fail", "STOP,count" },
        { "fail", "STOP,count=x" },
        { "fail", "read@" },
        { "fail", "read@-1" },
        { "delay", "STOP" },
        { "delay", "STOP:soon" },
        { "short", "write@1" },
        { "short", "STOP" },
        { "corrupt", "MIG_DATA_READ" },
        { "corrupt", "MIG_DATA_READ:data" },
        { "corrupt", "MIG_DATA_READ:dma-read" },
        { "close", "STOP:mid" },
        { "close", "STOP,when=never" },
        { "inject", "STOP" },
        { "inject", "read@1" },
        { "inject", "VERSION:deep" },
        { "explode", "STOP" },
    };

    (void)state;
    for (size_t i = 0; i < NUM(rows); i++) {
        struct fault_list list = { 0 };
        struct vfm_error err = { 0 };

        if (fault_add(&list, rows[i][0], rows[i][1], &err) != -EINVAL)
            fail_msg("--%s %s is accepted", rows[i][0], rows[i][1]);
        assert_non_null(strstr(err.message, rows[i][0]));
    }
}

static void a_fault_happens_once_if_nothing_else_is_said(void **state)
{
    struct fault_list l = parse("fail", "STOP>STOP_COPY:EBUSY");
    const struct fault *f;

    (void)state;
    assert_null(fault_at_step(&l, FAULT_FAIL, UAPI_STATE_PRE_COPY,
                              UAPI_STATE_STOP_COPY));
    assert_null(
        fault_at_step(&l, FAULT_DELAY, UAPI_STATE_STOP, UAPI_STATE_STOP_COPY));
    f = fault_at_step(&l, FAULT_FAIL, UAPI_STATE_STOP, UAPI_STATE_STOP_COPY);
    assert_non_null(f);
    assert_int_equal(f->error, EBUSY);
    assert_int_equal(f->leave, -1);
    assert_null(
        fault_at_step(&l, FAULT_FAIL, UAPI_STATE_STOP, UAPI_STATE_STOP_COPY));
    assert_int_equal(l.fired, 1);
}

static void count_and_skip_choose_the_times(void **state)
{
    struct fault_list l = parse("fail", "STOP,count=2,skip=3");
    struct fault_list always = parse("fail", "STOP,count=0");

    (void)state;
    for (int i = 0; i < 8; i++) {
        const struct fault *f = fault_at_step(
            &l, FAULT_FAIL, UAPI_STATE_RUNNING_P2P, UAPI_STATE_STOP);

        assert_int_equal(f != NULL, i == 3 || i == 4);
        assert_non_null(fault_at_step(&always, FAULT_FAIL,
                                      UAPI_STATE_RUNNING_P2P, UAPI_STATE_STOP));
    }
}

static void an_offset_is_met_by_the_bytes_that_cover_it(void **state)
{
    struct fault_list l = parse("corrupt", "read@100,count=0");

    (void)state;
    assert_null(fault_at_bytes(&l, FAULT_CORRUPT, false, 0, 100));
    assert_null(fault_at_bytes(&l, FAULT_CORRUPT, false, 101, 100));
    assert_null(fault_at_bytes(&l, FAULT_CORRUPT, true, 0, 200));
    assert_null(fault_at_bytes(&l, FAULT_CORRUPT, false, 100, 0));
    assert_non_null(fault_at_bytes(&l, FAULT_CORRUPT, false, 100, 1));
    assert_non_null(fault_at_bytes(&l, FAULT_CORRUPT, false, 0, 101));
    assert_non_null(fault_at_bytes(&l, FAULT_CORRUPT, false, 0, UINT64_MAX));
}

static void commands_and_features_are_told_apart(void **state)
{
    struct fault_list command = parse("fail", "DEVICE_FEATURE,count=0");
    struct fault_list feature = parse("fail", "LOG_REPORT,count=0");

    (void)state;
    assert_non_null(fault_at_command(&command, FAULT_FAIL, VFU_DEVICE_FEATURE,
                                     UAPI_FEATURE_LOG_REPORT));
    assert_non_null(fault_at_command(&feature, FAULT_FAIL, VFU_DEVICE_FEATURE,
                                     UAPI_FEATURE_LOG_REPORT));
    assert_null(fault_at_command(&feature, FAULT_FAIL, VFU_DEVICE_FEATURE,
                                 UAPI_FEATURE_LOG_STOP));
    assert_null(fault_at_command(&command, FAULT_FAIL, VFU_MIG_DATA_READ, 0));
}

static void there_is_room_for_many_and_an_end(void **state)
{
    struct fault_list l = { 0 };
    struct vfm_error err;

    (void)state;
    for (int i = 0; i < FAULTS_MAX; i++)
        assert_int_equal(fault_add(&l, "fail", "STOP", &err), 0);
    assert_int_equal(fault_add(&l, "fail", "STOP", &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_can_be_said_is_understood),
        cmocka_unit_test(what_makes_no_sense_is_refused_with_the_words),
        cmocka_unit_test(a_fault_happens_once_if_nothing_else_is_said),
        cmocka_unit_test(count_and_skip_choose_the_times),
        cmocka_unit_test(an_offset_is_met_by_the_bytes_that_cover_it),
        cmocka_unit_test(commands_and_features_are_told_apart),
        cmocka_unit_test(there_is_room_for_many_and_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
