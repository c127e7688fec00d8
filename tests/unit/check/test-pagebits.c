/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a report of a log has to say of known writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "check/pagebits.h"

#define BASE UINT64_C(0x10000000)
#define PAGE UINT64_C(4096)

static const struct raw_range reported = { BASE, 256 * PAGE };

static void add(uint64_t *bits, uint64_t offset, uint64_t length)
{
    pagebits_add(bits, reported, PAGE,
                 (struct raw_range){ BASE + offset, length });
}

static void a_byte_is_a_page(void **state)
{
    uint64_t bits[4] = { 0 };

    (void)state;
    add(bits, 0, 1);
    assert_int_equal(bits[0], 1);
    add(bits, 255 * PAGE + 4095, 1);
    assert_int_equal(bits[3], UINT64_C(1) << 63);
    assert_int_equal(bits[1] | bits[2], 0);
}

static void a_write_over_a_border_is_two_pages(void **state)
{
    uint64_t bits[4] = { 0 };

    (void)state;
    add(bits, 64 * PAGE - 8, 16);
    assert_int_equal(bits[0], UINT64_C(1) << 63);
    assert_int_equal(bits[1], 1);
}

static void a_write_to_the_border_is_one_page(void **state)
{
    uint64_t bits[4] = { 0 };

    (void)state;
    add(bits, 5 * PAGE, PAGE);
    assert_int_equal(bits[0], UINT64_C(1) << 5);
}

static void what_is_outside_is_cut_off(void **state)
{
    uint64_t bits[4] = { 0 };

    (void)state;
    pagebits_add(bits, reported, PAGE,
                 (struct raw_range){ BASE - PAGE, 2 * PAGE });
    assert_int_equal(bits[0], 1);
    pagebits_add(bits, reported, PAGE,
                 (struct raw_range){ BASE + 255 * PAGE, 9 * PAGE });
    assert_int_equal(bits[3], UINT64_C(1) << 63);
    pagebits_add(bits, reported, PAGE,
                 (struct raw_range){ BASE + 256 * PAGE, PAGE });
    pagebits_add(bits, reported, PAGE, (struct raw_range){ 0, BASE });
    pagebits_add(bits, reported, PAGE, (struct raw_range){ BASE + PAGE, 0 });
    assert_int_equal(bits[0], 1);
}

static void large_pages_are_counted_in_their_size(void **state)
{
    uint64_t bits[1] = { 0 };

    (void)state;
    pagebits_add(bits, reported, 16 * PAGE,
                 (struct raw_range){ BASE + 200 * PAGE, PAGE });
    assert_int_equal(bits[0], UINT64_C(1) << 12);
}

static void the_first_missing_page_is_found(void **state)
{
    uint64_t wanted[4] = { 0 };
    uint64_t bits[4] = { 0 };

    (void)state;
    assert_true(pagebits_missing(bits, wanted, 256) == PAGEBITS_NONE);
    add(wanted, 70 * PAGE, 2 * PAGE);
    add(bits, 70 * PAGE, PAGE);
    add(bits, 3 * PAGE, PAGE);
    assert_int_equal(pagebits_missing(bits, wanted, 256), 71);
    assert_int_equal(pagebits_missing(wanted, bits, 256), 3);
    assert_true(pagebits_missing(bits, wanted, 71) == PAGEBITS_NONE);
    assert_true(pagebits_has(wanted, 71));
    assert_false(pagebits_has(bits, 71));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_byte_is_a_page),
        cmocka_unit_test(a_write_over_a_border_is_two_pages),
        cmocka_unit_test(a_write_to_the_border_is_one_page),
        cmocka_unit_test(what_is_outside_is_cut_off),
        cmocka_unit_test(large_pages_are_counted_in_their_size),
        cmocka_unit_test(the_first_missing_page_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
