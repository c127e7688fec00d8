/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Real streams of QEMU: in pieces of any size, and cut anywhere.  What is in
 * them is compared with the truth by the tool's tests.
 *
 * The captures are the program's arguments, those of channels with "channel"
 * in their names.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event-log.h"

#define CAPTURES_MAX 16

struct capture {
    const char *name;
    bool is_channel;
    uint8_t *data;
    size_t len;
};

static struct capture captures[CAPTURES_MAX];
static size_t num_captures;

static const struct vfm_decoder_options options = {
    .size = sizeof(options),
    .allow_multifd = true,
    .require_vmdescription = true,
};

static int decode_capture(const struct capture *c, size_t piece,
                          struct event_log *log)
{
    struct vfm_error err;
    int ret;

    if (c->is_channel)
        ret = decode_multifd(NULL, c->data, c->len, 0, piece, log, &err);
    else
        ret = decode(&options, c->data, c->len, 0, piece, log, NULL, &err);
    if (ret < 0)
        print_error("%s: %s\n", c->name, err.message);
    return ret;
}

static void check_pieces(const struct capture *c)
{
    static const size_t pieces[] = { 7, 4095, 32768, 1000003 };
    struct event_log whole;
    struct event_log log;

    assert_int_equal(decode_capture(c, SIZE_MAX, &whole), 0);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        assert_int_equal(decode_capture(c, pieces[i], &log), 0);
        assert_string_equal(log.text, whole.text);
        event_log_free(&log);
    }
    if (c->len < 500000) {
        assert_int_equal(decode_capture(c, 1, &log), 0);
        assert_string_equal(log.text, whole.text);
        event_log_free(&log);
    }
    event_log_free(&whole);
}

static void pieces_of_any_size_give_the_same_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < num_captures; i++)
        check_pieces(&captures[i]);
}

/* Drops the events until more input is wanted. */
static void feed(struct vfm_decoder *dec, const uint8_t *data, size_t len)
{
    struct vfm_stream_event ev;
    struct vfm_error err;
    size_t used;
    int ret;

    while ((ret = vfm_decoder_next(dec, data, len, &used, &ev, &err)) > 0) {
        data += used;
        len -= used;
    }
    if (ret < 0)
        fail_msg("%s", err.message);
}

static void check_cuts(const struct capture *c)
{
    struct vfm_decoder *dec;
    struct vfm_error err;
    char place[40];

    assert_int_equal(vfm_decoder_new(&options, &dec, NULL), 0);
    for (size_t at = 0; at < c->len; at++) {
        if (vfm_decoder_finish(dec, &err) != -ENODATA)
            fail_msg("%s may end at %zu", c->name, at);
        snprintf(place, sizeof(place), "offset %zu: ", at);
        if (strncmp(err.message, place, strlen(place)) != 0)
            fail_msg("%s cut at %zu: '%s'", c->name, at, err.message);
        feed(dec, c->data + at, 1);
    }
    assert_int_equal(vfm_decoder_finish(dec, &err), 0);
    assert_true(vfm_decoder_done(dec));
    vfm_decoder_free(dec);
}

static void a_cut_at_any_byte_is_told_with_its_offset(void **state)
{
    (void)state;
    for (size_t i = 0; i < num_captures; i++)
        if (!captures[i].is_channel && captures[i].len < 1000000)
            check_cuts(&captures[i]);
}

/* A byte that is changed is told or makes no difference; it never makes the
 * decoder read what is not there. */
static void a_changed_byte_does_no_harm(void **state)
{
    (void)state;
    for (size_t i = 0; i < num_captures; i++) {
        const struct capture *c = &captures[i];
        struct event_log log;

        if (c->len > 500000)
            continue;
        for (size_t at = 0; at < c->len; at += 1 + c->len / 400) {
            c->data[at] ^= 0x55;
            decode(&options, c->data, c->len, 0, 65536, &log, NULL, NULL);
            event_log_free(&log);
            c->data[at] ^= 0x55;
        }
    }
}

/* ---------------------------------------------------------------------- */

static void load(const char *name)
{
    struct capture *c = &captures[num_captures++];
    FILE *f = fopen(name, "rb");
    long len;

    if (f == NULL || fseek(f, 0, SEEK_END) < 0 || (len = ftell(f)) <= 0) {
        perror(name);
        exit(1);
    }
    rewind(f);
    c->name = name;
    c->is_channel = strstr(name, "channel") != NULL;
    c->len = (size_t)len;
    c->data = malloc(c->len);
    if (c->data == NULL || fread(c->data, 1, c->len, f) != c->len) {
        perror(name);
        exit(1);
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size_give_the_same_events),
        cmocka_unit_test(a_cut_at_any_byte_is_told_with_its_offset),
        cmocka_unit_test(a_changed_byte_does_no_harm),
    };
    int failed;

    if (argc < 2 || argc > CAPTURES_MAX) {
        fprintf(stderr, "usage: %s CAPTURE...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++)
        load(argv[i]);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < num_captures; i++)
        free(captures[i].data);
    return failed;
}
