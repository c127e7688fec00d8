/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading JSON, and writing strings of it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

#include "util/json.h"
#include "util/text.h"

static const struct json_limits limits = { .depth = 4, .values = 100 };

/* In memory of exactly that size: what is read beyond it is found out. */
static int read_exactly(const char *text, size_t len, struct json **root)
{
    char *copy = malloc(len > 0 ? len : 1);
    int ret;

    assert_non_null(copy);
    memcpy(copy, text, len);
    ret = json_read(copy, len, &limits, root);
    free(copy);
    return ret;
}

static struct json *reads(const char *text)
{
    struct json *root;

    assert_int_equal(read_exactly(text, strlen(text), &root), 0);
    assert_non_null(root);
    return root;
}

static void is_refused(const char *text, int code)
{
    struct json *root;
    int ret = read_exactly(text, strlen(text), &root);

    if (ret != code)
        fail_msg("%s: %d, not %d", text, ret, code);
    assert_null(root);
}

static void values_are_what_they_say(void **state)
{
    struct json *root = reads(" {\"b\": true, \"i\" : -12 ,\"r\":1.5e+3,"
                              "\"s\":\"x\",\"n\":null,\"a\":[1,[],{}]}\n");
    const struct json *a = json_get(root, "a", JSON_ARRAY);

    (void)state;
    assert_int_equal(root->kind, JSON_OBJECT);
    assert_int_equal(root->count, 6);
    assert_true(json_get(root, "b", JSON_BOOLEAN)->boolean);
    assert_int_equal(json_get(root, "i", JSON_INTEGER)->integer, -12);
    assert_non_null(json_get(root, "r", JSON_REAL));
    assert_string_equal(json_get(root, "s", JSON_STRING)->text, "x");
    assert_non_null(json_get(root, "n", JSON_NULL));
    assert_int_equal(a->count, 3);
    assert_int_equal(a->first->integer, 1);
    assert_int_equal(a->first->next->kind, JSON_ARRAY);
    assert_int_equal(a->first->next->count, 0);
    assert_null(a->first->next->next->next);
    json_free(root);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct json *root = reads("{\"a\":1,\"a\":2,\"b\":[]}");

    (void)state;
    assert_int_equal(json_get(root, "a", JSON_INTEGER)->integer, 2);
    assert_null(json_get(root, "a", JSON_STRING));
    assert_null(json_get(root, "c", JSON_INTEGER));
    assert_null(json_get(json_get(root, "b", JSON_ARRAY), "a", JSON_INTEGER));
    assert_null(json_get(NULL, "a", JSON_INTEGER));
    assert_true(json_has(root, "b"));
    assert_false(json_has(root, "c"));
    json_free(root);
}

static void strings_are_unescaped(void **state)
{
    static const char becomes[] = "\"\\/\b\f\n\r\t A\xc3\xa4\xe2\x82\xac"
                                  "\xf0\x9f\x98\x80z";
    struct json *root = reads("\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u0041\\u00e4"
                              "\\u20AC\\ud83d\\ude00z\"");

    (void)state;
    assert_int_equal(root->kind, JSON_STRING);
    assert_int_equal(root->len, sizeof(becomes) - 1);
    assert_memory_equal(root->text, becomes, sizeof(becomes));
    json_free(root);
}

static void is_integer(const char *text, int64_t value)
{
    struct json *root = reads(text);

    assert_int_equal(root->kind, JSON_INTEGER);
    assert_true(root->integer == value);
    json_free(root);
}

static void integers_beyond_the_limits_are_at_them(void **state)
{
    (void)state;
    is_integer("0", 0);
    is_integer("-0", 0);
    is_integer("9223372036854775807", INT64_MAX);
    is_integer("9223372036854775808", INT64_MAX);
    is_integer("99999999999999999999999", INT64_MAX);
    is_integer("-9223372036854775808", INT64_MIN);
    is_integer("-9223372036854775809", INT64_MIN);
}

static void what_is_no_json_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\udc00\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\n\"",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "tru",
        "truth",
        "nul",
        "1 1",
        "{} {}",
        "[1]]",
        "/**/1",
        "NaN",
        "Infinity",
        "[\"a\" \"b\"]",
        "{\"a\" 1}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        is_refused(texts[i], -EBADMSG);
}

static void every_beginning_of_a_text_is_refused(void **state)
{
    static const char text[] = "{\"a\":[1,\"x\\u0041\",{\"b\":false}]}";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct json *root;

        assert_int_equal(read_exactly(text, len, &root), -EBADMSG);
    }
}

static void a_nul_is_no_end(void **state)
{
    struct json *root;

    (void)state;
    assert_int_equal(read_exactly("1\0", 2, &root), -EBADMSG);
}

/* Else "a\u0000b" would be the member "a". */
static void a_nul_in_a_string_is_refused(void **state)
{
    (void)state;
    is_refused("\"\\u0000\"", -EBADMSG);
    is_refused("[\"z\\u0000\"]", -EBADMSG);
    is_refused("{\"a\\u0000b\":1}", -EBADMSG);
}

/* The first and the last of each length, and what borders on them. */
static void strings_are_utf8(void **state)
{
    static const char *const good[] = {
        "\"\x7f\"",         "\"\xc2\x80\"",         "\"\xdf\xbf\"",
        "\"\xe0\xa0\x80\"", "\"\xed\x9f\xbf\"",     "\"\xee\x80\x80\"",
        "\"\xef\xbf\xbf\"", "\"\xf0\x90\x80\x80\"", "\"\xf4\x8f\xbf\xbf\"",
    };
    static const char *const bad[] = {
        "\"\x80\"",             /* no lead byte */
        "\"\xc1\xbf\"",         /* two bytes for one */
        "\"\xe0\x9f\xbf\"",     /* three for two */
        "\"\xf0\x8f\xbf\xbf\"", /* four for three */
        "\"\xed\xa0\x80\"",     /* half a pair */
        "\"\xed\xbf\xbf\"",
        "\"\xf4\x90\x80\x80\"", /* beyond the last */
        "\"\xf8\x88\x80\x80\x80\"",
        "\"\xff\"",
        "\"\xc3\"", /* not all of it */
        "\"\xe2\x82\"",
        "\"\xe2\x82z\"",
        "\"\xf0\x9f\x98",
        "{\"\xc3\":1}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct json *root = reads(good[i]);

        assert_int_equal(root->len, strlen(good[i]) - 2);
        assert_memory_equal(root->text, good[i] + 1, root->len);
        json_free(root);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        is_refused(bad[i], -EBADMSG);
}

static void limits_hold(void **state)
{
    char many[2 * 101];

    (void)state;
    json_free(reads("[[[[]]]]"));
    is_refused("[[[[[]]]]]", -ELOOP);
    memset(many, ',', sizeof(many));
    many[sizeof(many) - 1] = '\0';
    is_refused(many, -E2BIG);
    json_free(reads("\"[[[[[[[[,,,,,,,,,,{{{{{{\\\",,,,,,,,,,,\""));
}

static void what_is_written_can_be_read(void **state)
{
    static const char says[] = "a \"quoted\" \\ thing\n\x01 and \xc3\xa4";
    struct text t = { 0 };
    struct json *root;

    (void)state;
    text_put_json(&t, says);
    assert_int_equal(t.error, 0);
    assert_int_equal(read_exactly(t.p, t.len, &root), 0);
    assert_string_equal(root->text, says);
    json_free(root);
    free(t.p);
}

static void utf8_is_told_from_other_bytes(void **state)
{
    static const struct {
        const char *s;
        size_t len;
    } rows[] = {
        { "a", 1 },
        { "\x7f", 1 },
        { "\xc3\xa4", 2 },
        { "\xe2\x82\xac", 3 },
        { "\xf0\x9f\x98\x80", 4 },
        { "\xf4\x8f\xbf\xbf", 4 },
        { "\x80", 0 }, /* a continuation of nothing */
        { "\xc3", 0 }, /* cut off */
        { "\xe2\x82", 0 },
        { "\xc3\x28", 0 },
        { "\xc0\x80", 0 }, /* longer than it need be */
        { "\xe0\x80\xaf", 0 },
        { "\xf0\x80\x80\xaf", 0 },
        { "\xed\xa0\x80", 0 },     /* a surrogate */
        { "\xf4\x90\x80\x80", 0 }, /* beyond the last */
        { "\xff", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (text_utf8(rows[i].s) != rows[i].len)
            fail_msg("row %zu: %zu bytes", i, text_utf8(rows[i].s));
}

static void what_cannot_be_formatted_is_an_error_that_stays(void **state)
{
    static const wchar_t nothing[] = { 0xdc00, 0 };
    struct text t = { 0 };

    (void)state;
    text_put(&t, "a");
    text_put(&t, "%ls", nothing);
    assert_int_equal(t.error, -EILSEQ);
    text_put(&t, "b");
    assert_int_equal(t.error, -EILSEQ);
    assert_int_equal(t.len, 1);
    free(t.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_what_they_say),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(integers_beyond_the_limits_are_at_them),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(every_beginning_of_a_text_is_refused),
        cmocka_unit_test(a_nul_is_no_end),
        cmocka_unit_test(a_nul_in_a_string_is_refused),
        cmocka_unit_test(strings_are_utf8),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(what_cannot_be_formatted_is_an_error_that_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
