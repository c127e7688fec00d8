/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A compressed channel's pieces: what goes in comes out, and what no packer
 * makes is an error that costs no memory.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stream/packing.h"
#include "util/bytes.h"

#define SIZE (3 * PACKING_RAW + 1000)

static uint8_t raw[SIZE];
static uint8_t back[SIZE];
static uint8_t packed[PACKING_MAX(SIZE)];
static uint8_t out[PACKING_RAW];
static struct packer *packer;
static struct unpacker *unpacker;

static int open_both(void **state)
{
    (void)state;
    if (!packing_exists())
        return 0;
    return packer_new(&packer, NULL) < 0 || unpacker_new(&unpacker, NULL) < 0;
}

static int close_both(void **state)
{
    (void)state;
    if (!packing_exists())
        return 0;
    packer_free(packer);
    unpacker_free(unpacker);
    return 0;
}

/* Bytes that zstd can shorten, or cannot. */
static void fill(bool is_random)
{
    uint32_t x = 1;

    for (size_t i = 0; i < SIZE; i++) {
        x = x * 1664525 + 1013904223;
        raw[i] = is_random ? (uint8_t)(x >> 24) : (uint8_t)(i / 100);
    }
}

static size_t pack(size_t first, size_t second)
{
    const struct iovec parts[] = { { raw, first },
                                   { NULL, 0 },
                                   { raw + first, second } };
    ssize_t n = packer_pack(packer, parts, 3, packed, NULL);

    assert_true(n >= 0 && (size_t)n <= PACKING_MAX(first + second));
    return (size_t)n;
}

static void check_back(size_t size, size_t len)
{
    const uint8_t *in = packed;
    size_t at = 0;

    while (len > 0) {
        size_t used;
        ssize_t n = unpacker_next(unpacker, in, len, &used, out, NULL);

        assert_true(n > 0 && at + (size_t)n <= size);
        memcpy(back + at, out, (size_t)n);
        at += (size_t)n;
        in += used;
        len -= used;
    }
    assert_int_equal(at, size);
    assert_memory_equal(back, raw, size);
}

static void what_goes_in_comes_out(void **state)
{
    static const size_t sizes[] = { 0,   1, 1000, PACKING_RAW, PACKING_RAW + 1,
                                    SIZE };

    (void)state;
    if (!packing_exists())
        skip();
    for (int r = 0; r < 2; r++) {
        fill(r == 1);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            check_back(sizes[i], pack(sizes[i] / 3, sizes[i] - sizes[i] / 3));
    }
    fill(false);
    assert_true(pack(SIZE, 0) < SIZE / 10);
}

static void a_piece_that_is_not_all_there_is_waited_for(void **state)
{
    size_t used;
    size_t len;

    (void)state;
    if (!packing_exists())
        skip();
    fill(false);
    len = pack(1000, 0);
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(unpacker_next(unpacker, packed, n, &used, out, NULL),
                         0);
        assert_int_equal(used, 0);
    }
}

static void expect_refused(size_t len, const char *why)
{
    struct vfm_error err = { 0 };
    size_t used;

    assert_int_equal(unpacker_next(unpacker, packed, len, &used, out, &err),
                     -EBADMSG);
    if (strstr(err.message, why) == NULL)
        fail_msg("'%s' is not '%s'", err.message, why);
}

static void a_head_beyond_the_bounds_is_refused_before_the_rest(void **state)
{
    static const uint32_t heads[][2] = {
        { 0, 10 },
        { 10, 0 },
        { 10, PACKING_RAW + 1 },
        { 10, UINT32_MAX },
        { PACKING_FRAME_MAX + 1, 10 },
        { UINT32_MAX, 10 },
    };

    (void)state;
    if (!packing_exists())
        skip();
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        put_be32(packed, heads[i][0]);
        put_be32(packed + 4, heads[i][1]);
        expect_refused(PACKING_HEAD, "zstd: a piece of");
    }
}

/* Few bytes that become many. */
static void a_bomb_is_no_more_than_its_head_says(void **state)
{
    size_t len;

    (void)state;
    if (!packing_exists())
        skip();
    memset(raw, 0, SIZE);
    len = pack(PACKING_RAW, 0);
    assert_true(len < 100);
    memset(out, 0x5a, sizeof(out));
    put_be32(packed + 4, 10);
    expect_refused(len, "zstd: a frame of");
    for (size_t i = 10; i < sizeof(out); i++)
        assert_int_equal(out[i], 0x5a);
}

static void a_frame_that_holds_less_than_was_said_is_refused(void **state)
{
    size_t len;

    (void)state;
    if (!packing_exists())
        skip();
    fill(false);
    len = pack(1000, 0);
    put_be32(packed + 4, 1001);
    expect_refused(len, "holds 1000 bytes where 1001 were said");
}

static void a_frame_that_is_cut_short_is_refused(void **state)
{
    size_t len;

    (void)state;
    if (!packing_exists())
        skip();
    fill(false);
    len = pack(1000, 0);
    for (size_t cut = 1; cut < len - PACKING_HEAD; cut++) {
        put_be32(packed, (uint32_t)(len - PACKING_HEAD - cut));
        expect_refused(len - cut, "zstd: a frame");
    }
}

/* Every frame has a checksum. */
static void a_frame_with_a_wrong_byte_is_refused(void **state)
{
    size_t len;

    (void)state;
    if (!packing_exists())
        skip();
    fill(true);
    len = pack(1000, 0);
    packed[len / 2] ^= 1;
    expect_refused(len, "zstd: a frame");
}

static void without_zstd_it_is_said_so(void **state)
{
    struct vfm_error err;

    (void)state;
    if (packing_exists())
        skip();
    assert_int_equal(packer_new(&packer, &err), -EOPNOTSUPP);
    assert_string_equal(err.message, "zstd: is not in this build");
    assert_int_equal(unpacker_new(&unpacker, &err), -EOPNOTSUPP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(a_piece_that_is_not_all_there_is_waited_for),
        cmocka_unit_test(a_head_beyond_the_bounds_is_refused_before_the_rest),
        cmocka_unit_test(a_bomb_is_no_more_than_its_head_says),
        cmocka_unit_test(a_frame_that_holds_less_than_was_said_is_refused),
        cmocka_unit_test(a_frame_that_is_cut_short_is_refused),
        cmocka_unit_test(a_frame_with_a_wrong_byte_is_refused),
        cmocka_unit_test(without_zstd_it_is_said_so),
    };

    return cmocka_run_group_tests(tests, open_both, close_both);
}
