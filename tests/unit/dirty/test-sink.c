/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is marked in a sink, against a model that goes from page to page.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dirty/bitmap.h"
#include "dirty/sink.h"

#define PAGE VFM_DIRTY_PAGE_SIZE
#define BITS 4096
#define TOP  (UINT64_MAX - 8 * PAGE + 1)

/* With a hole, one after the other, and up to the end of all addresses. */
static const struct vfm_dirty_range ranges[] = {
    { 70 * PAGE, 130 * PAGE },
    { 0, 33 * PAGE },
    { 200 * PAGE, 65 * PAGE },
    { TOP, 8 * PAGE },
};
#define NUM_RANGES (sizeof(ranges) / sizeof(ranges[0]))

static uint32_t seed = 1;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)seed >> 8) * n >> 24);
}

static struct vfm_dirty_sink *new_sink(void)
{
    struct vfm_dirty_sink *sink;

    assert_int_equal(vfm_dirty_sink_new(ranges, NUM_RANGES, &sink, NULL), 0);
    return sink;
}

/* Whether a marked page has a byte of the 4096 at @address; the numbers are too
 * large for 64 bits. */
__extension__ typedef unsigned __int128 u128;

static bool is_touched(uint64_t address, uint64_t at, uint64_t page_size,
                       const uint64_t *bitmap, uint64_t num_pages)
{
    for (uint64_t i = 0; i < num_pages; i++) {
        u128 first = (u128)at + (u128)i * page_size;

        if (bitmap_test(bitmap, i) && first < (u128)address + PAGE &&
            address < first + page_size)
            return true;
    }
    return false;
}

static void compare(struct vfm_dirty_sink *sink, uint64_t at,
                    uint64_t page_size, const uint64_t *bitmap,
                    uint64_t num_pages)
{
    for (size_t r = 0; r < NUM_RANGES; r++) {
        const uint64_t *map = vfm_dirty_sink_bitmap(sink, r);

        for (uint64_t p = 0; p < ranges[r].length / PAGE; p++)
            if (bitmap_test(map, p) != is_touched(ranges[r].address + p * PAGE,
                                                  at, page_size, bitmap,
                                                  num_pages))
                fail_msg("range %zu, page %llu: marked from 0x%llx, page size "
                         "%llu, seed %u",
                         r, (unsigned long long)p, (unsigned long long)at,
                         (unsigned long long)page_size, seed);
    }
}

/* Pages of 512 bytes to 16 MiB, in step with ours or not. */
static void every_page_that_is_touched_is_marked(void **state)
{
    struct vfm_dirty_sink *sink = new_sink();

    (void)state;
    for (int i = 0; i < 3000; i++) {
        uint64_t page_size = UINT64_C(512) << random_below(16);
        uint64_t at = (uint64_t)random_below(280) * PAGE;
        uint64_t bitmap[2] = { 0 };
        uint64_t pages = random_below(129);

        if (random_below(4) == 0)
            at += 512 * (uint64_t)random_below(8);
        if (random_below(4) == 0)
            at += TOP - 280 * PAGE + random_below(8) * PAGE;
        for (uint32_t n = 0; n < 1 + random_below(60); n++)
            bitmap_set(bitmap, random_below(128));
        vfm_dirty_sink_clear(sink);
        vfm_dirty_mark(sink, at, page_size, bitmap, pages);
        compare(sink, at, page_size, bitmap, pages);
    }
    vfm_dirty_sink_free(sink);
}

static void pages_like_ours_are_merged(void **state)
{
    struct vfm_dirty_sink *sink = new_sink();

    (void)state;
    for (int i = 0; i < 3000; i++) {
        uint64_t at = (uint64_t)random_below(300) * PAGE;
        uint64_t bitmap[8];
        uint64_t pages = random_below(sizeof(bitmap) * 8 + 1);

        for (size_t w = 0; w < 8; w++)
            bitmap[w] = (uint64_t)random_below(1 << 24) << random_below(41);
        vfm_dirty_sink_clear(sink);
        vfm_dirty_mark(sink, at, PAGE, bitmap, pages);
        compare(sink, at, PAGE, bitmap, pages);
    }
    vfm_dirty_sink_free(sink);
}

static void sizes_beyond_all_bounds_do_no_harm(void **state)
{
    static const uint64_t one = 1;
    struct vfm_dirty_sink *sink = new_sink();

    (void)state;
    vfm_dirty_mark(sink, 0, 0, &one, 1);
    assert_int_equal(vfm_dirty_sink_count(sink), 0);
    vfm_dirty_mark(sink, 0, UINT64_C(1) << 63, &one, 1);
    assert_int_equal(vfm_dirty_sink_count(sink), 33 + 130 + 65);
    vfm_dirty_sink_clear(sink);
    vfm_dirty_mark(sink, UINT64_MAX, UINT64_C(1) << 63, &one, 64);
    assert_int_equal(vfm_dirty_sink_count(sink), 1);
    vfm_dirty_mark(sink, UINT64_MAX - 4095, PAGE, &one, UINT64_MAX);
    assert_int_equal(vfm_dirty_sink_count(sink), 1);
    vfm_dirty_mark_range(sink, 5, UINT64_MAX);
    assert_int_equal(vfm_dirty_sink_count(sink), 33 + 130 + 65 + 8);
    vfm_dirty_sink_clear(sink);
    vfm_dirty_mark_range(sink, 0, UINT64_MAX);
    assert_int_equal(vfm_dirty_sink_count(sink), 33 + 130 + 65 + 8);
    vfm_dirty_sink_free(sink);
}

static void a_range_of_bytes_marks_the_pages_it_touches(void **state)
{
    struct vfm_dirty_sink *sink = new_sink();

    (void)state;
    vfm_dirty_mark_range(sink, PAGE - 1, 2);
    assert_int_equal(vfm_dirty_sink_bitmap(sink, 1)[0], 3);
    vfm_dirty_mark_range(sink, 5 * PAGE, 0);
    vfm_dirty_mark_range(sink, 40 * PAGE, 20 * PAGE); /* the hole */
    assert_int_equal(vfm_dirty_sink_count(sink), 2);
    vfm_dirty_mark_range(sink, 32 * PAGE, 39 * PAGE);
    assert_int_equal(vfm_dirty_sink_count(sink), 4);
    assert_true(bitmap_test(vfm_dirty_sink_bitmap(sink, 0), 0));
    assert_null(vfm_dirty_sink_bitmap(sink, NUM_RANGES));
    vfm_dirty_sink_free(sink);
}

static void ranges_that_are_none_are_refused(void **state)
{
    static const struct vfm_dirty_range bad[][2] = {
        { { 0, 0 }, { PAGE, PAGE } },
        { { 1, PAGE }, { 2 * PAGE, PAGE } },
        { { 0, PAGE + 1 }, { 4 * PAGE, PAGE } },
        { { UINT64_MAX - 4095, 2 * PAGE }, { 0, PAGE } },
        { { 0, 2 * PAGE }, { PAGE, PAGE } },
        { { PAGE, PAGE }, { 0, 2 * PAGE } },
        { { PAGE, PAGE }, { PAGE, PAGE } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vfm_dirty_sink *sink;
        struct vfm_error err = { 0 };

        assert_int_equal(vfm_dirty_sink_new(bad[i], 2, &sink, &err), -EINVAL);
        assert_null(sink);
        assert_true(err.message[0] != '\0');
    }
    vfm_dirty_sink_free(NULL);
}

/* As a migration has it: blocks of memory that are seen in several places. */
static void a_sink_may_mark_the_bitmaps_of_others(void **state)
{
    uint64_t block[2] = { 0 };
    const struct dirty_target targets[] = {
        { { 0x100000, 20 * PAGE }, block, 70 },
        { { 0, 10 * PAGE }, block, 3 },
        { { 0x200000, 10 * PAGE }, block, 3 }, /* the same again */
    };
    static const uint64_t all = ~UINT64_C(0);
    struct vfm_dirty_sink *sink;

    (void)state;
    assert_int_equal(dirty_sink_new_over(targets, 3, &sink, NULL), 0);
    vfm_dirty_mark(sink, 0x1ff000, PAGE, &all, 3);
    assert_int_equal(block[0], UINT64_C(3) << 3);
    vfm_dirty_mark(sink, 0x100000, PAGE, &all, 64);
    assert_int_equal(block[1], ((UINT64_C(1) << 20) - 1) << 6);
    vfm_dirty_sink_clear(sink);
    assert_int_equal(block[0] | block[1], 0);
    vfm_dirty_sink_free(sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_that_is_touched_is_marked),
        cmocka_unit_test(pages_like_ours_are_merged),
        cmocka_unit_test(sizes_beyond_all_bounds_do_no_harm),
        cmocka_unit_test(a_range_of_bytes_marks_the_pages_it_touches),
        cmocka_unit_test(ranges_that_are_none_are_refused),
        cmocka_unit_test(a_sink_may_mark_the_bitmaps_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
