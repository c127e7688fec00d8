/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages, and the two boxes they travel through, whatever pieces the channel
 * makes of them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-device.h"
#include "migration/message.h"
#include "util/bytes.h"

static struct outbox box;
static struct inbox in;

static struct vfm_channel *channel;
static int peer;

static int set_up(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    assert_int_equal(vfm_channel_from_fd(fds[0], "peer", NULL, &channel, NULL),
                     0);
    peer = fds[1];
    outbox_begin(&box);
    return inbox_init(&in, 64);
}

static int tear_down(void **state)
{
    (void)state;
    inbox_close(&in);
    vfm_channel_close(channel);
    close(peer);
    return 0;
}

static void receive(const void *bytes, size_t len)
{
    assert_int_equal(send(peer, bytes, len, 0), len);
    assert_int_equal(inbox_fill(&in, channel, NULL), len);
}

static void a_message_has_the_frame_of_qemus_return_path(void **state)
{
    static const uint8_t golden[] = { 0x80, 0x01, 0, 16, 0, 0, 0, 0, 0, 0,
                                      1,    2,    0, 0,  0, 0, 0, 0, 0, 3 };
    uint8_t got[sizeof(golden)];

    (void)state;
    message_put_u64(&box, MESSAGE_PROGRESS, 2, 0x102, 3);
    assert_int_equal(outbox_send(&box, channel, NULL), 0);
    assert_true(outbox_is_empty(&box));
    assert_int_equal(recv(peer, got, sizeof(got), 0), sizeof(golden));
    assert_memory_equal(got, golden, sizeof(golden));
}

static void a_payload_that_is_too_long_is_cut(void **state)
{
    static char text[MESSAGE_MAX + 100];
    uint8_t got[2 * MESSAGE_MAX];

    (void)state;
    memset(text, 'x', sizeof(text));
    message_put(&box, MESSAGE_FAILED, text, sizeof(text));
    assert_int_equal(outbox_send(&box, channel, NULL), 0);
    assert_int_equal(recv(peer, got, sizeof(got), 0), 4 + MESSAGE_MAX);
    assert_int_equal(get_be16(got + 2), MESSAGE_MAX);
}

static void a_message_that_comes_byte_by_byte_is_one(void **state)
{
    static const uint8_t bytes[] = { 0x80, 0x06, 0, 3, 'n', 'o', '!' };
    struct message msg;
    char text[16];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        assert_int_equal(message_next(&in, &msg, NULL), 0);
        receive(bytes + i, 1);
    }
    assert_int_equal(message_next(&in, &msg, NULL), 1);
    assert_int_equal(msg.type, MESSAGE_FAILED);
    message_text(&msg, text, sizeof(text));
    assert_string_equal(text, "no!");
    message_text(&msg, text, 3);
    assert_string_equal(text, "no");
    assert_int_equal(message_next(&in, &msg, NULL), 0);
}

static void messages_that_come_together_are_several(void **state)
{
    static const uint8_t bytes[] = {
        0, 7, 0, 0, 0, 2, 0, 4, 1, 2, 3, 4, 0, 7, 0
    };
    struct message msg;

    (void)state;
    receive(bytes, sizeof(bytes));
    assert_int_equal(message_next(&in, &msg, NULL), 1);
    assert_int_equal(msg.type, MESSAGE_SWITCHOVER_ACK);
    assert_int_equal(message_next(&in, &msg, NULL), 1);
    assert_int_equal(msg.type, MESSAGE_PONG);
    assert_int_equal(msg.len, 4);
    assert_int_equal(message_next(&in, &msg, NULL), 0);
    receive("", 1);
    assert_int_equal(message_next(&in, &msg, NULL), 1);
}

static void a_message_that_claims_too_much_is_refused(void **state)
{
    static const uint8_t bytes[] = { 0, 2, 2, 1 };
    struct vfm_error err;
    struct message msg;

    (void)state;
    receive(bytes, sizeof(bytes));
    assert_int_equal(message_next(&in, &msg, &err), -EPROTO);
    assert_string_equal(err.message,
                        "peer: message 0x0002 of 513 bytes is too long");
}

static void numbers_that_are_not_there_are_0(void **state)
{
    static const uint8_t bytes[] = { 0x80, 1, 0, 15, 0, 0, 0, 0, 0, 0,
                                     0,    9, 9, 9,  9, 9, 9, 9, 9 };
    struct message msg;

    (void)state;
    receive(bytes, sizeof(bytes));
    assert_int_equal(message_next(&in, &msg, NULL), 1);
    assert_int_equal(message_u64(&msg, 0), 9);
    assert_int_equal(message_u64(&msg, 1), 0);
    assert_int_equal(message_u64(&msg, 500), 0);
}

static void an_inbox_that_is_full_says_so(void **state)
{
    uint8_t bytes[100] = { 0 };

    (void)state;
    assert_int_equal(send(peer, bytes, sizeof(bytes), 0), sizeof(bytes));
    assert_int_equal(inbox_fill(&in, channel, NULL), 64);
    assert_int_equal(inbox_fill(&in, channel, NULL), -ENOBUFS);
    inbox_use(&in, 40);
    assert_int_equal(inbox_fill(&in, channel, NULL), 36);
    assert_int_equal(inbox_len(&in), 60);
    assert_int_equal(inbox_fill(&in, channel, NULL), -EAGAIN);
}

static void what_is_left_stays_in_order(void **state)
{
    uint8_t next = 0;
    uint8_t expected = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint8_t bytes[7];

        for (size_t b = 0; b < sizeof(bytes); b++)
            bytes[b] = next++;
        receive(bytes, sizeof(bytes));
        while (inbox_len(&in) > (size_t)(i % 13)) {
            assert_int_equal(inbox_data(&in)[0], expected++);
            inbox_use(&in, 1);
        }
    }
}

static void the_end_is_the_end(void **state)
{
    (void)state;
    receive("x", 1);
    shutdown(peer, SHUT_WR);
    assert_int_equal(inbox_fill(&in, channel, NULL), 0);
    assert_int_equal(inbox_fill(&in, channel, NULL), 0);
    assert_true(in.ended);
    assert_int_equal(inbox_len(&in), 1);
}

static void put_piece(const uint8_t *body, size_t len)
{
    outbox_begin(&box);
    encode_header(&box.head);
    outbox_set_body(&box, body, len);
    encode_section_footer(&box.tail, 9);
}

static void a_piece_goes_on_after_every_byte(void **state)
{
    static const uint8_t whole[] = "QEVM\0\0\0\3body\x7e\0\0\0\x09";
    uint8_t got[64];

    (void)state;
    for (size_t sent = 0; sent < sizeof(whole) - 1; sent++) {
        size_t left = sizeof(whole) - 1 - sent;

        put_piece((const uint8_t *)"body", 4);
        box.sent = sent;
        assert_false(outbox_is_empty(&box));
        assert_int_equal(outbox_send(&box, channel, NULL), 0);
        assert_true(outbox_is_empty(&box));
        assert_int_equal(recv(peer, got, sizeof(got), 0), left);
        assert_memory_equal(got, whole + sent, left);
    }
}

static void a_channel_that_is_full_loses_nothing(void **state)
{
    static uint8_t body[3000000];
    static uint8_t got[sizeof(body) + 13];
    size_t at = 0;
    int waits = 0;

    (void)state;
    fake_pattern(body, sizeof(body), 5);
    put_piece(body, sizeof(body));
    while (outbox_send(&box, channel, NULL) == -EAGAIN) {
        ssize_t n = recv(peer, got + at, 70001, 0);

        assert_true(n > 0);
        at += (size_t)n;
        waits++;
    }
    while (at < sizeof(got))
        at += (size_t)recv(peer, got + at, sizeof(got) - at, 0);
    assert_true(waits > 1);
    assert_memory_equal(got + 8, body, sizeof(body));
    assert_int_equal(get_be32(got + sizeof(got) - 4), 9);
}

static void what_cannot_be_encoded_is_not_sent(void **state)
{
    struct vfm_error err;
    uint8_t byte;

    (void)state;
    outbox_begin(&box);
    encode_command(&box.head, VFM_COMMAND_PING, NULL, 1 << 20);
    assert_int_equal(outbox_send(&box, channel, &err), -EINVAL);
    assert_int_equal(recv(peer, &byte, 1, MSG_DONTWAIT), -1);
}

static void a_channel_that_broke_is_an_error(void **state)
{
    struct vfm_error err;

    (void)state;
    shutdown(peer, SHUT_RDWR);
    message_put(&box, MESSAGE_FAILED, "x", 1);
    assert_int_equal(outbox_send(&box, channel, &err), -EPIPE);
    assert_non_null(strstr(err.message, "peer"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_has_the_frame_of_qemus_return_path),
        TEST(a_payload_that_is_too_long_is_cut),
        TEST(a_message_that_comes_byte_by_byte_is_one),
        TEST(messages_that_come_together_are_several),
        TEST(a_message_that_claims_too_much_is_refused),
        TEST(numbers_that_are_not_there_are_0),
        TEST(an_inbox_that_is_full_says_so),
        TEST(what_is_left_stays_in_order),
        TEST(the_end_is_the_end),
        TEST(a_piece_goes_on_after_every_byte),
        TEST(a_channel_that_is_full_loses_nothing),
        TEST(what_cannot_be_encoded_is_not_sent),
        TEST(a_channel_that_broke_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
