/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target whose source says what it likes: it runs the devices only with what
 * was sent to it whole and given to it, and is else as it was.
 *
 * What a real source has sent is recorded, changed, and sent again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "pair.h"
#include "stream/encoder.h"
#include "util/bytes.h"

#define ROOM  65536
#define YOURS 5 /* bytes of it, at the end */

static struct pair p;

static const struct pair_setup setup = { .migration = PAIR_ALL,
                                         .num_devices = 1,
                                         .size = 64,
                                         .pre_copy_size = 40,
                                         .initial_size = 10,
                                         .config_size = 256 };

/* What a source sends that means well. */
static uint8_t good[ROOM];
static size_t good_len;

/* What is sent in a test. */
static uint8_t sent[ROOM];
static size_t sent_len;

static int record(void **state)
{
    (void)state;
    pair_init(&p, &setup);
    pair_use_relay(&p, SIZE_MAX, SIZE_MAX);
    p.relay.record[0] = good;
    pair_succeeds(&p);
    good_len = p.relay.done[0];
    pair_close(&p);
    return 0;
}

static int begin_with_good(void **state)
{
    (void)state;
    memcpy(sent, good, good_len);
    sent_len = good_len;
    return 0;
}

/* Where @len bytes of @what begin in what is sent. */
static size_t find(const void *what, size_t len)
{
    const uint8_t *at = memmem(sent, sent_len, what, len);

    assert_non_null(at);
    return (size_t)(at - sent);
}

static size_t find_text(const char *text)
{
    return find(text, strlen(text));
}

static void insert(size_t at, const void *what, size_t len)
{
    assert_true(sent_len + len <= sizeof(sent));
    memmove(sent + at + len, sent + at, sent_len - at);
    memcpy(sent + at, what, len);
    sent_len += len;
}

static void cut_out(size_t at, size_t len)
{
    memmove(sent + at, sent + at + len, sent_len - at - len);
    sent_len -= len;
}

/* Sends all of it, without reading an answer, and hangs up. */
static void run(void)
{
    struct pair_side *side = &p.target;
    int fds[2];
    size_t at = 0;
    uint8_t bin[4096];

    pair_init(&p, &setup);
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
        0);
    side_begin(side, fds[0]);
    while (!side->over && at < sent_len) {
        ssize_t n = send(fds[1], sent + at, sent_len - at, MSG_NOSIGNAL);

        if (n > 0)
            at += (size_t)n;
        while (recv(fds[1], bin, sizeof(bin), 0) > 0)
            continue;
        side_step(side, 100);
    }
    while (side_step(side, 0))
        continue;
    while (recv(fds[1], bin, sizeof(bin), 0) > 0)
        continue;
    close(fds[1]);
    side_run(side);
}

/* It failed, touched the device no longer, and said why. */
static void refused(int code, const char *why)
{
    const struct fake_device *f = &p.target.devices[0];

    if (p.target.ret != code || strstr(p.target.err.message, why) == NULL)
        fail_msg("%d: %s", p.target.ret, p.target.err.message);
    assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
    assert_int_equal(f->state, VFM_STATE_RUNNING);
    assert_int_not_equal(f->content, FAKE_LOADED);
    assert_int_equal(p.target.vm_starts, 0);
    pair_close(&p);
}

static void what_was_recorded_is_good(void **state)
{
    (void)state;
    run();
    assert_int_equal(p.target.outcome, VFM_OUTCOME_DONE);
    assert_true(fake_runs(&p.target.devices[0], FAKE_LOADED));
    pair_close(&p);
}

static void a_damaged_byte_never_runs(void **state)
{
    static const uint8_t flips[] = { 0x01, 0x80, 0xff };

    (void)state;
    for (size_t at = 0; at < good_len; at++) {
        for (size_t i = 0; i < sizeof(flips); i++) {
            const struct fake_device *f = &p.target.devices[0];

            begin_with_good(state);
            sent[at] ^= flips[i];
            run();
            if (p.target.outcome == VFM_OUTCOME_DONE)
                assert_int_equal(f->content, FAKE_LOADED);
            else
                assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
            assert_int_equal(p.target.ret == 0,
                             p.target.outcome == VFM_OUTCOME_DONE);
            pair_close(&p);
        }
    }
}

static void a_device_that_was_not_announced_is_refused(void **state)
{
    uint8_t buf[256];
    struct encoder enc;

    (void)state;
    encoder_init(&enc, buf, sizeof(buf));
    encode_section_begin(&enc, VFM_SECTION_START, 77, "dev1/vfio", 0, 1);
    encode_vfio_setup(&enc);
    encode_section_footer(&enc, 77);
    insert(find_text("dev0/vfio") - 6, buf, enc.len);
    run();
    refused(-ENODEV, "for which no device is waiting");
}

static void a_section_of_another_kind_is_refused(void **state)
{
    static const char body[] = "whatever";
    uint8_t buf[256];
    struct encoder enc;
    const uint8_t eof[2] = { 0, 6 };

    (void)state;
    encoder_init(&enc, buf, sizeof(buf));
    encode_section_begin(&enc, VFM_SECTION_FULL, 77, "timer", 0, 1);
    memcpy(buf + enc.len, body, sizeof(body));
    enc.len += sizeof(body);
    encode_section_footer(&enc, 77);
    insert(find(eof, 2), buf, enc.len);
    run();
    refused(-EPROTO, "was not announced");
}

static void a_device_that_begins_twice_is_refused(void **state)
{
    size_t at = find_text("dev0/vfio") - 6;
    uint8_t start[256];
    size_t len = 6 + 9 + 8 + 16 + 5;

    (void)state;
    memcpy(start, sent + at, len);
    insert(at, start, len);
    run();
    refused(-EPROTO, "it has begun before");
}

static void a_digest_that_is_wrong_is_found(void **state)
{
    size_t at = find_text("\"xxh3_128\": \"") + 13;

    (void)state;
    sent[at] = sent[at] == 'a' ? 'b' : 'a';
    run();
    refused(-EBADMSG, "dev0: the state was damaged on the way");
}

static void a_size_that_is_wrong_is_found(void **state)
{
    size_t at = find_text("\"bytes\": 64") + 9;

    (void)state;
    sent[at] = '5';
    run();
    refused(-EBADMSG, "dev0: the source sent 54 bytes of state, 64 came");
}

static void state_that_nobody_vouches_for_is_refused(void **state)
{
    (void)state;
    sent[find_text("xxh3")] = 'y';
    run();
    refused(-EBADMSG, "dev0: the stream holds no digest for it");

    begin_with_good(state);
    sent[find_text("\"vfmig\": {") + 1] = 'x';
    run();
    refused(-EBADMSG, "dev0: the stream holds no digest for it");
}

static void a_missing_description_is_noticed(void **state)
{
    const uint8_t eof[2] = { 0, 6 };
    size_t at = find(eof, 2) + 1;

    (void)state;
    cut_out(at, sent_len - at);
    run();
    refused(-ENODATA, "ends in");
}

static void a_device_that_does_not_end_is_noticed(void **state)
{
    const uint8_t end[5] = { 3, 0, 0, 0, 1 };
    const uint8_t eof[2] = { 0, 6 };
    size_t at = find(end, 5);

    (void)state;
    cut_out(at, find(eof, 2) - at);
    run();
    refused(-EPROTO, "section 'dev0/vfio' has no END");
}

static void the_configuration_of_another_device_is_refused(void **state)
{
    const uint8_t ids[8] = { 0, 0, 0, 2, 0x86, 0x56, 0x44, 0x4d };

    (void)state;
    sent[find(ids, 8) + 6] ^= 1;
    run();
    refused(-EINVAL, "configuration of another kind of device");
}

static void bytes_behind_the_stream_are_no_yours(void **state)
{
    (void)state;
    insert(sent_len - YOURS, "xx\0", 4);
    run();
    refused(-EPROTO, "source: message 0x7878");
}

static void a_message_that_is_not_yours_is_none(void **state)
{
    static const struct {
        uint8_t bytes[6];
        size_t len;
        int code;
        const char *why;
    } messages[] = {
        { { 0x80, 0x04, 0, 0 }, 4, -EPROTO, "where \"yours\" should be" },
        { { 0x80, 0x03, 0, 0 }, 4, -EPROTO, "where \"yours\" should be" },
        { { 0x80, 0x03, 0, 2, 1, 1 }, 6, -EPROTO, "where \"yours\"" },
        { { 0x80, 0x03, 0x7f, 0xff }, 4, -EPROTO, "is too long" },
        { { 0x80, 0x06, 0, 2, 'n', '\n' },
          6,
          -EREMOTEIO,
          "the source failed: n" },
    };

    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        begin_with_good(state);
        sent_len -= YOURS;
        insert(sent_len, messages[i].bytes, messages[i].len);
        run();
        refused(messages[i].code, messages[i].why);
    }
}

static void yours_without_run_leaves_the_devices_stopped(void **state)
{
    (void)state;
    sent[sent_len - 1] = 0;
    run();
    assert_int_equal(p.target.outcome, VFM_OUTCOME_DONE);
    assert_int_equal(p.target.devices[0].state, VFM_STATE_STOP);
    assert_int_equal(p.target.vm_starts, 0);
    pair_close(&p);
}

static void pings_without_end_are_passed_over(void **state)
{
    uint8_t pings[40000];
    struct encoder enc;

    (void)state;
    encoder_init(&enc, pings, sizeof(pings));
    while (enc.error == 0)
        encode_ping(&enc, 0);
    insert(find_text("dev0/vfio") - 6, pings, enc.len - enc.len % 9);
    run();
    assert_int_equal(p.target.outcome, VFM_OUTCOME_DONE);
    pair_close(&p);
}

static void a_stream_without_a_hello_is_refused_by_name(void **state)
{
    (void)state;
    cut_out(0, find_text("QEVM"));
    run();
    refused(-EPROTO, "begins without one");
}

#define TEST(name) cmocka_unit_test_setup(name, begin_with_good)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_recorded_is_good),
        TEST(a_damaged_byte_never_runs),
        TEST(a_device_that_was_not_announced_is_refused),
        TEST(a_section_of_another_kind_is_refused),
        TEST(a_device_that_begins_twice_is_refused),
        TEST(a_digest_that_is_wrong_is_found),
        TEST(a_size_that_is_wrong_is_found),
        TEST(state_that_nobody_vouches_for_is_refused),
        TEST(a_missing_description_is_noticed),
        TEST(a_device_that_does_not_end_is_noticed),
        TEST(the_configuration_of_another_device_is_refused),
        TEST(bytes_behind_the_stream_are_no_yours),
        TEST(a_message_that_is_not_yours_is_none),
        TEST(yours_without_run_leaves_the_devices_stopped),
        TEST(pings_without_end_are_passed_over),
        TEST(a_stream_without_a_hello_is_refused_by_name),
    };

    return cmocka_run_group_tests(tests, record, NULL);
}
