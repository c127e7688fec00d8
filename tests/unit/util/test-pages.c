/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages are there before they are needed, and hold what they held.
 */
#include <fcntl.h>
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
static void what_is_named_is_there_and_nothing_else(void **state)
{
    const struct fixture *f = *state;

    assert_int_equal(present(f), 0);
    pages_fetch(f->at + 2 * f->page - 1, 2 * f->page + 2);
    assert_int_equal(present(f), 0x1e);
}

static void pages_hold_what_they_held(void **state)
{
    const struct fixture *f = *state;

    f->at[f->page + 5] = 0x5a;
    f->at[f->page] = 0xa5;
    pages_fetch(f->at, PAGES * f->page);
    assert_int_equal(present(f), 0xff);
    assert_int_equal(f->at[f->page + 5], 0x5a);
    assert_int_equal(f->at[f->page], 0xa5);
}

static void no_bytes_are_no_page(void **state)
{
    const struct fixture *f = *state;

    pages_fetch(f->at, 0);
    assert_int_equal(present(f), 0);
}

/* So much of it that it was never handed out before. */
static void new_memory_is_there(void **state)
{
    const struct fixture *f = *state;
    size_t pages = ((size_t)1 << 20) / f->page;
    unsigned char *is_there = malloc(pages);
    uint8_t *p = pages_new((pages + 1) * f->page);
    uintptr_t start = ((uintptr_t)p + f->page - 1) & ~(f->page - 1);

    assert_non_null(is_there);
    assert_non_null(p);
    assert_int_equal(mincore((void *)start, pages * f->page, is_there), 0);
    for (size_t i = 0; i < pages; i++)
        assert_true(is_there[i] & 1);
    free(is_there);
    free(p);
}

/* Large enough that nobody has read the page in its middle. */
static const uint8_t cold[64 * 4096] = { 1 };

/* Whether this process has the page; -1 if the kernel does not tell. */
static int maps(const volatile void *p)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    off_t at = (off_t)((uintptr_t)p / page * sizeof(uint64_t));
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry;
    ssize_t n = fd < 0 ? -1 : pread(fd, &entry, sizeof(entry), at);

    if (fd >= 0)
        close(fd);
    return n == (ssize_t)sizeof(entry) ? (int)(entry >> 63) : -1;
}

static void a_programs_pages_are_there(void **state)
{
    const volatile uint8_t *middle = &cold[sizeof(cold) / 2];

    (void)state;
    if (maps(middle) != 0)
        skip(); /* not told, or somebody was faster */
    pages_fetch_program();
    assert_int_equal(maps(middle), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_named_is_there_and_nothing_else,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(pages_hold_what_they_held, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_bytes_are_no_page, setup, teardown),
        cmocka_unit_test_setup_teardown(new_memory_is_there, setup, teardown),
        cmocka_unit_test(a_programs_pages_are_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
