/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saving and the loading session: every byte once and in order, whatever
 * the server's way of answering.
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

#define DATA_SIZE (UINT32_C(1) << 20)
#define READ_SIZE (UINT32_C(16) << 10)

static uint8_t pattern[DATA_SIZE];
static uint8_t saved[DATA_SIZE + 1];

static const struct vfm_vfio_user_options small = {
    .size = sizeof(small),
    .read_size = READ_SIZE,
    .read_depth = 4,
};

static void make_pattern(void)
{
    uint32_t x = 1;

    for (size_t i = 0; i < sizeof(pattern); i++) {
        x = x * 1664525 + 1013904223;
        pattern[i] = (uint8_t)(x >> 24);
    }
}

static struct vfm_device *open_with_data(struct fake_server *f, size_t size)
{
    struct vfm_device *dev = fake_open(f, &small);

    f->data = pattern;
    f->data_size = size;
    return dev;
}

/* Reads until something that is no data, and returns that. */
static ssize_t read_on(struct vfm_device *dev, size_t *at)
{
    ssize_t n;

    do {
        n = vfm_device_read(dev, saved + *at, sizeof(saved) - *at, NULL);
        if (n > 0)
            *at += (size_t)n;
    } while (n > 0);
    return n;
}

static void assert_saved(size_t at, size_t size)
{
    assert_int_equal(at, size);
    assert_memory_equal(saved, pattern, size);
}

static void check_save(size_t size, size_t piece)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, size);
    size_t at = 0;

    f.data_piece = piece;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), 0);
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, size);
    fake_close(&f, dev);
}

static void a_state_is_saved_as_it_is(void **state)
{
    (void)state;
    check_save(DATA_SIZE, 0);
    check_save(READ_SIZE, 0);
    check_save(READ_SIZE + 1, 0);
    check_save(1, 0);
    check_save(0, 0);
}

static void short_reads_do_not_end_the_state(void **state)
{
    (void)state;
    check_save(100000, 777);
    check_save(1000, 1);
}

static void reads_are_kept_under_way(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, DATA_SIZE);
    const void *data;

    (void)state;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    f.silent = true;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    fake_serve(&f);
    assert_int_equal(f.asked[VFU_MIG_DATA_READ], 4);
    fake_close(&f, dev);
}

/* As libvfio-user: always as many bytes as were asked for, and more. */
static void answer_padded(struct fake_server *f, const struct fake_message *m)
{
    static uint8_t reply[8 + READ_SIZE + 100];
    size_t n = f->data_size - f->data_at;
    struct vfu_mig_data head;

    memcpy(&head, m->body, sizeof(head));
    n = n < head.size ? n : head.size;
    head = (struct vfu_mig_data){ (uint32_t)(8 + n), (uint32_t)n };
    memset(reply, 0, sizeof(reply));
    memcpy(reply, &head, sizeof(head));
    memcpy(reply + sizeof(head), f->data + f->data_at, n);
    f->data_at += n;
    fake_reply(f, m, reply, sizeof(reply));
}

static void padding_of_replies_is_dropped(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 3 * READ_SIZE + 5);
    size_t at = 0;

    (void)state;
    f.on[VFU_MIG_DATA_READ] = answer_padded;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, 3 * READ_SIZE + 5);
    fake_close(&f, dev);
}

/* Replies in reverse, as soon as all four questions are there. */
static void answer_reversed(struct fake_server *f, const struct fake_message *m)
{
    static struct fake_message kept[4];
    static unsigned int n;

    kept[n] = *m;
    if (++n < 4)
        return;
    for (size_t i = 4; i-- > 0;) {
        struct {
            struct vfu_mig_data head;
            uint8_t data[4];
        } reply = { { 12, 4 }, { 0 } };

        memcpy(reply.data, f->data + i * 4, 4);
        fake_reply(f, &kept[i], &reply, sizeof(reply));
    }
    n = 0;
    f->data_at = f->data_size;
    f->on[VFU_MIG_DATA_READ] = NULL;
}

static void replies_in_any_order_are_put_in_theirs(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 16);
    size_t at = 0;

    (void)state;
    f.on[VFU_MIG_DATA_READ] = answer_reversed;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, 16);
    fake_close(&f, dev);
}

/* Replies in order, as soon as all four questions are there. */
static void answer_at_once(struct fake_server *f, const struct fake_message *m)
{
    static struct fake_message kept[4];
    static unsigned int n;

    kept[n] = *m;
    if (++n < 4)
        return;
    n = 0;
    f->on[VFU_MIG_DATA_READ] = NULL;
    for (size_t i = 0; i < 4; i++)
        fake_answer(f, &kept[i]);
}

static void nothing_is_asked_for_beyond_an_end_that_is_here(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 100);
    size_t at = 0;

    (void)state;
    f.on[VFU_MIG_DATA_READ] = answer_at_once;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, 100);
    assert_int_equal(f.asked[VFU_MIG_DATA_READ], 4);
    fake_close(&f, dev);
}

static void pre_copy_yields_nothing_for_now_and_then_more(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 40000);
    size_t at = 0;

    (void)state;
    fake_enter(dev, VFM_STATE_PRE_COPY);
    assert_int_equal(read_on(dev, &at), -ENOMSG);
    assert_saved(at, 40000);
    assert_int_equal(read_on(dev, &at), -ENOMSG);
    f.data_size = 100000;
    assert_int_equal(read_on(dev, &at), -ENOMSG);
    assert_saved(at, 100000);
    fake_close(&f, dev);
}

/* As a kernel device. */
static void refuse_enomsg(struct fake_server *f, const struct fake_message *m)
{
    fake_refuse(f, m, ENOMSG);
}

static void enomsg_in_pre_copy_is_nothing_for_now(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 100);
    size_t at = 0;

    (void)state;
    f.on[VFU_MIG_DATA_READ] = refuse_enomsg;
    fake_enter(dev, VFM_STATE_PRE_COPY);
    assert_int_equal(read_on(dev, &at), -ENOMSG);
    f.on[VFU_MIG_DATA_READ] = NULL;
    assert_int_equal(read_on(dev, &at), -ENOMSG);
    assert_saved(at, 100);
    fake_close(&f, dev);
}

/* The device's position in the stream survives the change of state. */
static void keep_position(struct fake_server *f, const struct fake_message *m)
{
    size_t at = f->data_at;

    fake_answer(f, m);
    f->data_at = at;
}

static void what_was_read_ahead_in_pre_copy_comes_first(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, DATA_SIZE);
    const void *data;
    size_t at = 0;

    (void)state;
    fake_enter(dev, VFM_STATE_PRE_COPY);
    /* Four are asked for; none is taken. */
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    f.on[VFU_DEVICE_FEATURE] = keep_position;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(f.data_at, 4 * READ_SIZE);
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, DATA_SIZE);
    fake_close(&f, dev);
}

static void empty_answers_of_pre_copy_do_not_end_stop_copy(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 0);
    const void *data;
    size_t at = 0;

    (void)state;
    fake_enter(dev, VFM_STATE_PRE_COPY);
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    /* The answers, all empty, are still unseen. */
    fake_serve(&f);
    f.data_size = 5000;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, 5000);
    fake_close(&f, dev);
}

static void nothing_is_asked_while_the_state_changes(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 10);
    const void *data;
    size_t at = 0;

    (void)state;
    fake_enter(dev, VFM_STATE_PRE_COPY);
    assert_int_equal(read_on(dev, &at), -ENOMSG);
    assert_int_equal(device_set_state_start(dev, VFM_STATE_STOP_COPY, NULL),
                     -EAGAIN);
    f.asked[VFU_MIG_DATA_READ] = 0;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    fake_serve(&f);
    assert_int_equal(f.asked[VFU_MIG_DATA_READ], 0);
    assert_int_equal(device_set_state_finish(dev, NULL), 0);
    fake_close(&f, dev);
}

static void a_session_left_half_read_does_not_leak_into_the_next(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, DATA_SIZE);
    const void *data;
    size_t at = 0;

    (void)state;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_device_read(dev, saved, 100, NULL), 100);
    assert_true(device_peek(dev, &data, NULL) > 0);
    fake_enter(dev, VFM_STATE_RUNNING);
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, DATA_SIZE);
    fake_close(&f, dev);
}

/* The session ends before its answers have come. */
static void late_answers_of_a_former_session_mean_nothing(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 3 * READ_SIZE);
    const void *data;
    size_t at = 0;

    (void)state;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    dev->ops->end_session(dev);
    f.is_away = true;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    f.is_away = false;
    fake_serve(&f);
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    f.data_at = 0;
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, 3 * READ_SIZE);
    fake_close(&f, dev);
}

static void refuse_eio(struct fake_server *f, const struct fake_message *m)
{
    fake_refuse(f, m, EIO);
}

/* Two pieces and then an error, with a payload as libvfio-user sends it. */
static void fail_after_two(struct fake_server *f, const struct fake_message *m)
{
    static const uint8_t payload[24];
    struct vfu_header header = m->header;

    if (f->data_at < 2 * READ_SIZE) {
        fake_answer(f, m);
        return;
    }
    header.flags = VFU_TYPE_REPLY | VFU_FLAG_ERROR;
    header.error = EIO;
    header.size = sizeof(header) + sizeof(payload);
    fake_send_message(f, header, payload, sizeof(payload));
}

static void an_error_comes_after_the_data_before_it_and_stays(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, DATA_SIZE);
    struct vfm_error err = { 0 };
    size_t at = 0;

    (void)state;
    f.on[VFU_MIG_DATA_READ] = fail_after_two;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), -EIO);
    assert_saved(at, 2 * READ_SIZE);
    assert_int_equal(vfm_device_read(dev, saved, 1, &err), -EIO);
    assert_string_equal(err.message,
                        "fake: cannot read its state: Input/output error");
    /* The device is well apart from that. */
    f.on[VFU_MIG_DATA_READ] = NULL;
    at = 0;
    fake_enter(dev, VFM_STATE_STOP);
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), 0);
    assert_saved(at, DATA_SIZE);
    fake_close(&f, dev);
}

static void answer_after_end(struct fake_server *f,
                             const struct fake_message *m)
{
    struct {
        struct vfu_mig_data head;
        uint8_t data[4];
    } reply = { { 12, 4 }, { 0 } };

    if (f->asked[VFU_MIG_DATA_READ] == 1)
        reply.head = (struct vfu_mig_data){ 8, 0 };
    fake_reply(f, m, &reply, 8 + reply.head.size);
}

static void data_after_the_end_is_a_protocol_error(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 0);
    size_t at = 0;

    (void)state;
    f.on[VFU_MIG_DATA_READ] = answer_after_end;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), -EPROTO);
    assert_int_equal(vfm_device_refresh_state(dev, NULL), -EPROTO);
    fake_close(&f, dev);
}

static uint32_t bad_size;
static size_t bad_body;

static void answer_badly(struct fake_server *f, const struct fake_message *m)
{
    static uint8_t reply[READ_SIZE + 8 + 1024];
    struct vfu_mig_data head = { 8 + bad_size, bad_size };

    memcpy(reply, &head, sizeof(head));
    fake_reply(f, m, reply, bad_body);
}

static void check_bad_read(size_t body, uint32_t size)
{
    struct fake_server f;
    struct vfm_device *dev = open_with_data(&f, 0);
    size_t at = 0;

    bad_body = body;
    bad_size = size;
    f.on[VFU_MIG_DATA_READ] = answer_badly;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), -EPROTO);
    assert_int_equal(at, 0);
    fake_close(&f, dev);
}

static void a_read_cannot_yield_more_than_asked_or_sent(void **state)
{
    (void)state;
    check_bad_read(8 + READ_SIZE + 1, READ_SIZE + 1);
    check_bad_read(8 + 10, 11);
    check_bad_read(8, 1);
    check_bad_read(8 + 10, UINT32_MAX);
    check_bad_read(7, 0);
    check_bad_read(0, 0);
}

static int flush_all(struct vfm_device *dev, struct vfm_error *err)
{
    int ret;

    while ((ret = device_flush(dev, err)) == -EAGAIN)
        if (device_wait(dev, err) < 0)
            break;
    return ret;
}

static int write_all(struct vfm_device *dev, size_t size, struct vfm_error *err)
{
    int ret = vfm_device_write(dev, pattern, size, err);

    return ret == 0 ? flush_all(dev, err) : ret;
}

static void a_state_is_loaded_as_it_is(void **state)
{
    static const size_t sizes[] = { 1, 32768, 32769, DATA_SIZE };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct fake_server f;
        struct vfm_device *dev = fake_open(&f, NULL);

        fake_enter(dev, VFM_STATE_RESUMING);
        assert_int_equal(vfm_device_write(dev, pattern, sizes[i], NULL), 0);
        assert_int_equal(flush_all(dev, NULL), 0);
        assert_int_equal(f.loaded_size, sizes[i]);
        assert_memory_equal(f.loaded, pattern, sizes[i]);
        fake_enter(dev, VFM_STATE_RUNNING);
        fake_close(&f, dev);
    }
}

static void writes_are_cut_to_what_every_server_takes(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(device_write(dev, pattern, DATA_SIZE, NULL), 32768);
    assert_int_equal(device_write(dev, pattern, DATA_SIZE, NULL), 32768);
    assert_int_equal(device_flush(dev, NULL), -EAGAIN);
    assert_int_equal(flush_all(dev, NULL), 0);
    assert_int_equal(f.loaded_size, 65536);
    fake_close(&f, dev);
}

static void writes_are_as_large_as_a_server_that_minds_not_allows(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = NULL;

    (void)state;
    fake_start(&f);
    f.version = "{\"capabilities\":{\"max_data_xfer_size\":200000,"
                "\"vfmig_whole_messages\":true}}";
    assert_int_equal(
        vfm_device_open_vfio_user_fd(f.client_fd, "f", NULL, &dev, NULL), 0);
    f.client_fd = -1;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(device_write(dev, pattern, DATA_SIZE, NULL), 200000);
    assert_int_equal(flush_all(dev, NULL), 0);
    assert_int_equal(f.loaded_size, 200000);
    fake_close(&f, dev);
}

static void no_more_writes_are_under_way_than_allowed(void **state)
{
    struct vfm_vfio_user_options options = {
        .size = sizeof(options),
        .write_size = 4096,
        .write_depth = 2,
    };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, &options);

    (void)state;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(device_write(dev, pattern, 5000, NULL), 4096);
    assert_int_equal(device_write(dev, pattern, 100, NULL), 100);
    assert_int_equal(device_write(dev, pattern, 100, NULL), -EAGAIN);
    fake_serve(&f);
    assert_int_equal(device_write(dev, pattern, 100, NULL), 100);
    fake_close(&f, dev);
}

static void refuse_third(struct fake_server *f, const struct fake_message *m)
{
    if (f->asked[VFU_MIG_DATA_WRITE] == 3)
        fake_refuse(f, m, ENOSPC);
    else if (f->asked[VFU_MIG_DATA_WRITE] > 3)
        fake_refuse(f, m, EINVAL);
    else
        fake_answer(f, m);
}

static void the_first_refusal_of_a_write_stays(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct vfm_error err = { 0 };

    (void)state;
    f.on[VFU_MIG_DATA_WRITE] = refuse_third;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(write_all(dev, DATA_SIZE, &err), -ENOSPC);
    assert_string_equal(
        err.message, "fake: cannot write its state: No space left on device");
    assert_int_equal(device_flush(dev, NULL), -ENOSPC);
    assert_int_equal(vfm_device_write(dev, pattern, 1, NULL), -ENOSPC);
    assert_int_equal(f.loaded_size, 65536);

    /* The device is well, and the next session is another. */
    f.on[VFU_MIG_DATA_WRITE] = NULL;
    fake_enter(dev, VFM_STATE_STOP);
    f.loaded_size = 0;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(write_all(dev, 100000, NULL), 0);
    assert_memory_equal(f.loaded, pattern, 100000);
    fake_close(&f, dev);
}

static void refusals_of_a_former_session_mean_nothing(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    f.next[VFU_MIG_DATA_WRITE] = refuse_eio;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(device_write(dev, pattern, 10, NULL), 10);
    /* Nobody was told: the way out fails once. */
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP, NULL), -EIO);
    assert_int_equal(vfm_device_state(dev), VFM_STATE_RESUMING);
    fake_enter(dev, VFM_STATE_STOP);
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(write_all(dev, 100, NULL), 0);
    fake_close(&f, dev);
}

/* The server does not read for a while: what is sent in part goes on when it
 * does. */
static void a_full_socket_delays_writes_and_loses_nothing(void **state)
{
    struct vfm_vfio_user_options options = {
        .size = sizeof(options),
        .write_size = 65536,
        .write_depth = 16,
    };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, &options);
    int room = 16384; /* less than a message, so that one is sent in part */
    size_t at = 0;
    ssize_t n;

    (void)state;
    assert_int_equal(setsockopt(vfm_vfio_user_fd(dev), SOL_SOCKET, SO_SNDBUF,
                                &room, sizeof(room)),
                     0);
    fake_enter(dev, VFM_STATE_RESUMING);
    f.is_away = true;
    while ((n = device_write(dev, pattern + at, DATA_SIZE - at, NULL)) > 0)
        at += (size_t)n;
    assert_int_equal(n, -EAGAIN);
    assert_true(at > 0 && at < DATA_SIZE);
    assert_non_null(device_client(dev)->main.unsent);
    f.is_away = false;
    assert_int_equal(vfm_device_write(dev, pattern + at, DATA_SIZE - at, NULL),
                     0);
    assert_int_equal(flush_all(dev, NULL), 0);
    assert_int_equal(f.loaded_size, DATA_SIZE);
    assert_memory_equal(f.loaded, pattern, DATA_SIZE);
    fake_close(&f, dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_is_saved_as_it_is),
        cmocka_unit_test(short_reads_do_not_end_the_state),
        cmocka_unit_test(reads_are_kept_under_way),
        cmocka_unit_test(padding_of_replies_is_dropped),
        cmocka_unit_test(replies_in_any_order_are_put_in_theirs),
        cmocka_unit_test(nothing_is_asked_for_beyond_an_end_that_is_here),
        cmocka_unit_test(pre_copy_yields_nothing_for_now_and_then_more),
        cmocka_unit_test(enomsg_in_pre_copy_is_nothing_for_now),
        cmocka_unit_test(what_was_read_ahead_in_pre_copy_comes_first),
        cmocka_unit_test(empty_answers_of_pre_copy_do_not_end_stop_copy),
        cmocka_unit_test(nothing_is_asked_while_the_state_changes),
        cmocka_unit_test(a_session_left_half_read_does_not_leak_into_the_next),
        cmocka_unit_test(late_answers_of_a_former_session_mean_nothing),
        cmocka_unit_test(an_error_comes_after_the_data_before_it_and_stays),
        cmocka_unit_test(data_after_the_end_is_a_protocol_error),
        cmocka_unit_test(a_read_cannot_yield_more_than_asked_or_sent),
        cmocka_unit_test(a_state_is_loaded_as_it_is),
        cmocka_unit_test(writes_are_cut_to_what_every_server_takes),
        cmocka_unit_test(writes_are_as_large_as_a_server_that_minds_not_allows),
        cmocka_unit_test(no_more_writes_are_under_way_than_allowed),
        cmocka_unit_test(the_first_refusal_of_a_write_stays),
        cmocka_unit_test(refusals_of_a_former_session_mean_nothing),
        cmocka_unit_test(a_full_socket_delays_writes_and_loses_nothing),
    };

    make_pattern();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
