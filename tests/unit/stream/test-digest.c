/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The digest is the one that everybody else computes, however it is fed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/digest.h"

/* As xxhsum -H128 prints it. */
#define OF_NOTHING "99aa06d3014798d86001c324468d497f"

static void the_digest_of_nothing_is_known(void **state)
{
    struct digest *digest = digest_new();
    char hex[DIGEST_HEX_SIZE];

    (void)state;
    assert_non_null(digest);
    digest_hex(digest, hex);
    assert_string_equal(hex, OF_NOTHING);
    digest_free(digest);
    digest_free(NULL);
}

static void pieces_of_any_size_give_the_same_digest(void **state)
{
    static uint8_t data[10000];
    struct digest *whole = digest_new();
    char expected[DIGEST_HEX_SIZE];
    char hex[DIGEST_HEX_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * i);
    digest_update(whole, data, sizeof(data));
    digest_hex(whole, expected);
    digest_free(whole);
    for (size_t piece = 1; piece < 600; piece += 13) {
        struct digest *digest = digest_new();

        for (size_t at = 0; at < sizeof(data); at += piece) {
            size_t left = sizeof(data) - at;

            digest_update(digest, data + at, piece < left ? piece : left);
            /* To ask does not end it. */
            digest_hex(digest, hex);
        }
        assert_string_equal(hex, expected);
        digest_free(digest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digest_of_nothing_is_known),
        cmocka_unit_test(pieces_of_any_size_give_the_same_digest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
