/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tool reads and shows: sizes, times, the progress line.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "progress.h"
#include "quantity.h"
#include "say.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void a_size_is_digits_and_a_unit_of_1024s(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {
        { "0", 0 },
        { "4096", 4096 },
        { "17B", 17 },
        { "64k", 65536 },
        { "64KiB", 65536 },
        { "1.5G", UINT64_C(3) << 29 },
        { "0.5", 0 },
        { "2.0000009M", UINT64_C(2) << 20 },
        { "7T", UINT64_C(7) << 40 },
        { "9223372036854775807", INT64_MAX },
    };
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(quantity_parse_size(rows[i].text, &bytes, NULL), 0);
        assert_int_equal(bytes, rows[i].bytes);
    }
}

static void a_time_is_milliseconds_without_a_unit(void **state)
{
    static const struct {
        const char *text;
        uint32_t ms;
    } rows[] = {
        { "300", 300 },      { "300ms", 300 },
        { "1.5s", 1500 },    { "2m", 120000 },
        { "10MIN", 600000 }, { "1h", 3600000 },
        { "0.0005s", 0 },    { "4294967295", UINT32_MAX },
    };
    uint32_t ms;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(quantity_parse_time(rows[i].text, &ms, NULL), 0);
        assert_int_equal(ms, rows[i].ms);
    }
}

static void what_is_too_large_is_refused_and_named(void **state)
{
    struct vfm_error err = { 0 };
    uint64_t bytes;
    uint32_t ms;

    (void)state;
    assert_true(quantity_parse_size("9223372036854775808", &bytes, &err) < 0);
    assert_string_equal(err.message, "'9223372036854775808' is too large");
    assert_true(quantity_parse_size("99999999999999999999", &bytes, &err) < 0);
    assert_true(quantity_parse_time("4294967296", &ms, &err) < 0);
    assert_string_equal(err.message, "'4294967296' is too long");
}

static void quantities_are_shown_in_the_unit_that_fits(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {
        { 0, "0 bytes" },
        { 1, "1 byte" },
        { 1023, "1023 bytes" },
        { 1024, "1.0 KiB" },
        { (1 << 20) - 1, "1.0 MiB" },
        { UINT64_C(3) << 29, "1.5 GiB" },
        { UINT64_MAX, "16.0 EiB" },
    };
    static const struct {
        uint64_t ns;
        const char *text;
    } times[] = {
        { 0, "0 us" },           { 999999, "999 us" },
        { 34200000, "34.2 ms" }, { 999949999, "999.9 ms" },
        { 999950000, "1.00 s" }, { UINT64_C(125000000000), "2 min 05 s" },
    };
    char text[QUANTITY_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++)
        assert_string_equal(say_bytes(text, sizes[i].bytes), sizes[i].text);
    for (size_t i = 0; i < COUNT(times); i++)
        assert_string_equal(say_duration(text, times[i].ns), times[i].text);
}

static void the_line_has_what_is_known(void **state)
{
    const struct vfm_progress now = {
        .size = sizeof(now),
        .stage = VFM_STAGE_PRE_COPY,
        .device_bytes = 256 << 20,
        .remaining_bytes = 768 << 20,
        .bytes_per_sec = 8 << 20,
        .expected_downtime_ns = 12000000,
    };
    char line[PROGRESS_LINE_MAX];

    (void)state;
    progress_format(&now, 200, line);
    assert_string_equal(line, "pre-copy  [#####---------------]  25% 256.0 MiB "
                              "of 1.0 GiB, 8.0 MiB/s, downtime ~12.0 ms, 1:36 "
                              "left");
    progress_format(&now, 12, line);
    assert_string_equal(line, "pre-copy  [#");
    progress_format(&now, 0, line);
    assert_string_equal(line, "");
}

static void an_estimate_that_cannot_be_is_not_shown(void **state)
{
    static const uint64_t garbage[] = { UINT64_MAX, UINT64_MAX - 1,
                                        UINT64_C(1) << 63 };
    struct vfm_progress now = {
        .size = sizeof(now),
        .stage = VFM_STAGE_PRE_COPY,
        .device_bytes = 1 << 20,
        .bytes_per_sec = 1 << 20,
        .expected_downtime_ns = UINT64_MAX,
    };
    char line[PROGRESS_LINE_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(garbage); i++) {
        now.remaining_bytes = garbage[i];
        progress_format(&now, 200, line);
        assert_string_equal(line, "pre-copy  1.0 MiB, 1.0 MiB/s");
    }
}

static void nothing_known_is_shown_as_nothing_done(void **state)
{
    const struct vfm_progress now = {
        .size = sizeof(now),
        .expected_downtime_ns = UINT64_MAX,
    };
    char line[PROGRESS_LINE_MAX];

    (void)state;
    progress_format(&now, 200, line);
    assert_string_equal(line, "hello     0 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_size_is_digits_and_a_unit_of_1024s),
        cmocka_unit_test(a_time_is_milliseconds_without_a_unit),
        cmocka_unit_test(what_is_too_large_is_refused_and_named),
        cmocka_unit_test(quantities_are_shown_in_the_unit_that_fits),
        cmocka_unit_test(the_line_has_what_is_known),
        cmocka_unit_test(an_estimate_that_cannot_be_is_not_shown),
        cmocka_unit_test(nothing_known_is_shown_as_nothing_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
