/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * When the devices are stopped: one row, one decision.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "migration/policy.h"

#define MS       UINT64_C(1000000)
#define SEC      UINT64_C(1000000000)
#define MIB      (UINT64_C(1) << 20)
#define GIB      (UINT64_C(1) << 30)
#define UNKNOWN  POLICY_UNKNOWN

/* 1 GiB/s, 300 ms, ten seconds of patience, and it still helps to wait. */
#define RATE     .bytes_per_sec = GIB
#define LIMIT    .limit_ns = 300 * MS
#define PATIENCE .timeout_ns = 10 * SEC
#define BEFORE   .remaining_before = UNKNOWN
#define USUAL    RATE, LIMIT, PATIENCE, BEFORE

struct row {
    const char *what;
    struct policy_input in;
    enum policy_verdict verdict;
};

static const struct row rows[] = {
    { "too much is left",
      { USUAL, .remaining = GIB, .elapsed_ns = SEC },
      POLICY_CONTINUE },
    { "little is left, and less all the time",
      { USUAL, .remaining = 100 * MIB },
      POLICY_CONTINUE },
    { "little is left, and there is no more for now",
      { USUAL, .remaining = 100 * MIB, .drained = true },
      POLICY_SWITCH },
    { "little is left, and not less than before",
      { RATE, LIMIT, PATIENCE, .remaining = 100 * MIB,
        .remaining_before = 100 * MIB, .has_moved = true },
      POLICY_SWITCH },
    { "little is left, and not less than before, for the link is blocked",
      { RATE, LIMIT, PATIENCE, .remaining = 100 * MIB,
        .remaining_before = 100 * MIB },
      POLICY_CONTINUE },
    { "nothing is left",
      { USUAL, .remaining = 0, .drained = true },
      POLICY_SWITCH },
    { "initial data is on its way",
      { USUAL, .remaining = 0, .drained = true, .initial_pending = true },
      POLICY_CONTINUE },
    { "initial data does not arrive in time",
      { USUAL, .drained = true, .initial_pending = true,
        .elapsed_ns = 10 * SEC },
      POLICY_GIVE_UP },
    { "nobody says how much is left, and there is more",
      { USUAL, .remaining = UNKNOWN },
      POLICY_CONTINUE },
    { "nobody says how much is left, and there is no more for now",
      { USUAL, .remaining = UNKNOWN, .drained = true },
      POLICY_SWITCH },
    { "the rate is not known, and there is more",
      { LIMIT, PATIENCE, BEFORE, .remaining = MIB },
      POLICY_CONTINUE },
    { "the rate is not known, and there is no more for now",
      { LIMIT, PATIENCE, BEFORE, .remaining = MIB, .drained = true },
      POLICY_SWITCH },
    { "what is left cannot get less by waiting",
      { USUAL, .remaining = 2 * GIB, .irreducible = GIB, .drained = true },
      POLICY_SWITCH },
    { "some of what is left could get less by waiting",
      { USUAL, .remaining = 2 * GIB, .irreducible = GIB },
      POLICY_CONTINUE },
    { "the devices that cannot wait take little",
      { USUAL, .remaining = 2 * GIB, .irreducible = MIB, .drained = true },
      POLICY_CONTINUE },
    { "time is over",
      { USUAL, .remaining = GIB, .elapsed_ns = 10 * SEC },
      POLICY_GIVE_UP },
    { "time is over, and nobody minds",
      { USUAL, .remaining = GIB, .elapsed_ns = 10 * SEC, .force = true },
      POLICY_SWITCH },
    { "time is over when little is left",
      { USUAL, .remaining = MIB, .drained = true, .elapsed_ns = 20 * SEC },
      POLICY_SWITCH },
    { "numbers that no clock holds",
      { LIMIT, PATIENCE, BEFORE, .remaining = UNKNOWN - 1, .bytes_per_sec = 1 },
      POLICY_CONTINUE },
    { "a limit without end",
      { PATIENCE, BEFORE, .remaining = UNKNOWN - 1, .bytes_per_sec = 1,
        .limit_ns = UNKNOWN, .drained = true },
      POLICY_SWITCH },
};

/* Memory as well: the devices have nothing more, unless a row says so. */
#define RAM                                                          \
    RATE, LIMIT, PATIENCE, BEFORE, .has_ram = true, .drained = true, \
                                   .ram_bytes_per_sec = GIB

static const struct row memory_rows[] = {
    { "little is dirty, and the trackers were asked just now",
      { RAM, .ram = { .exact = true,
                      .dirty = 100 * MIB,
                      .dirty_before = 100 * MIB } },
      POLICY_SWITCH },
    { "little is known to be dirty, but nobody asked the trackers",
      { RAM, .ram = { .dirty = 100 * MIB, .dirty_before = 100 * MIB } },
      POLICY_CONTINUE },
    { "little is dirty, and the next round leaves less",
      { RAM, .ram = { .exact = true,
                      .dirty = 100 * MIB,
                      .dirty_before = 200 * MIB } },
      POLICY_CONTINUE },
    { "the next round leaves less, as it did eight times",
      { RAM, .ram = { .exact = true,
                      .dirty = 100 * MIB,
                      .dirty_before = 200 * MIB,
                      .chances = 8 } },
      POLICY_SWITCH },
    { "nothing is dirty",
      { RAM, .ram = { .exact = true, .dirty_before = GIB } },
      POLICY_SWITCH },
    { "nothing is dirty, but the devices have more",
      { RATE, LIMIT, PATIENCE, BEFORE, .has_ram = true, .remaining = MIB,
        .ram_bytes_per_sec = GIB, .ram = { .exact = true } },
      POLICY_CONTINUE },
    { "too much is dirty",
      { RAM, .ram = { .exact = true, .dirty = GIB, .dirty_before = GIB } },
      POLICY_CONTINUE },
    { "memory and devices fit, but not both",
      { RAM, .remaining = 200 * MIB,
        .ram = { .exact = true,
                 .dirty = 200 * MIB,
                 .dirty_before = 200 * MIB } },
      POLICY_CONTINUE },
    { "the devices do not fit and never will: memory alone counts",
      { RAM, .remaining = 2 * GIB, .irreducible = 2 * GIB,
        .ram = { .exact = true,
                 .dirty = 100 * MIB,
                 .dirty_before = 100 * MIB } },
      POLICY_SWITCH },
    { "asking the trackers takes too long",
      { RAM, .ram = { .exact = true, .sync_ns = 400 * MS } },
      POLICY_CONTINUE },
    { "what is blind fits",
      { RAM, .ram = { .exact = true, .blind = 100 * MIB } },
      POLICY_SWITCH },
    { "what is blind alone does not fit",
      { RAM, .ram = { .exact = true, .blind = GIB } },
      POLICY_GIVE_UP },
    { "what is blind alone does not fit, and nobody minds",
      { RAM, .force = true, .ram = { .exact = true, .blind = GIB } },
      POLICY_SWITCH },
    { "what is blind does not fit, and nobody has measured yet",
      { RAM, .ram = { .blind = GIB } },
      POLICY_CONTINUE },
    { "little is dirty, at a rate that nobody knows",
      { LIMIT, PATIENCE, BEFORE, .has_ram = true, .drained = true,
        .ram = { .exact = true, .dirty = MIB / 2, .dirty_before = MIB / 2 } },
      POLICY_SWITCH },
    { "much is dirty, at a rate that nobody knows",
      { LIMIT, PATIENCE, BEFORE, .has_ram = true, .drained = true,
        .ram = { .exact = true, .dirty = MIB, .dirty_before = MIB } },
      POLICY_CONTINUE },
    { "time is over",
      { RAM, .elapsed_ns = 10 * SEC,
        .ram = { .exact = true, .dirty = GIB, .dirty_before = GIB } },
      POLICY_GIVE_UP },
    { "time is over, and nobody minds",
      { RAM, .elapsed_ns = 10 * SEC, .force = true,
        .ram = { .exact = true, .dirty = GIB, .dirty_before = GIB } },
      POLICY_SWITCH },
    { "numbers that no clock holds",
      { RAM, .ram = { .exact = true,
                      .dirty = UNKNOWN - 1,
                      .dirty_before = UNKNOWN - 1 } },
      POLICY_CONTINUE },
};

static void check_rows(const struct row *row, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct policy_decision d = policy_decide(&row[i].in);

        if (d.verdict != row[i].verdict)
            fail_msg("%s: %u, not %u", row[i].what, (unsigned int)d.verdict,
                     (unsigned int)row[i].verdict);
        if (d.verdict == POLICY_GIVE_UP)
            assert_non_null(d.why);
    }
}

static void every_row_has_its_verdict(void **state)
{
    (void)state;
    check_rows(rows, sizeof(rows) / sizeof(rows[0]));
    check_rows(memory_rows, sizeof(memory_rows) / sizeof(memory_rows[0]));
}

/* Whatever the numbers are: without force nothing stops beyond the limit for
 * memory's sake. */
static void memory_never_stops_beyond_the_limit(void **state)
{
    (void)state;
    srand(5);
    for (int i = 0; i < 200000; i++) {
        struct policy_input in = { RAM, .remaining = (uint64_t)rand() % GIB };
        struct policy_decision d;

        in.ram.exact = rand() % 2;
        in.ram.dirty = (uint64_t)rand() % GIB;
        in.ram.dirty_before = (uint64_t)rand() % GIB;
        in.ram.blind = rand() % 4 == 0 ? (uint64_t)rand() % GIB : 0;
        in.ram.sync_ns = (uint64_t)rand() % (400 * MS);
        in.ram.chances = (unsigned int)rand() % 10;
        in.elapsed_ns = (uint64_t)rand() % (20 * SEC);
        d = policy_decide(&in);
        if (d.verdict == POLICY_SWITCH)
            assert_true(in.ram.exact && d.expected_ns <= in.limit_ns);
    }
}

static void a_guest_is_slowed_step_by_step(void **state)
{
    unsigned int percent = 0;
    unsigned int steps = 0;

    (void)state;
    for (; percent < 99; steps++) {
        unsigned int next = policy_slower(percent);

        assert_true(next > percent && next <= 99);
        percent = next;
    }
    assert_int_equal(steps, 9);
    assert_int_equal(policy_slower(99), 99);
    assert_true(policy_is_hot(51, 100));
    assert_false(policy_is_hot(50, 100));
}

static void the_expected_downtime_is_size_by_rate(void **state)
{
    struct policy_input in = { USUAL, .remaining = GIB };

    (void)state;
    assert_true(policy_decide(&in).expected_ns == SEC);
    in.remaining = UNKNOWN;
    assert_true(policy_decide(&in).expected_ns == UNKNOWN);
    in.remaining = 0;
    in.bytes_per_sec = 0;
    assert_true(policy_decide(&in).expected_ns == 0);
}

static void why_it_is_given_up_is_told(void **state)
{
    struct policy_input in = { USUAL, .remaining = GIB,
                               .elapsed_ns = 10 * SEC };

    (void)state;
    assert_non_null(strstr(policy_decide(&in).why, "little enough"));
    in.has_ram = true;
    in.ram.sync_ns = SEC;
    assert_non_null(strstr(policy_decide(&in).why, "faster than"));
    in.initial_pending = true;
    assert_non_null(strstr(policy_decide(&in).why, "initial data"));
}

static void of_two_answers_the_larger_plausible_one_counts(void **state)
{
    static const struct {
        uint64_t data_size;
        uint64_t precopy;
        uint64_t remaining;
    } answers[] = {
        { 5, 3, 5 },
        { 3, 5, 5 },
        { 5, UNKNOWN, 5 },
        { UNKNOWN, 5, 5 },
        { UNKNOWN, 0, 0 },
        { UNKNOWN, UNKNOWN, UNKNOWN },
        /* 0 alone is what drivers say that cannot tell. */
        { 0, UNKNOWN, UNKNOWN },
        { 0, 0, 0 },
        { 0, 7, 7 },
        { POLICY_PLAUSIBLE_BYTES, 1, POLICY_PLAUSIBLE_BYTES },
        { POLICY_PLAUSIBLE_BYTES + 1, 1, 1 },
        { 1, POLICY_PLAUSIBLE_BYTES + 1, 1 },
        { UNKNOWN - 1, UNKNOWN - 1, UNKNOWN },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        assert_true(
            policy_remaining(answers[i].data_size, answers[i].precopy) ==
            answers[i].remaining);
}

static void sums_that_overflow_are_unknown(void **state)
{
    (void)state;
    assert_true(policy_add(1, 2) == 3);
    assert_true(policy_add(UNKNOWN, 0) == UNKNOWN);
    assert_true(policy_add(0, UNKNOWN) == UNKNOWN);
    assert_true(policy_add(UINT64_C(1) << 63, UINT64_C(1) << 63) == UNKNOWN);
}

static void small_samples_are_no_rate(void **state)
{
    struct policy_rate rate = { 0 };

    (void)state;
    assert_false(policy_rate_add(&rate, MIB - 1, SEC));
    assert_false(policy_rate_add(&rate, MIB, 0));
    assert_int_equal(rate.bytes_per_sec, 0);
}

static void a_rate_follows_what_happens(void **state)
{
    struct policy_rate rate = { 0 };

    (void)state;
    assert_true(policy_rate_add(&rate, GIB, SEC));
    assert_int_equal(rate.bytes_per_sec, GIB);
    assert_true(policy_rate_add(&rate, 5 * GIB, SEC));
    assert_int_equal(rate.bytes_per_sec, 2 * GIB);
    for (int i = 0; i < 100; i++)
        policy_rate_add(&rate, MIB, SEC);
    assert_in_range(rate.bytes_per_sec, MIB - 8, MIB + 8);
}

static void samples_beyond_belief_are_bounded(void **state)
{
    struct policy_rate rate = { 0 };

    (void)state;
    for (int i = 0; i < 10; i++)
        assert_true(policy_rate_add(&rate, UINT64_MAX, 1));
    assert_true(rate.bytes_per_sec <= UINT64_C(1) << 63);
    assert_true(policy_rate_add(&rate, MIB, UINT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_verdict),
        cmocka_unit_test(memory_never_stops_beyond_the_limit),
        cmocka_unit_test(a_guest_is_slowed_step_by_step),
        cmocka_unit_test(the_expected_downtime_is_size_by_rate),
        cmocka_unit_test(why_it_is_given_up_is_told),
        cmocka_unit_test(of_two_answers_the_larger_plausible_one_counts),
        cmocka_unit_test(sums_that_overflow_are_unknown),
        cmocka_unit_test(small_samples_are_no_rate),
        cmocka_unit_test(a_rate_follows_what_happens),
        cmocka_unit_test(samples_beyond_belief_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
