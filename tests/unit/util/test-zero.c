/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * One contract, every way to fulfil it: a single bit anywhere is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/zero.h"

#define PAGE 4096

static _Alignas(PAGE) uint8_t pages[3 * PAGE];

static void every_byte_of_a_page_counts(void **state)
{
    (void)state;
    for (int way = 0; way < ZERO_NUM_WAYS; way++) {
        if (!zero_way_is_usable((enum zero_way)way)) {
            printf("%s: not on this processor\n",
                   zero_way_name((enum zero_way)way));
            continue;
        }
        assert_true(zero_is_all_by((enum zero_way)way, pages + PAGE, PAGE));
        for (size_t i = 0; i < PAGE; i++) {
            pages[PAGE + i] = (uint8_t)(1 << i % 8);
            if (zero_is_all_by((enum zero_way)way, pages + PAGE, PAGE))
                fail_msg("%s: byte %zu", zero_way_name((enum zero_way)way), i);
            pages[PAGE + i] = 0;
        }
    }
}

static void bytes_beside_do_not_count(void **state)
{
    (void)state;
    pages[PAGE - 1] = pages[2 * PAGE] = 0xff;
    for (int way = 0; way < ZERO_NUM_WAYS; way++)
        if (zero_way_is_usable((enum zero_way)way))
            assert_true(zero_is_all_by((enum zero_way)way, pages + PAGE, PAGE));
    assert_true(zero_is_all(pages + PAGE, PAGE));
    assert_false(zero_is_all(pages, 2 * PAGE));
    pages[PAGE - 1] = pages[2 * PAGE] = 0;
}

static void any_multiple_of_the_alignment_will_do(void **state)
{
    (void)state;
    for (int way = 0; way < ZERO_NUM_WAYS; way++) {
        if (!zero_way_is_usable((enum zero_way)way))
            continue;
        for (size_t len = 0; len <= 1024; len += ZERO_ALIGNMENT) {
            assert_true(zero_is_all_by((enum zero_way)way, pages, len));
            pages[len] = 1;
            assert_true(zero_is_all_by((enum zero_way)way, pages, len));
            assert_false(zero_is_all_by((enum zero_way)way, pages,
                                        len + ZERO_ALIGNMENT));
            pages[len] = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_of_a_page_counts),
        cmocka_unit_test(bytes_beside_do_not_count),
        cmocka_unit_test(any_multiple_of_the_alignment_will_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
