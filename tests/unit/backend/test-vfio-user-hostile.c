/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Servers that break the protocol or go away: the connection ends with the
 * right error, later calls repeat it, and nothing leaks.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/vfio-user/client.h"
#include "device/device.h"
#include "fake-server.h"

/* A call whose answer the tests spoil. */
static int ask_size(struct vfm_device *dev, struct vfm_error *err)
{
    uint64_t bytes;

    return vfm_device_data_size(dev, &bytes, err);
}

/* Asks @f's device while @handler answers, and expects the connection to end
 * with @code and @words. */
static void check_loss(fake_handler *handler, int code, const char *words)
{
    int fds = fake_count_fds();
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct vfm_error err = { 0 };
    struct pollfd pollfds[DEVICE_MAX_FDS];
    int64_t deadline;

    f.on[VFU_DEVICE_FEATURE] = handler;
    assert_int_equal(ask_size(dev, &err), code);
    if (strstr(err.message, words) == NULL)
        fail_msg("no \"%s\" in \"%s\"", words, err.message);
    /* Whatever comes next. */
    f.on[VFU_DEVICE_FEATURE] = NULL;
    assert_int_equal(ask_size(dev, NULL), code);
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP, NULL), code);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_ERROR);
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, 0, 1, NULL), code);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), code);
    device_wait_fds(dev, pollfds, &deadline);
    assert_int_equal(deadline, 0);
    vfm_device_close(dev);
    fake_stop(&f);
    assert_int_equal(fake_count_fds(), fds);
}

static struct vfu_header good_header(const struct fake_message *m)
{
    return (struct vfu_header){
        .id = m->header.id,
        .command = m->header.command,
        .size = sizeof(struct vfu_header) + 16,
        .flags = VFU_TYPE_REPLY,
    };
}

static const uint8_t zeros[64];

static void wrong_id(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    h.id++;
    fake_send_message(f, h, zeros, 16);
}

static void wrong_command(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    h.command = VFU_DEVICE_RESET;
    fake_send_message(f, h, zeros, 16);
}

static void wrong_type(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    h.flags = 5;
    fake_send_message(f, h, zeros, 16);
}

static void too_small(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    h.size = 15;
    fake_send_message(f, h, NULL, 0);
}

static void no_size(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    h.size = 0;
    fake_send_message(f, h, NULL, 0);
}

static void too_large(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    h.size = UINT32_C(1) << 20;
    fake_send_message(f, h, NULL, 0);
}

static void largest(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    h.size = UINT32_MAX;
    fake_send_message(f, h, NULL, 0);
}

static void too_short(struct fake_server *f, const struct fake_message *m)
{
    fake_reply(f, m, zeros, 15);
}

static void twice(struct fake_server *f, const struct fake_message *m)
{
    fake_reply(f, m, zeros, 16);
    fake_reply(f, m, zeros, 16);
}

static void nonsense_ends_the_connection(void **state)
{
    (void)state;
    check_loss(wrong_id, -EPROTO, "to no request");
    check_loss(wrong_command, -EPROTO, "answered by a reply to command 13");
    check_loss(wrong_type, -EPROTO, "type 5");
    check_loss(too_small, -EPROTO, "of 15 bytes is shorter than its header");
    check_loss(no_size, -EPROTO, "of 0 bytes is shorter than its header");
    check_loss(too_large, -EPROTO, "has 1048576 bytes");
    check_loss(largest, -EPROTO, "has 4294967295 bytes");
    check_loss(too_short, -EPROTO, "1 are missing");
}

static void a_second_answer_ends_the_connection(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    f.on[VFU_DEVICE_FEATURE] = twice;
    assert_int_equal(ask_size(dev, NULL), 0);
    assert_int_equal(ask_size(dev, NULL), -EPROTO);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void many_fds(struct fake_server *f, const struct fake_message *m)
{
    int fds[40];

    for (int i = 0; i < 40; i++)
        fds[i] = STDIN_FILENO;
    fake_reply_fds(f, m, zeros, 16, fds, 40);
}

static void too_many_descriptors_end_the_connection(void **state)
{
    (void)state;
    check_loss(many_fds, -EPROTO, "message with too many descriptors");
}

static void some_fds(struct fake_server *f, const struct fake_message *m)
{
    int fds[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };

    fake_reply_fds(f, m, zeros, 16, fds, 3);
}

static void descriptors_nobody_wants_are_closed(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    int fds = fake_count_fds();

    (void)state;
    f.on[VFU_DEVICE_FEATURE] = some_fds;
    assert_int_equal(ask_size(dev, NULL), 0);
    assert_int_equal(fake_count_fds(), fds);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void silence(struct fake_server *f, const struct fake_message *m)
{
    (void)f;
    (void)m;
}

static void half(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    fake_send(f, &h, sizeof(h));
    fake_send(f, zeros, 8);
}

static void half_header(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    fake_send(f, &h, 7);
}

static void silence_ends_the_connection_in_time(void **state)
{
    (void)state;
    check_loss(silence, -ETIMEDOUT,
               "no answer to DEVICE_FEATURE within 5000 ms");
    check_loss(half, -ETIMEDOUT, "no answer");
    check_loss(half_header, -ETIMEDOUT, "no answer");
}

static void go_away(struct fake_server *f, const struct fake_message *m)
{
    (void)m;
    fake_hang_up(f);
}

static void half_and_away(struct fake_server *f, const struct fake_message *m)
{
    half(f, m);
    fake_hang_up(f);
}

static void half_header_and_away(struct fake_server *f,
                                 const struct fake_message *m)
{
    half_header(f, m);
    fake_hang_up(f);
}

static void a_server_that_goes_away_is_noticed_at_once(void **state)
{
    (void)state;
    check_loss(go_away, -ENOTCONN, "server closed the connection");
    check_loss(half_and_away, -ENOTCONN, "inside a message");
    check_loss(half_header_and_away, -ENOTCONN, "inside a message");
}

static void answer_and_away(struct fake_server *f, const struct fake_message *m)
{
    fake_answer(f, m);
    fake_hang_up(f);
}

static void the_last_answer_of_a_server_counts(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    f.on[VFU_DEVICE_FEATURE] = answer_and_away;
    assert_int_equal(ask_size(dev, NULL), 0);
    assert_int_equal(ask_size(dev, NULL), -ENOTCONN);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void a_request_to_a_server_that_is_gone_fails(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct vfm_error err;

    (void)state;
    fake_hang_up(&f);
    assert_int_equal(ask_size(dev, &err), -ENOTCONN);
    assert_string_equal(err.message,
                        "fake: cannot tell the size of its state: server "
                        "closed the connection");
    vfm_device_close(dev);
    fake_stop(&f);
}

/* It went, but has answered before. */
static void an_answer_is_read_although_the_server_is_gone(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct device_call call = { .op = DEVICE_DATA_SIZE };
    const void *data;

    (void)state;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL), 0);
    assert_int_equal(device_call_start(dev, &call, NULL), 0);
    fake_serve(&f);
    fake_hang_up(&f);
    /* This is sent into nowhere. */
    assert_int_equal(device_peek(dev, &data, NULL), -ENOTCONN);
    assert_int_equal(device_call_finish(dev, &call, NULL), 0);
    assert_int_equal(device_peek(dev, &data, NULL), -ENOTCONN);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void an_idle_device_notices_that_its_server_is_gone(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t deadline;

    (void)state;
    device_wait_fds(dev, fds, &deadline); /* takes the news of the opening */
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 2);
    assert_int_equal(deadline, INT64_MAX);
    assert_int_equal(poll(fds, 1, 0), 0);
    fake_hang_up(&f);
    assert_int_equal(poll(fds, 1, 0), 1);
    assert_int_equal(vfm_vfio_user_process(dev, NULL), -ENOTCONN);
    vfm_device_close(dev);
    fake_stop(&f);
}

/* One byte each time the client waits. */
static uint8_t trickle[64];
static size_t trickle_size;

static void keep_for_trickle(struct fake_server *f,
                             const struct fake_message *m)
{
    struct vfu_header h = good_header(m);

    (void)f;
    memcpy(trickle, &h, sizeof(h));
    memcpy(trickle + sizeof(h), zeros, 16);
    trickle[sizeof(h) + 8] = 77;
    trickle_size = sizeof(h) + 16;
}

static void a_message_may_come_byte_by_byte(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct device_call call = { .op = DEVICE_DATA_SIZE };

    (void)state;
    f.on[VFU_DEVICE_FEATURE] = keep_for_trickle;
    assert_int_equal(device_call_start(dev, &call, NULL), 0);
    fake_serve(&f);
    for (size_t i = 0; i < trickle_size; i++) {
        assert_int_equal(device_call_finish(dev, &call, NULL), -EAGAIN);
        fake_send(&f, trickle + i, 1);
    }
    assert_int_equal(device_call_finish(dev, &call, NULL), 0);
    assert_int_equal(call.bytes, 77);
    vfm_device_close(dev);
    fake_stop(&f);
}

static uint32_t refusal;

static void refuse(struct fake_server *f, const struct fake_message *m)
{
    fake_refuse(f, m, refusal);
}

static void refuse_with_payload(struct fake_server *f,
                                const struct fake_message *m)
{
    static const uint8_t payload[40000];
    struct vfu_header h = good_header(m);

    h.flags |= VFU_FLAG_ERROR;
    h.error = refusal;
    h.size = sizeof(h) + sizeof(payload);
    fake_send_message(f, h, payload, sizeof(payload));
}

static void check_refusal(uint32_t number, int code)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    refusal = number;
    f.next[VFU_DEVICE_FEATURE] = refuse;
    assert_int_equal(ask_size(dev, NULL), code);
    f.next[VFU_DEVICE_FEATURE] = refuse_with_payload;
    assert_int_equal(ask_size(dev, NULL), code);
    /* Nothing is lost by that. */
    assert_int_equal(ask_size(dev, NULL), 0);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void a_refusal_loses_nothing_with_or_without_payload(void **state)
{
    (void)state;
    check_refusal(ENODEV, -ENODEV);
    check_refusal(EBUSY, -EBUSY);
}

static void a_refusal_is_never_taken_for_a_word_of_ours(void **state)
{
    (void)state;
    check_refusal(0, -EIO);
    check_refusal(4096, -EIO);
    check_refusal(UINT32_MAX, -EIO);
    check_refusal(UINT32_C(1) << 31, -EIO);
    check_refusal(EAGAIN, -EBUSY);
    check_refusal(ETIMEDOUT, -EIO);
    check_refusal(EPROTO, -EIO);
    check_refusal(ENOTCONN, -EIO);
}

static void a_failed_transition_with_payload_leaves_the_device_where_it_says(
    void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct vfm_error err = { 0 };

    (void)state;
    refusal = EIO;
    f.next[VFU_DEVICE_FEATURE] = refuse_with_payload;
    f.state = UAPI_STATE_STOP;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, &err),
                     -EIO);
    assert_string_equal(
        err.message, "fake: cannot enter state STOP_COPY: Input/output error");
    assert_int_equal(vfm_device_state(dev), VFM_STATE_STOP);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void other_state(struct fake_server *f, const struct fake_message *m)
{
    uint8_t body[16];

    memcpy(body, m->body, sizeof(body));
    body[8] = UAPI_STATE_RESUMING;
    fake_reply(f, m, body, sizeof(body));
}

static void state_99(struct fake_server *f, const struct fake_message *m)
{
    uint8_t body[16] = { [8] = 99 };

    fake_reply(f, m, body, sizeof(body));
}

static void check_bad_state(fake_handler *handler, bool set)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    f.on[VFU_DEVICE_FEATURE] = handler;
    if (set)
        assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP, NULL),
                         -EPROTO);
    else
        assert_int_equal(vfm_device_refresh_state(dev, NULL), -EPROTO);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void a_state_that_is_none_is_no_answer(void **state)
{
    (void)state;
    check_bad_state(state_99, true);
    check_bad_state(state_99, false);
    check_bad_state(other_state, true);
}

static void an_answer_before_the_question_ends_the_connection(void **state)
{
    static uint8_t data[65536];
    struct vfm_vfio_user_options options = {
        .size = sizeof(options),
        .write_size = sizeof(data),
        .write_depth = 16,
    };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, &options);
    struct vfu_header header = { .command = VFU_MIG_DATA_WRITE,
                                 .size = sizeof(header),
                                 .flags = VFU_TYPE_REPLY };
    struct vfm_error err;
    uint16_t writes = 0;
    int room = 16384; /* less than a message, so that one is sent in part */

    (void)state;
    assert_int_equal(setsockopt(vfm_vfio_user_fd(dev), SOL_SOCKET, SO_SNDBUF,
                                &room, sizeof(room)),
                     0);
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_RESUMING, NULL), 0);
    f.is_away = true;
    while (device_write(dev, data, sizeof(data), NULL) > 0)
        writes++;
    assert_non_null(device_client(dev)->main.unsent);
    header.id = (uint16_t)(f.last_id + writes);
    fake_send(&f, &header, sizeof(header));
    assert_int_equal(vfm_vfio_user_process(dev, &err), -EPROTO);
    assert_non_null(strstr(err.message, "before it was asked"));
    vfm_device_close(dev);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_ends_the_connection),
        cmocka_unit_test(a_second_answer_ends_the_connection),
        cmocka_unit_test(too_many_descriptors_end_the_connection),
        cmocka_unit_test(descriptors_nobody_wants_are_closed),
        cmocka_unit_test(silence_ends_the_connection_in_time),
        cmocka_unit_test(a_server_that_goes_away_is_noticed_at_once),
        cmocka_unit_test(the_last_answer_of_a_server_counts),
        cmocka_unit_test(a_request_to_a_server_that_is_gone_fails),
        cmocka_unit_test(an_answer_is_read_although_the_server_is_gone),
        cmocka_unit_test(an_idle_device_notices_that_its_server_is_gone),
        cmocka_unit_test(a_message_may_come_byte_by_byte),
        cmocka_unit_test(a_refusal_loses_nothing_with_or_without_payload),
        cmocka_unit_test(a_refusal_is_never_taken_for_a_word_of_ours),
        cmocka_unit_test(
            a_failed_transition_with_payload_leaves_the_device_where_it_says),
        cmocka_unit_test(a_state_that_is_none_is_no_answer),
        cmocka_unit_test(an_answer_before_the_question_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
