/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA logging, against a model that keeps one flag per page of each mapping
 * and is asked about every 4 KiB.
 */
#include <errno.h>
#include <stdlib.h>

#include "test.h"

#include "emulator/dma.h"

#define UNIT        UINT64_C(4096)
#define SPACE_UNITS 1024 /* 4 MiB of addresses */
#define MAPPINGS    4

/* Mappings with holes between them, not aligned to large pages. */
static const struct vfu_dma_map layout[MAPPINGS] = {
    { .iova = 3 * UNIT, .size = 61 * UNIT, .flags = 3 },
    { .iova = 64 * UNIT, .size = 200 * UNIT, .flags = 3 },
    { .iova = 300 * UNIT, .size = 1 * UNIT, .flags = 3 },
    { .iova = 301 * UNIT, .size = 700 * UNIT, .flags = 3 },
};

struct model {
    struct dma dma;
    uint64_t log_page;
    bool dirty[MAPPINGS][SPACE_UNITS]; /* by number of the log's page */
};

static int set_up(void **state)
{
    struct model *m = calloc(1, sizeof(*m));

    assert_non_null(m);
    dma_init(&m->dma);
    for (size_t i = 0; i < MAPPINGS; i++)
        assert_int_equal(dma_map(&m->dma, &layout[i], -1), 0);
    *state = m;
    return 0;
}

static int tear_down(void **state)
{
    struct model *m = *state;

    dma_drop(&m->dma);
    free(m);
    return 0;
}

static void begin(struct model *m, uint64_t log_page)
{
    log_stop(&m->dma);
    m->log_page = log_page;
    memset(m->dirty, 0, sizeof(m->dirty));
    assert_int_equal(log_start(&m->dma, &log_page, NULL, 0), 0);
    assert_int_equal(log_page, m->log_page);
}

static void write_somewhere(struct model *m, uint64_t *seed)
{
    size_t i = next_random(seed) % MAPPINGS;
    uint64_t at = next_random(seed) % layout[i].size;
    uint64_t size = next_random(seed) % (layout[i].size - at) % 40000 + 1;
    uint64_t first = layout[i].iova + at;

    log_mark(&m->dma, dma_find(&m->dma, first), first, size);
    for (uint64_t p = first / m->log_page;
         p <= (first + size - 1) / m->log_page; p++)
        m->dirty[i][p] = true;
}

/* The mapping that holds unit @u, or -1. */
static int mapping_of(uint64_t u)
{
    for (int i = 0; i < MAPPINGS; i++)
        if (u * UNIT >= layout[i].iova &&
            u * UNIT < layout[i].iova + layout[i].size)
            return i;
    return -1;
}

/* What a report must say, by asking about every unit. */
static void model_report(const struct model *m, uint64_t first, uint64_t units,
                         uint64_t page, uint8_t *bitmap)
{
    for (uint64_t u = first; u < first + units; u++) {
        int i = mapping_of(u);
        uint64_t bit = (u - first) * UNIT / page;

        if (i >= 0 && m->dirty[i][u * UNIT / m->log_page])
            bitmap[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Pages of the log that the report covers as far as they are mapped. */
static void model_clear(struct model *m, uint64_t first, uint64_t units)
{
    for (size_t i = 0; i < MAPPINGS; i++) {
        uint64_t end = layout[i].iova + layout[i].size;

        for (uint64_t p = layout[i].iova / m->log_page; p * m->log_page < end;
             p++)
            if (later(p * m->log_page, layout[i].iova) >= first * UNIT &&
                earlier((p + 1) * m->log_page, end) <= (first + units) * UNIT)
                m->dirty[i][p] = false;
    }
}

static void report_somewhere(struct model *m, uint64_t *seed)
{
    uint64_t page = UNIT << next_random(seed) % 8;
    uint64_t first = next_random(seed) % SPACE_UNITS;
    uint64_t units = next_random(seed) % (SPACE_UNITS - first) + 1;
    uint64_t size = log_report_size(first * UNIT, units * UNIT, page);
    uint8_t want[SPACE_UNITS / 8] = { 0 };
    uint8_t got[SPACE_UNITS / 8];
    bool mapped = false;
    int ret;

    assert_in_range(size, 8, sizeof(got));
    for (uint64_t u = first; u < first + units; u++)
        mapped = mapped || mapping_of(u) >= 0;
    ret = log_report(&m->dma, first * UNIT, units * UNIT, page, got);
    assert_int_equal(ret, mapped ? 0 : -ENOENT);
    if (!mapped)
        return;
    model_report(m, first, units, page, want);
    assert_memory_equal(got, want, size);
    model_clear(m, first, units);
}

static void any_report_at_any_page_size_is_the_models(void **state)
{
    struct model *m = *state;
    uint64_t seed = 1;

    for (unsigned shift = 0; shift < 8; shift++) {
        begin(m, UNIT << shift);
        for (int i = 0; i < 400; i++) {
            for (uint64_t n = next_random(&seed) % 4; n > 0; n--)
                write_somewhere(m, &seed);
            report_somewhere(m, &seed);
        }
    }
}

static void a_report_clears_what_it_reports(void **state)
{
    struct model *m = *state;
    uint64_t bitmap[4];

    begin(m, UNIT);
    log_mark(&m->dma, dma_find(&m->dma, 70 * UNIT), 70 * UNIT, 1);
    assert_int_equal(log_report(&m->dma, 64 * UNIT, 200 * UNIT, UNIT, bitmap),
                     0);
    assert_int_equal(bitmap[0], 1 << 6);
    assert_int_equal(log_report(&m->dma, 64 * UNIT, 200 * UNIT, UNIT, bitmap),
                     0);
    assert_int_equal(bitmap[0], 0);
}

static void a_large_page_reported_in_part_stays_dirty_for_the_rest(void **state)
{
    struct model *m = *state;
    uint64_t bitmap;

    begin(m, 16 * UNIT);
    log_mark(&m->dma, dma_find(&m->dma, 64 * UNIT), 64 * UNIT, 1);
    assert_int_equal(log_report(&m->dma, 64 * UNIT, 8 * UNIT, UNIT, &bitmap),
                     0);
    assert_int_equal(bitmap, 0xff);
    assert_int_equal(log_report(&m->dma, 72 * UNIT, 8 * UNIT, UNIT, &bitmap),
                     0);
    assert_int_equal(bitmap, 0xff);
}

static void only_the_ranges_of_start_are_logged(void **state)
{
    struct model *m = *state;
    const struct vfu_log_range ranges[] = { { 80 * UNIT, 8 * UNIT } };
    uint64_t page = UNIT;
    uint64_t bitmap[4];

    assert_int_equal(log_start(&m->dma, &page, ranges, 1), 0);
    log_mark(&m->dma, dma_find(&m->dma, 64 * UNIT), 64 * UNIT, 200 * UNIT);
    assert_int_equal(log_report(&m->dma, 64 * UNIT, 200 * UNIT, UNIT, bitmap),
                     0);
    assert_int_equal(bitmap[0], UINT64_C(0xff) << 16);
    assert_int_equal(bitmap[1] | bitmap[2] | bitmap[3], 0);
}

static void a_mapping_made_while_logging_is_logged(void **state)
{
    struct model *m = *state;
    const struct vfu_dma_map map = { .iova = 2000 * UNIT,
                                     .size = UNIT,
                                     .flags = 3 };
    uint64_t bitmap;

    begin(m, UNIT);
    assert_int_equal(dma_map(&m->dma, &map, -1), 0);
    log_mark(&m->dma, dma_find(&m->dma, map.iova), map.iova, 1);
    assert_int_equal(log_report(&m->dma, map.iova, UNIT, UNIT, &bitmap), 0);
    assert_int_equal(bitmap, 1);
}

static void start_refuses_what_cannot_be(void **state)
{
    struct model *m = *state;
    const struct vfu_log_range overlap[] = { { 0, 8 * UNIT },
                                             { 4 * UNIT, 8 * UNIT } };
    const struct vfu_log_range wraps[] = { { UINT64_MAX - UNIT + 1,
                                             2 * UNIT } };
    const struct vfu_log_range empty[] = { { 0, 0 } };
    uint64_t sizes[] = { 0, 3000, 2048, UNIT + 1 };
    uint64_t page = UNIT;

    for (size_t i = 0; i < NUM(sizes); i++)
        assert_int_equal(log_start(&m->dma, &sizes[i], NULL, 0), -EINVAL);
    assert_int_equal(log_start(&m->dma, &page, overlap, 2), -EINVAL);
    assert_int_equal(log_start(&m->dma, &page, wraps, 1), -EINVAL);
    assert_int_equal(log_start(&m->dma, &page, empty, 1), -EINVAL);
    assert_int_equal(log_start(&m->dma, &page, overlap, LOG_RANGES_MAX + 1),
                     -E2BIG);
    assert_int_equal(log_start(&m->dma, &page, NULL, 0), 0);
    assert_int_equal(log_start(&m->dma, &page, NULL, 0), -EBUSY);
}

static void a_page_size_too_large_becomes_the_largest(void **state)
{
    struct model *m = *state;
    uint64_t page = UINT64_C(1) << 40;

    assert_int_equal(log_start(&m->dma, &page, NULL, 0), 0);
    assert_int_equal(page, LOG_PAGE_MAX);
}

static void bitmaps_of_all_mappings_are_bounded(void **state)
{
    struct model *m = *state;
    const struct vfu_dma_map huge = { .iova = UINT64_C(1) << 40,
                                      .size = UINT64_C(1) << 60,
                                      .flags = 3 };
    uint64_t page = UNIT;

    assert_int_equal(dma_map(&m->dma, &huge, -1), 0);
    assert_int_equal(log_start(&m->dma, &page, NULL, 0), -ENOMEM);
    assert_false(m->dma.log.active);
    assert_int_equal(m->dma.log.bytes, 0);
}

static void a_report_that_cannot_be_has_no_size(void **state)
{
    (void)state;
    assert_int_equal(log_report_size(0, 0, UNIT), 0);
    assert_int_equal(log_report_size(0, UNIT, 3000), 0);
    assert_int_equal(log_report_size(0, UNIT, 1024), 0);
    assert_int_equal(log_report_size(UINT64_MAX, 2, UNIT), 0);
    assert_int_equal(log_report_size(0, UNIT, UNIT), 8);
    assert_int_equal(log_report_size(0, 64 * UNIT, UNIT), 8);
    assert_int_equal(log_report_size(0, 65 * UNIT, UNIT), 16);
}

static void a_report_without_a_start_is_refused(void **state)
{
    struct model *m = *state;
    uint64_t bitmap;

    assert_int_equal(log_report(&m->dma, 64 * UNIT, UNIT, UNIT, &bitmap),
                     -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(any_report_at_any_page_size_is_the_models),
        TEST(a_report_clears_what_it_reports),
        TEST(a_large_page_reported_in_part_stays_dirty_for_the_rest),
        TEST(only_the_ranges_of_start_are_logged),
        TEST(a_mapping_made_while_logging_is_logged),
        TEST(start_refuses_what_cannot_be),
        TEST(a_page_size_too_large_becomes_the_largest),
        TEST(bitmaps_of_all_mappings_are_bounded),
        TEST(a_report_that_cannot_be_has_no_size),
        TEST(a_report_without_a_start_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
