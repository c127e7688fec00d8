/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages are there before they are needed, and hold what they held.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/pages.h"

#define PAGES 8

struct fixture {
    size_t page;
    uint8_t *at; /* PAGES of them, none of them there */
};

static int setup(void **state)
{
    static struct fixture f;

    f.page = (size_t)sysconf(_SC_PAGESIZE);
    f.at = mmap(NULL, PAGES * f.page, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *state = &f;
    return f.at == MAP_FAILED;
}

static int teardown(void **state)
{
    const struct fixture *f = *state;

    return munmap(f->at, PAGES * f->page);
}

static unsigned int present(const struct fixture *f)
{
    unsigned char is_there[PAGES];
    unsigned int bits = 0;

    assert_int_equal(mincore(f->at, PAGES * f->page, is_there), 0);
    for (unsigned int i = 0; i < PAGES; i++)
        bits |= (is_there[i] & 1u) << i;
    return bits;
}

/* Each page that has a byte of it, and no other. */
static void test_what_is_named_is_there(void **state)
{
    const struct fixture *f = *state;

    assert_int_equal(present(f), 0);
    pages_fetch(f->at + 2 * f->page - 1, 2 * f->page + 2);
    assert_int_equal(present(f), 0x1e);
}

static void test_it_holds_what_it_held(void **state)
{
    const struct fixture *f = *state;

    f->at[f->page + 5] = 0x5a;
    f->at[f->page] = 0xa5;
    pages_fetch(f->at, PAGES * f->page);
    assert_int_equal(present(f), 0xff);
    assert_int_equal(f->at[f->page + 5], 0x5a);
    assert_int_equal(f->at[f->page], 0xa5);
}

static void test_nothing_fetches_nothing(void **state)
{
    const struct fixture *f = *state;

    pages_fetch(f->at, 0);
    assert_int_equal(present(f), 0);
}

static void test_a_new_one_is_there(void **state)
{
    const struct fixture *f = *state;
    unsigned char is_there[PAGES];
    uint8_t *p = pages_new(PAGES * f->page);
    uintptr_t start = ((uintptr_t)p + f->page - 1) & ~(f->page - 1);

    assert_non_null(p);
    assert_int_equal(mincore((void *)start, (PAGES - 1) * f->page, is_there),
                     0);
    for (unsigned int i = 0; i < PAGES - 1; i++)
        assert_true(is_there[i] & 1);
    free(p);
}

static void test_more_than_there_is(void **state)
{
    (void)state;
    assert_null(pages_new(SIZE_MAX / 2));
}

/* Whatever is not readable of a program is left alone. */
static void test_a_program_outlives_it(void **state)
{
    (void)state;
    pages_fetch_program();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_named_is_there, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_it_holds_what_it_held, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_nothing_fetches_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_new_one_is_there, setup,
                                        teardown),
        cmocka_unit_test(test_more_than_there_is),
        cmocka_unit_test(test_a_program_outlives_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
