/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bandwidth limit's arithmetic, against a clock that the test sets.
 */
#include "fixture.h"
#include "channel/limit.h"
#include "util/clock.h"

#define MIB  UINT64_C(1048576)
#define PAGE 4096

/* Sends @want at a time for @span as fast as the limit lets it; returns how
 * much that was. */
static uint64_t run(struct limit *limit, int64_t from, int64_t span,
                    uint64_t want)
{
    int64_t now = from;
    uint64_t sent = 0;

    while (now < from + span) {
        uint64_t n = limit_allowance(limit, now, want);

        if (n == 0) {
            int64_t at = limit_ready_at(limit);

            assert_true(at > now);
            now = at;
            continue;
        }
        assert_true(n <= want);
        limit_take(limit, now, n);
        sent += n;
    }
    return sent;
}

static void no_limit_lets_everything_pass(void **state)
{
    struct limit limit = { 0 };

    (void)state;
    assert_int_equal(limit_allowance(&limit, 5, UINT64_MAX), UINT64_MAX);
    limit_take(&limit, 5, UINT64_MAX);
    assert_int_equal(limit_allowance(&limit, 5, 1), 1);
    assert_int_equal(limit_ready_at(&limit), 0);
}

static void the_rate_is_kept_over_time(void **state)
{
    static const uint64_t rates[] = {
        1, 100, PAGE, MIB, 100 * MIB, 12345678901, 7, MIB * 65536
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct limit limit = { 0 };
        uint64_t burst = rates[i] / 50 < PAGE ? PAGE : rates[i] / 50;
        uint64_t sent;

        limit_set_rate(&limit, 1000, rates[i]);
        sent = run(&limit, 1000, 10 * NS_PER_SEC, MIB);
        /* The bucket was full to begin with, and may end half full. */
        assert_in_range(sent, rates[i] * 10 - rates[i] / 1000,
                        rates[i] * 10 + burst + rates[i] / 1000);
    }
}

static void a_burst_is_a_fiftieth_of_a_second(void **state)
{
    struct limit limit = { 0 };

    (void)state;
    limit_set_rate(&limit, 0, 50 * MIB);
    assert_int_equal(limit_allowance(&limit, 0, 8 * MIB), MIB);
    limit_take(&limit, 0, MIB);
    assert_int_equal(limit_allowance(&limit, 0, 8 * MIB), 0);
    /* Not byte by byte: half a bucket takes half of the time. */
    assert_int_equal(limit_ready_at(&limit), 10 * NS_PER_MS);
    assert_int_equal(limit_allowance(&limit, 10 * NS_PER_MS - 1, 8 * MIB), 0);
    assert_int_equal(limit_allowance(&limit, 10 * NS_PER_MS, 8 * MIB), MIB / 2);
}

static void an_hour_of_silence_earns_one_burst(void **state)
{
    struct limit limit = { 0 };
    int64_t now = 3600 * NS_PER_SEC;

    (void)state;
    limit_set_rate(&limit, 0, 50 * MIB);
    assert_int_equal(limit_allowance(&limit, now, 80 * MIB), MIB);
    limit_take(&limit, now, MIB);
    assert_int_equal(limit_allowance(&limit, now, 80 * MIB), 0);
}

static void a_slow_limit_lets_a_page_pass(void **state)
{
    struct limit limit = { 0 };

    (void)state;
    limit_set_rate(&limit, 0, 1);
    assert_int_equal(limit_allowance(&limit, 0, MIB), PAGE);
    limit_take(&limit, 0, PAGE);
    assert_int_equal(limit_allowance(&limit, 0, 3), 0);
    assert_int_equal(limit_ready_at(&limit), 3 * NS_PER_SEC);
}

static void the_last_bytes_do_not_wait_for_half_a_bucket(void **state)
{
    struct limit limit = { 0 };

    (void)state;
    limit_set_rate(&limit, 0, 50 * MIB);
    limit_take(&limit, 0, MIB - 100);
    assert_int_equal(limit_allowance(&limit, 0, 99), 99);
}

static void a_new_rate_counts_from_now_on(void **state)
{
    struct limit limit = { 0 };

    (void)state;
    limit_set_rate(&limit, 0, 50 * MIB);
    limit_take(&limit, 0, MIB);
    limit_set_rate(&limit, 0, 500 * MIB);
    /* An empty bucket stays empty, and fills ten times as fast. */
    assert_int_equal(limit_allowance(&limit, 0, 1), 0);
    assert_int_equal(limit_allowance(&limit, 2 * NS_PER_MS, MIB), MIB);
    /* A full one loses what the smaller one cannot hold. */
    limit_set_rate(&limit, NS_PER_SEC, 50 * MIB);
    assert_int_equal(limit_allowance(&limit, NS_PER_SEC, 90 * MIB), MIB);
}

static void lifting_the_limit_lets_go_at_once(void **state)
{
    struct limit limit = { 0 };

    (void)state;
    limit_set_rate(&limit, 0, 1);
    limit_take(&limit, 0, MIB);
    assert_int_equal(limit_allowance(&limit, 0, MIB), 0);
    limit_set_rate(&limit, 0, 0);
    assert_int_equal(limit_ready_at(&limit), 0);
    assert_int_equal(limit_allowance(&limit, 0, MIB), MIB);
}

static void extremes_do_not_overflow(void **state)
{
    struct limit limit = { 0 };

    (void)state;
    limit_set_rate(&limit, INT64_MAX / 2, UINT64_MAX);
    assert_int_equal(limit_allowance(&limit, INT64_MAX / 2, UINT64_MAX),
                     UINT64_MAX / 50);
    limit_set_rate(&limit, INT64_MAX / 2, 1);
    limit_take(&limit, INT64_MAX / 2, UINT64_MAX);
    assert_int_equal(limit_allowance(&limit, INT64_MAX / 2, 1), 0);
    assert_true(limit_ready_at(&limit) > INT64_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_limit_lets_everything_pass),
        cmocka_unit_test(the_rate_is_kept_over_time),
        cmocka_unit_test(a_burst_is_a_fiftieth_of_a_second),
        cmocka_unit_test(an_hour_of_silence_earns_one_burst),
        cmocka_unit_test(a_slow_limit_lets_a_page_pass),
        cmocka_unit_test(the_last_bytes_do_not_wait_for_half_a_bucket),
        cmocka_unit_test(a_new_rate_counts_from_now_on),
        cmocka_unit_test(lifting_the_limit_lets_go_at_once),
        cmocka_unit_test(extremes_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
