/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a bench's file to a downtime.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "predict.h"

#define MS           UINT64_C(1000000)
#define MIB          (UINT64_C(1) << 20)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void set(struct predict_file *file, enum bench_figure figure,
                uint64_t value)
{
    file->values[figure] = (struct bench_value){
        .is_known = true, .median = value, .min = value, .max = value
    };
}

/* 3 ms of arcs, 100 ms of state at 1000 MiB/s, a link of 4 times that, there
 * and back in 2 ms, once of which is in the time it was stopped. */
static struct predict_file a_trial(uint64_t busy)
{
    struct predict_file file = { 0 };

    set(&file, BENCH_TRIAL_STOP_NS, 1 * MS);
    set(&file, BENCH_TRIAL_CHECK_NS, 1 * MS);
    set(&file, BENCH_TRIAL_START_NS, 1 * MS);
    set(&file, BENCH_TRIAL_STOPPED_NS, 104 * MS);
    set(&file, BENCH_TRIAL_BYTES, 100 * MIB);
    set(&file, BENCH_TRIAL_BUSY, busy);
    set(&file, BENCH_RTT_NS, 2 * MS);
    set(&file, BENCH_LINK_RATE, 4000 * MIB);
    return file;
}

static struct prediction predict(const struct predict_file *files, size_t count,
                                 unsigned int devices)
{
    const struct predict_input in = { .files = files,
                                      .count = count,
                                      .devices = devices };
    struct prediction p;

    assert_int_equal(predict_compute(&in, &p, NULL), 0);
    assert_true(p.low_ns <= p.ns && p.ns <= p.high_ns);
    return p;
}

static void a_trial_is_its_arcs_its_state_and_the_handover(void **state)
{
    struct predict_file file = a_trial(1000);
    struct prediction p = predict(&file, 1, 1);

    (void)state;
    assert_int_equal(p.device_ns, 3 * MS);
    assert_int_equal(p.data_ns, 100 * MS);
    assert_int_equal(p.link_ns, 4 * MS);
    assert_int_equal(p.ns, 107 * MS);
    assert_true(p.is_from_trial);
}

static void devices_on_busy_processors_move_one_after_the_other(void **state)
{
    struct predict_file file = a_trial(1000);
    struct prediction p = predict(&file, 1, 4);

    (void)state;
    assert_int_equal(p.device_ns, 3 * MS);
    assert_int_equal(p.data_ns, 400 * MS);
}

static void devices_on_idle_processors_move_at_once(void **state)
{
    struct predict_file file = a_trial(100);

    (void)state;
    assert_int_equal(predict(&file, 1, 2).data_ns, 100 * MS);
    /* As far as the link has room: four of them. */
    assert_int_equal(predict(&file, 1, 8).data_ns, 200 * MS);
}

static void a_slower_link_takes_longer(void **state)
{
    struct predict_file file = a_trial(1000);
    const struct predict_input in = {
        .files = &file,
        .count = 1,
        .devices = 1,
        .link = { .is_given = true, .bytes_per_sec = 100 * MIB },
    };
    struct prediction p;

    (void)state;
    assert_int_equal(predict_compute(&in, &p, NULL), 0);
    assert_int_equal(p.data_ns, 1000 * MS);
    assert_int_equal(p.link_ns, 0);
}

static void single_rates_are_added_up(void **state)
{
    struct predict_file file = { 0 };
    struct prediction p;

    (void)state;
    set(&file, BENCH_STOP_NS, MS);
    set(&file, BENCH_RUN_NS, MS);
    set(&file, BENCH_STOP_COPY_BYTES, 100 * MIB);
    set(&file, BENCH_SAVE_RATE, 1000 * MIB);
    p = predict(&file, 1, 1);
    assert_int_equal(p.ns, 102 * MS);
    assert_false(p.is_from_trial);
    assert_true(p.high_ns >= 2 * p.ns - 1);
    assert_true(p.low_ns <= p.ns / 2 + 1);
    set(&file, BENCH_LOAD_RATE, 500 * MIB);
    assert_int_equal(predict(&file, 1, 1).ns, 302 * MS);
    assert_false(predict(&file, 1, 1).has_link);
    set(&file, BENCH_LINK_RATE, 1000 * MIB);
    assert_int_equal(predict(&file, 1, 1).ns, 402 * MS);
    assert_true(predict(&file, 1, 1).has_link);
}

static void what_takes_for_ever_is_a_number(void **state)
{
    struct predict_file file = a_trial(1000);
    struct predict_input in = { .files = &file, .count = 1, .devices = 64 };
    struct prediction p;

    (void)state;
    set(&file, BENCH_TRIAL_BYTES, UINT64_C(1) << 55);
    in.link = (struct predict_link){ .is_given = true, .bytes_per_sec = 1 };
    assert_int_equal(predict_compute(&in, &p, NULL), 0);
    assert_true(p.data_ns > UINT64_C(1) << 57);
    assert_true(p.low_ns <= p.ns && p.ns <= p.high_ns);
    assert_true(p.high_ns < UINT64_C(1) << 60);
}

static void what_is_limited_takes_longer(void **state)
{
    struct predict_file file = a_trial(100);
    struct predict_input in = { .files = &file, .count = 1, .devices = 4 };
    struct prediction p;

    (void)state;
    in.max_bandwidth = 100 * MIB;
    assert_int_equal(predict_compute(&in, &p, NULL), 0);
    assert_int_equal(p.data_ns, 4000 * MS);
    /* No luck makes a link faster. */
    assert_true(p.low_ns >= 3600 * MS);
    in.max_bandwidth = 0;
    in.parallel = 3;
    assert_int_equal(predict_compute(&in, &p, NULL), 0);
    assert_int_equal(p.device_ns, 2 * 3 * MS);
}

static void what_was_never_measured_is_no_prediction(void **state)
{
    struct predict_file file = { 0 };
    const struct predict_input in = { .files = &file,
                                      .count = 1,
                                      .devices = 1 };
    struct prediction p;
    struct vfm_error err;

    (void)state;
    set(&file, BENCH_RTT_NS, MS);
    assert_int_equal(predict_compute(&in, &p, &err), -EINVAL);
    assert_non_null(strstr(err.message, "vfmig bench -d DEVICE"));
}

static void a_file_that_is_none_is_refused(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } rows[] = {
        { "", "not JSON" },
        { "{\"vfmig_bench\": 1", "not JSON" },
        { "[[[[[[[[[[1]]]]]]]]]]", "not JSON" },
        { "1", "not written by" },
        { "{}", "not written by" },
        { "{\"vfmig_bench\": \"1\"}", "not written by" },
        { "{\"vfmig_bench\": 2}", "version 2, not 1" },
        { "{\"vfmig_bench\": -1}", "version -1" },
        { "{\"vfmig_bench\":1,\"save\":{\"stop_ns\":7}}", "no object" },
        { "{\"vfmig_bench\":1,\"save\":{\"stop_ns\":{}}}", "no number" },
        { "{\"vfmig_bench\":1,\"save\":{\"stop_ns\":{\"median\":1.5}}}",
          "no number 'median'" },
        { "{\"vfmig_bench\":1,\"save\":{\"stop_ns\":{\"median\":-1}}}",
          "cannot be" },
        { "{\"vfmig_bench\":1,\"save\":{\"stop_ns\":"
          "{\"median\":9223372036854775807}}}",
          "cannot be" },
        { "{\"vfmig_bench\":1,\"save\":{\"stop_ns\":"
          "{\"median\":1,\"min\":2,\"max\":3}}}",
          "not between" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct predict_file file;
        struct vfm_error err = { 0 };

        assert_int_equal(
            predict_parse(rows[i].text, strlen(rows[i].text), &file, &err),
            -EBADMSG);
        assert_non_null(strstr(err.message, rows[i].why));
    }
}

static void what_a_file_has_is_known_and_nothing_else(void **state)
{
    static const char text[] =
        "{\"vfmig_bench\":1,\"save\":{\"stop_ns\":"
        "{\"median\":2,\"min\":1,\"max\":3}},\"link\":7,\"more\":[]}";
    struct predict_file file;

    (void)state;
    assert_int_equal(predict_parse(text, strlen(text), &file, NULL), 0);
    for (int i = 0; i < BENCH_FIGURES; i++)
        assert_int_equal(file.values[i].is_known, i == BENCH_STOP_NS);
    assert_int_equal(file.values[BENCH_STOP_NS].median, 2);
    assert_int_equal(file.values[BENCH_STOP_NS].min, 1);
    assert_int_equal(file.values[BENCH_STOP_NS].max, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trial_is_its_arcs_its_state_and_the_handover),
        cmocka_unit_test(devices_on_busy_processors_move_one_after_the_other),
        cmocka_unit_test(devices_on_idle_processors_move_at_once),
        cmocka_unit_test(a_slower_link_takes_longer),
        cmocka_unit_test(single_rates_are_added_up),
        cmocka_unit_test(what_takes_for_ever_is_a_number),
        cmocka_unit_test(what_is_limited_takes_longer),
        cmocka_unit_test(what_was_never_measured_is_no_prediction),
        cmocka_unit_test(a_file_that_is_none_is_refused),
        cmocka_unit_test(what_a_file_has_is_known_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
