/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arithmetic on bitmaps against a model that knows no words: an array of bools.
 * What lies beside a range must not change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dirty/bitmap.h"

#define BITS   700
#define WORDS  (BITS / 64 + 1)
#define ROUNDS 20000

/* A bitmap and what it should be. */
struct twin {
    uint64_t map[WORDS];
    bool model[WORDS * 64];
};

static uint32_t seed;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)seed >> 8) * n >> 24);
}

/* From nearly empty to nearly full, in runs and in single bits. */
static void randomize(struct twin *t)
{
    uint32_t density = random_below(5);
    uint32_t run = 1 + random_below(90);
    bool value = false;

    for (uint32_t i = 0; i < WORDS * 64; i++) {
        if (i % run == 0)
            value = random_below(4) < density;
        t->model[i] = value;
        if (value)
            bitmap_set(t->map, i);
        else
            bitmap_clear(t->map, i);
    }
}

static void agree(const struct twin *t, const char *what)
{
    for (uint32_t i = 0; i < WORDS * 64; i++)
        if (bitmap_test(t->map, i) != t->model[i])
            fail_msg("%s: bit %u, seed %u", what, i, seed);
}

/* A range anywhere, of any length, often none or a whole word. */
static void choose(uint32_t *first, uint32_t *count)
{
    *first = random_below(BITS);
    *count = random_below(BITS - *first + 1);
    if (random_below(4) == 0)
        *first -= *first % 64;
    if (random_below(4) == 0)
        *count -= *count % 64;
}

static void ranges_are_set_and_cleared(void **state)
{
    struct twin t;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t first;
        uint32_t count;

        randomize(&t);
        choose(&first, &count);
        bitmap_set_range(t.map, first, count);
        memset(t.model + first, 1, count);
        agree(&t, "set");
        choose(&first, &count);
        bitmap_clear_range(t.map, first, count);
        memset(t.model + first, 0, count);
        agree(&t, "clear");
    }
}

static void bits_are_counted(void **state)
{
    struct twin t;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t first;
        uint32_t count;
        uint64_t sum = 0;

        randomize(&t);
        choose(&first, &count);
        for (uint32_t n = 0; n < count; n++)
            sum += t.model[first + n];
        if (bitmap_count(t.map, first, count) != sum)
            fail_msg("from %u, %u bits, seed %u", first, count, seed);
    }
}

static uint64_t model_next(const struct twin *t, bool value, uint32_t from,
                           uint32_t end)
{
    while (from < end && t->model[from] != value)
        from++;
    return from < end ? from : end;
}

static void the_next_bit_is_found(void **state)
{
    struct twin t;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t from;
        uint32_t count;

        randomize(&t);
        choose(&from, &count);
        if (bitmap_next(t.map, from, from + count) !=
                model_next(&t, true, from, from + count) ||
            bitmap_next_zero(t.map, from, from + count) !=
                model_next(&t, false, from, from + count))
            fail_msg("from %u, %u bits, seed %u", from, count, seed);
    }
}

static void there_is_no_bit_behind_the_end(void **state)
{
    uint64_t map[2] = { 0, 1 };

    (void)state;
    assert_int_equal(bitmap_next(map, 0, 64), 64);
    assert_int_equal(bitmap_next(map, 0, 65), 64);
    assert_int_equal(bitmap_next(map, 64, 64), 64);
    assert_int_equal(bitmap_next(map, 70, 64), 64);
    map[0] = ~UINT64_C(0);
    assert_int_equal(bitmap_next_zero(map, 0, 64), 64);
    assert_int_equal(bitmap_next_zero(map, 0, 66), 65);
}

static void bitmaps_are_merged_at_any_place(void **state)
{
    struct twin to;
    struct twin from;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t to_first;
        uint32_t from_first;
        uint32_t count;
        uint32_t more;

        randomize(&to);
        randomize(&from);
        choose(&to_first, &count);
        choose(&from_first, &more);
        count = count < more ? count : more;
        bitmap_merge(to.map, to_first, from.map, from_first, count);
        for (uint32_t n = 0; n < count; n++)
            to.model[to_first + n] |= from.model[from_first + n];
        agree(&to, "merged into");
        agree(&from, "merged from");
    }
}

static void words_are_as_many_as_needed(void **state)
{
    (void)state;
    assert_int_equal(bitmap_words(0), 0);
    assert_int_equal(bitmap_words(1), 1);
    assert_int_equal(bitmap_words(64), 1);
    assert_int_equal(bitmap_words(65), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_set_and_cleared),
        cmocka_unit_test(bits_are_counted),
        cmocka_unit_test(the_next_bit_is_found),
        cmocka_unit_test(there_is_no_bit_behind_the_end),
        cmocka_unit_test(bitmaps_are_merged_at_any_place),
        cmocka_unit_test(words_are_as_many_as_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
