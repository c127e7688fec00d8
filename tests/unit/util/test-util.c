/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors, options, the clock, bytes and digests.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/bytes.h"
#include "util/clock.h"
#include "util/digest.h"
#include "util/error.h"
#include "util/options.h"

static void an_error_is_set_and_returned(void **state)
{
    struct vfm_error err;

    (void)state;
    assert_int_equal(error_set(&err, -EINVAL, "%s: bad length %d", "dev", 5),
                     -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.message, "dev: bad length 5");
    assert_int_equal(error_set(NULL, -EIO, "dev"), -EIO);
}

static void an_error_stays_one_line(void **state)
{
    struct vfm_error err;

    (void)state;
    error_set(&err, -EIO,
              "a%sb\tc\x7f"
              "d\x1b[1m",
              "\r\n");
    assert_string_equal(err.message, "a  b c d [1m");
    error_add(&err, "%s", "x\ny");
    assert_string_equal(err.message, "a  b c d [1m; x y");
}

static void words_of_other_languages_are_kept(void **state)
{
    struct vfm_error err;

    (void)state;
    error_set(&err, -EIO, "Ger\xc3\xa4t");
    assert_string_equal(err.message, "Ger\xc3\xa4t");
}

static void a_layer_can_put_its_words_before_those_below(void **state)
{
    struct vfm_error err;

    (void)state;
    error_set(&err, -EIO, "no");
    error_set(&err, -EPROTO, "dev: %s", err.message);
    assert_string_equal(err.message, "dev: no");
    assert_int_equal(err.code, -EPROTO);
}

static void a_long_error_is_cut_and_ends(void **state)
{
    char text[3000];
    struct vfm_error err;

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    error_set(&err, -EIO, "%s", text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    error_add(&err, "more");
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

static void what_is_added_is_cut_where_the_room_ends(void **state)
{
    const size_t size = sizeof(((struct vfm_error *)0)->message);
    char text[3000];

    (void)state;
    for (size_t left = 0; left < 12; left++) {
        struct vfm_error err = { .code = -EIO };

        memset(text, 'x', size - 1 - left);
        text[size - 1 - left] = '\0';
        error_set(&err, -EIO, "%s", text);
        error_add(&err, "more of it");
        assert_int_equal(strlen(err.message), size - 1);
        assert_memory_equal(err.message + size - 1 - left, "; more of it",
                            left);
    }
}

static void the_first_clause_needs_no_semicolon(void **state)
{
    struct vfm_error err = { 0 };

    (void)state;
    error_add(&err, "one %d", 1);
    assert_string_equal(err.message, "one 1");
    error_add(&err, "two");
    assert_string_equal(err.message, "one 1; two");
    assert_int_equal(err.code, 0);
    error_add(NULL, "nobody listens");
}

struct known {
    size_t size;
    uint32_t first;
    uint32_t second;
};

struct newer {
    struct known known;
    uint8_t more[40];
};

static int copy(struct known *ours, const void *theirs, struct vfm_error *err)
{
    return options_copy(ours, sizeof(*ours), theirs, "who", err);
}

static void options_are_copied(void **state)
{
    const struct known theirs = { sizeof(theirs), 1, 2 };
    struct known ours;

    (void)state;
    assert_int_equal(copy(&ours, &theirs, NULL), 0);
    assert_memory_equal(&ours, &theirs, sizeof(ours));
}

static void no_options_are_all_zero(void **state)
{
    struct known ours = { 1, 2, 3 };

    (void)state;
    assert_int_equal(copy(&ours, NULL, NULL), 0);
    assert_int_equal(ours.size, sizeof(ours));
    assert_int_equal(ours.first + ours.second, 0);
}

/* The caller's structure ends where it says, and nothing behind is read. */
static void options_of_an_older_program_are_filled_up(void **state)
{
    size_t size = sizeof(size_t) + 4;
    uint8_t *theirs = malloc(size);
    struct known ours = { 1, 2, 3 };

    (void)state;
    assert_non_null(theirs);
    memset(theirs, 7, size);
    memcpy(theirs, &size, sizeof(size));
    assert_int_equal(copy(&ours, theirs, NULL), 0);
    assert_int_equal(ours.size, sizeof(ours));
    assert_int_equal(ours.first, 0x07070707);
    assert_int_equal(ours.second, 0);
    free(theirs);
}

static void options_of_a_newer_program_must_be_zero_beyond(void **state)
{
    struct newer theirs = { .known = { sizeof(theirs), 1, 2 } };
    struct vfm_error err;
    struct known ours;

    (void)state;
    assert_int_equal(copy(&ours, &theirs, &err), 0);
    theirs.more[39] = 1;
    assert_int_equal(copy(&ours, &theirs, &err), -E2BIG);
    assert_string_equal(err.message, "who: an option at byte 55 that this "
                                     "version does not know");
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    static const size_t sizes[] = { 0, 1, sizeof(size_t) - 1, 4097, SIZE_MAX };
    struct known theirs = { 0, 1, 2 };
    struct known ours;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        theirs.size = sizes[i];
        assert_int_equal(copy(&ours, &theirs, NULL), -EINVAL);
    }
}

static void a_poll_that_times_out_has_reached_its_deadline(void **state)
{
    (void)state;
    for (int64_t ns = 1; ns < 100 * NS_PER_SEC; ns = 3 * ns + 1) {
        int64_t before = clock_now();
        int64_t deadline = before + ns;
        int timeout_ms = clock_poll_timeout(deadline);
        int64_t after = clock_now();

        assert_true(after + timeout_ms * NS_PER_MS >= deadline);
        assert_true(before + (timeout_ms - 1) * NS_PER_MS < deadline);
    }
}

static void deadlines_at_the_ends_of_time_do_no_harm(void **state)
{
    (void)state;
    assert_int_equal(clock_poll_timeout(CLOCK_NEVER), -1);
    assert_int_equal(clock_poll_timeout(clock_now()), 0);
    assert_int_equal(clock_poll_timeout(0), 0);
    assert_int_equal(clock_poll_timeout(INT64_MAX - 1), INT32_MAX);
}

static void a_timeout_of_0_never_ends(void **state)
{
    int64_t now = clock_now();

    (void)state;
    assert_true(clock_deadline(0) == CLOCK_NEVER);
    assert_true(clock_deadline(5) >= now + 5 * NS_PER_MS);
    assert_true(clock_deadline(UINT32_MAX) > now);
    assert_int_equal(clock_min(1, 2), 1);
    assert_int_equal(clock_min(2, 1), 1);
}

static void integers_have_their_order_at_any_address(void **state)
{
    uint8_t bytes[9];

    (void)state;
    put_be64(bytes + 1, 0x0102030405060708);
    assert_memory_equal(bytes + 1, "\1\2\3\4\5\6\7\x08", 8);
    assert_true(get_be64(bytes + 1) == 0x0102030405060708);
    assert_true(get_le64(bytes + 1) == 0x0807060504030201);
    assert_int_equal(get_be32(bytes + 3), 0x03040506);
    assert_int_equal(get_le16(bytes + 3), 0x0403);
    put_le32(bytes + 1, 0x01020304);
    assert_memory_equal(bytes + 1, "\4\3\2\1", 4);
    put_le16(bytes + 1, 0x0102);
    assert_int_equal(get_be16(bytes + 1), 0x0201);
}

/* As `xxhsum -H2` prints them. */
static void digests_are_those_of_the_reference(void **state)
{
    struct digest *digest = digest_new();
    char hex[DIGEST_HEX_SIZE];

    (void)state;
    digest_hex(digest, hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    digest_update(digest, "ab", 2);
    digest_update(digest, "", 0);
    digest_update(digest, "c", 1);
    digest_hex(digest, hex);
    assert_string_equal(hex, "06b05ab6733a618578af5f94892f3950");
    digest_free(digest);
    digest_free(NULL);
}

static void a_digest_does_not_mind_the_pieces(void **state)
{
    static uint8_t data[10000];
    struct digest *whole = digest_new();
    struct digest *pieces = digest_new();
    char expected[DIGEST_HEX_SIZE];
    char hex[DIGEST_HEX_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * i >> 3);
    digest_update(whole, data, sizeof(data));
    digest_hex(whole, expected);
    for (size_t at = 0, len = 1; at < sizeof(data); at += len, len = len + 3) {
        if (len > sizeof(data) - at)
            len = sizeof(data) - at;
        digest_update(pieces, data + at, len);
        digest_hex(pieces, hex); /* more may follow */
    }
    assert_string_equal(hex, expected);
    digest_free(whole);
    digest_free(pieces);
}

/* A program built with another version has another idea of its size. */
static void an_answer_fits_whoever_asked(void **state)
{
    struct version_1 {
        size_t size;
        uint64_t a;
    };
    struct version_2 {
        size_t size;
        uint64_t a;
        uint64_t b;
    };
    const struct version_1 old_answer = { 0, 7 };
    const struct version_2 new_answer = { 0, 7, 8 };
    struct version_2 theirs = { sizeof(struct version_1), 1, 1 };

    (void)state;
    assert_int_equal(answer_copy(&theirs, sizeof(struct version_1), &new_answer,
                                 sizeof(new_answer)),
                     0);
    assert_int_equal(theirs.size, sizeof(struct version_1));
    assert_int_equal(theirs.a, 7);
    assert_int_equal(theirs.b, 1); /* not theirs to know */
    theirs.size = sizeof(theirs);
    assert_int_equal(answer_copy(&theirs, sizeof(struct version_1), &old_answer,
                                 sizeof(old_answer)),
                     0);
    assert_int_equal(theirs.size, sizeof(theirs));
    assert_int_equal(theirs.b, 0);
}

static void a_size_that_was_not_set_is_refused(void **state)
{
    static const size_t sizes[] = { 0, 15, 4097, SIZE_MAX };
    const struct {
        size_t size;
        uint64_t a;
    } ours = { 0, 7 };
    size_t theirs[2] = { 0, 1 };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        theirs[0] = sizes[i];
        assert_int_equal(answer_copy(theirs, sizeof(ours), &ours, sizeof(ours)),
                         -EINVAL);
        assert_true(theirs[0] == sizes[i] && theirs[1] == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_set_and_returned),
        cmocka_unit_test(an_error_stays_one_line),
        cmocka_unit_test(words_of_other_languages_are_kept),
        cmocka_unit_test(a_layer_can_put_its_words_before_those_below),
        cmocka_unit_test(a_long_error_is_cut_and_ends),
        cmocka_unit_test(what_is_added_is_cut_where_the_room_ends),
        cmocka_unit_test(the_first_clause_needs_no_semicolon),
        cmocka_unit_test(options_are_copied),
        cmocka_unit_test(no_options_are_all_zero),
        cmocka_unit_test(options_of_an_older_program_are_filled_up),
        cmocka_unit_test(options_of_a_newer_program_must_be_zero_beyond),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(a_poll_that_times_out_has_reached_its_deadline),
        cmocka_unit_test(deadlines_at_the_ends_of_time_do_no_harm),
        cmocka_unit_test(a_timeout_of_0_never_ends),
        cmocka_unit_test(integers_have_their_order_at_any_address),
        cmocka_unit_test(digests_are_those_of_the_reference),
        cmocka_unit_test(a_digest_does_not_mind_the_pieces),
        cmocka_unit_test(an_answer_fits_whoever_asked),
        cmocka_unit_test(a_size_that_was_not_set_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
