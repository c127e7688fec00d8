/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the input is split makes no difference, and where it ends early is said.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event-log.h"
#include "maker.h"

static struct maker m;

static char *whole_log(void)
{
    struct vfm_error err = { 0 };
    struct event_log log;
    size_t used;

    if (decode(&maker_options, m.buf, make_len(&m), 0, SIZE_MAX, &log, &used,
               &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(used, make_len(&m));
    return log.text;
}

static void check_split(size_t first, size_t piece, const char *expected)
{
    struct event_log log;
    int ret = decode(&maker_options, m.buf, make_len(&m), first, piece, &log,
                     NULL, NULL);

    assert_int_equal(ret, 0);
    assert_string_equal(log.text, expected);
    event_log_free(&log);
}

static void check_all_splits(void)
{
    char *expected = whole_log();

    for (size_t at = 1; at < make_len(&m); at++)
        check_split(at, SIZE_MAX, expected);
    for (size_t piece = 1; piece < 40; piece++)
        check_split(0, piece, expected);
    free(expected);
}

static void every_split_of_our_own_stream_gives_the_same_events(void **state)
{
    (void)state;
    make_own(&m);
    check_all_splits();
}

static void every_split_of_a_qemu_stream_gives_the_same_events(void **state)
{
    (void)state;
    make_qemu(&m);
    check_all_splits();
}

static void check_every_cut(void)
{
    char place[40];

    for (size_t len = 0; len < make_len(&m); len++) {
        struct vfm_decoder_options options = maker_options;
        struct vfm_error err = { 0 };
        struct event_log log;
        int ret;

        options.require_vmdescription = true;
        ret = decode(&options, m.buf, len, 0, SIZE_MAX, &log, NULL, &err);
        snprintf(place, sizeof(place), "offset %zu: ", len);
        if (ret != -ENODATA || strncmp(err.message, place, strlen(place)) != 0)
            fail_msg("cut at %zu: %d '%s'", len, ret, err.message);
        event_log_free(&log);
    }
}

static void every_cut_is_told_with_its_offset(void **state)
{
    (void)state;
    make_own(&m);
    check_every_cut();
    make_qemu(&m);
    check_every_cut();
}

static void a_stream_may_end_without_a_vmdescription(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    make_vfio_end(&m);
    make_vfio_full(&m);
    make_eof(&m, NULL);
    accepted(&m, "EOF");
}

static void what_follows_the_stream_is_left_alone(void **state)
{
    struct event_log log;
    size_t used;
    size_t len;

    (void)state;
    make_qemu(&m);
    len = make_len(&m);
    make_text(&m, "something else");
    for (size_t piece = 1; piece < 30; piece++) {
        assert_int_equal(decode(&maker_options, m.buf, make_len(&m), 0, piece,
                                &log, &used, NULL),
                         0);
        assert_int_equal(used, len);
        event_log_free(&log);
    }
}

/* Without it a socket that stays open would be waited for. */
static void the_last_byte_of_a_live_stream_completes_it(void **state)
{
    struct vfm_decoder *dec;
    struct vfm_stream_event ev;
    size_t used;
    unsigned int events = 0;

    (void)state;
    make_qemu(&m);
    assert_int_equal(vfm_decoder_new(&maker_options, &dec, NULL), 0);
    for (size_t at = 0; at < make_len(&m); at += used) {
        assert_false(vfm_decoder_done(dec));
        if (vfm_decoder_next(dec, m.buf + at, 1, &used, &ev, NULL) > 0)
            events++;
    }
    while (vfm_decoder_next(dec, NULL, 0, &used, &ev, NULL) > 0)
        events++;
    assert_true(vfm_decoder_done(dec));
    assert_int_equal(ev.type, VFM_STREAM_VMDESCRIPTION);
    vfm_decoder_free(dec);
}

static void bulk_data_is_not_copied(void **state)
{
    struct vfm_decoder *dec;
    struct vfm_stream_event ev;
    size_t at = 0;
    size_t used;
    bool seen = false;

    (void)state;
    make_own(&m);
    assert_int_equal(vfm_decoder_new(NULL, &dec, NULL), 0);
    while (vfm_decoder_next(dec, m.buf + at, make_len(&m) - at, &used, &ev,
                            NULL) > 0) {
        at += used;
        if (ev.type != VFM_STREAM_VFIO_DATA)
            continue;
        assert_ptr_equal(ev.data, m.buf + ev.offset);
        seen = true;
    }
    assert_true(seen);
    vfm_decoder_free(dec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_of_our_own_stream_gives_the_same_events),
        cmocka_unit_test(every_split_of_a_qemu_stream_gives_the_same_events),
        cmocka_unit_test(every_cut_is_told_with_its_offset),
        cmocka_unit_test(a_stream_may_end_without_a_vmdescription),
        cmocka_unit_test(what_follows_the_stream_is_left_alone),
        cmocka_unit_test(the_last_byte_of_a_live_stream_completes_it),
        cmocka_unit_test(bulk_data_is_not_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
