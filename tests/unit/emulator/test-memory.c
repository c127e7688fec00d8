/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generated memory, against the definition in registers.h, word by word.
 */
#include "test.h"

#include "emulator/memory.h"
#include "emulator/registers.h"
#include "util/clock.h"

#define SECOND ((uint64_t)NS_PER_SEC)

static void define_page(uint64_t seed, uint64_t page, uint64_t generation,
                        uint8_t to[EDEV_PAGE_SIZE])
{
    for (unsigned i = 0; i < EDEV_WORDS_PER_PAGE; i++) {
        uint64_t w = edev_word(seed, page, generation, i);

        memcpy(to + i * 8, &w, sizeof(w));
    }
}

static void any_part_of_a_page_is_what_the_whole_holds(void **state)
{
    uint64_t base = edev_page_base(7, 99, 3);
    uint8_t want[EDEV_PAGE_SIZE];
    uint8_t got[EDEV_PAGE_SIZE + 16];

    (void)state;
    define_page(7, 99, 3, want);
    for (size_t offset = 0; offset < 80; offset++) {
        for (size_t size = 0; size < 200; size++) {
            memset(got, 0xaa, sizeof(got));
            memory_fill(base, offset, got + 3, size);
            assert_memory_equal(got + 3, want + offset, size);
            assert_int_equal(got[2], 0xaa);
            assert_int_equal(got[3 + size], 0xaa);
            assert_true(memory_matches(base, offset, got + 3, size));
        }
    }
    memory_fill(base, 0, got, EDEV_PAGE_SIZE);
    assert_memory_equal(got, want, EDEV_PAGE_SIZE);
}

static void one_wrong_bit_anywhere_is_seen(void **state)
{
    uint64_t base = edev_page_base(1, 2, 0);
    uint8_t page[EDEV_PAGE_SIZE];

    (void)state;
    memory_fill(base, 0, page, sizeof(page));
    for (size_t at = 0; at < sizeof(page); at++) {
        page[at] ^= 0x80;
        assert_false(memory_matches(base, 0, page, sizeof(page)));
        assert_false(memory_matches(base, at, page + at, 1));
        page[at] ^= 0x80;
    }
    assert_true(memory_matches(base, 0, page, sizeof(page)));
}

static void pages_seeds_and_generations_differ(void **state)
{
    uint64_t base = edev_page_base(1, 2, 3);

    (void)state;
    assert_true(base != edev_page_base(2, 2, 3));
    assert_true(base != edev_page_base(1, 3, 3));
    assert_true(base != edev_page_base(1, 2, 4));
}

static void the_hot_part_is_rewritten_round_by_round_at_the_rate(void **state)
{
    struct memory m = {
        .size = 64 * EDEV_PAGE_SIZE,
        .hot_size = 4 * EDEV_PAGE_SIZE,
        .rate = 10 * EDEV_PAGE_SIZE,
    };

    (void)state;
    memory_advance(&m, SECOND);
    assert_int_equal(m.writes, 10);
    assert_int_equal(memory_generation(&m, 59), 0);
    assert_int_equal(memory_generation(&m, 60), 3);
    assert_int_equal(memory_generation(&m, 61), 3);
    assert_int_equal(memory_generation(&m, 62), 2);
    assert_int_equal(memory_generation(&m, 63), 2);
    memory_set_rate(&m, 0, 2 * SECOND);
    memory_advance(&m, 100 * SECOND);
    assert_int_equal(m.writes, 20);
    memory_set_rate(&m, UINT64_C(100) << 30, 100 * SECOND);
    memory_advance(&m, 3700 * SECOND);
    assert_int_equal(m.writes, 20 + (UINT64_C(3600) * 100 << 30) / 4096);
}

static void asking_often_does_not_slow_the_rate(void **state)
{
    struct memory m = {
        .size = EDEV_PAGE_SIZE,
        .hot_size = EDEV_PAGE_SIZE,
        .rate = 1000000,
    };

    (void)state;
    for (uint64_t now = 0; now <= SECOND; now += 997)
        memory_advance(&m, now);
    assert_in_range(m.writes, 243, 244);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_part_of_a_page_is_what_the_whole_holds),
        cmocka_unit_test(one_wrong_bit_anywhere_is_seen),
        cmocka_unit_test(pages_seeds_and_generations_differ),
        cmocka_unit_test(the_hot_part_is_rewritten_round_by_round_at_the_rate),
        cmocka_unit_test(asking_often_does_not_slow_the_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
