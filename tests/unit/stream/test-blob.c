/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blobs in a stream: what one looks like, and what is none.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "event-log.h"
#include "maker.h"

#define IN_BLOB "offset 45: section '" MAKER_BLOB "' (FULL): "

static struct maker m;

static void a_blob_is_told_from_beginning_to_end(void **state)
{
    (void)state;
    make(&m);
    make_blob(&m, 70);
    make_eof(&m, NULL);
    accepted(&m, "45 BLOB_BEGIN FULL 38 '" MAKER_BLOB "' 0 v3 70 70");
    accepted(&m, "123 BLOB_END FULL 38 '" MAKER_BLOB "' 0 v3 70 0 data 16");
}

static void an_empty_blob_is_one(void **state)
{
    (void)state;
    make(&m);
    make_blob(&m, 0);
    make_eof(&m, NULL);
    accepted(&m, "BLOB_BEGIN FULL 38 '" MAKER_BLOB "' 0 v3 0 0");
    accepted(&m, "53 BLOB_END FULL 38 '" MAKER_BLOB "' 0 v3 0 0 data 16");
}

static void a_blob_above_the_limit_is_refused_at_once(void **state)
{
    struct vfm_decoder_options options = maker_options;

    (void)state;
    options.max_blob = 69;
    make(&m);
    make_blob_begin(&m);
    encode_blob_head(&m.enc, 70);
    refused_with(&options, &m, -E2BIG,
                 IN_BLOB "a blob of 70 bytes is above the limit of 69");
    make(&m);
    make_blob_begin(&m);
    encode_blob_head(&m.enc, UINT64_MAX);
    refused(&m, -E2BIG,
            IN_BLOB "a blob of 18446744073709551615 bytes is above the limit "
                    "of 67108864");
}

static void a_blob_that_ends_early_is_refused(void **state)
{
    static const struct {
        size_t bytes;
        const char *says;
    } cuts[] = {
        { 45 + 3, "offset 48: section '" MAKER_BLOB
                  "' (FULL): the stream ends in a blob's length" },
        { 45 + 8 + 69, "offset 122: section '" MAKER_BLOB
                       "' (FULL): the stream ends in a blob" },
        { 45 + 8 + 70 + 15, "offset 138: section '" MAKER_BLOB
                            "' (FULL): the stream ends in a blob's digest" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        make(&m);
        make_blob(&m, 70);
        m.enc.len = cuts[i].bytes;
        refused(&m, -ENODATA, cuts[i].says);
    }
}

static void a_blob_comes_in_one_piece(void **state)
{
    (void)state;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, MAKER_BLOB_ID, MAKER_BLOB,
                         0, 3);
    refused(&m, -EPROTO,
            "offset 17: section '" MAKER_BLOB
            "' (START): a blob comes in one piece");
}

static void a_blob_comes_once(void **state)
{
    (void)state;
    make(&m);
    make_blob(&m, 0);
    make_blob(&m, 0);
    refused(&m, -EPROTO,
            "offset 74: section '" MAKER_BLOB "' (FULL): it came before");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blob_is_told_from_beginning_to_end),
        cmocka_unit_test(an_empty_blob_is_one),
        cmocka_unit_test(a_blob_above_the_limit_is_refused_at_once),
        cmocka_unit_test(a_blob_that_ends_early_is_refused),
        cmocka_unit_test(a_blob_comes_in_one_piece),
        cmocka_unit_test(a_blob_comes_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
