/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Servers that answer late, or never, or ask and do not listen: each wait has
 * its end, what is kept for them has a bound, and the caller is told until when
 * to wait.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"
#include "fake-server.h"
#include "util/clock.h"

static void a_late_look_at_an_answer_in_time_is_no_timeout(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct device_call call = { .op = DEVICE_DATA_SIZE };

    (void)state;
    assert_int_equal(device_call_start(dev, &call, NULL), 0);
    fake_serve(&f);
    fake_pass_time(1000000);
    assert_int_equal(device_call_finish(dev, &call, NULL), 0);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void silence_in_a_session_ends_the_connection(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct vfm_error err = { 0 };
    uint8_t buf[16];

    (void)state;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL), 0);
    f.silent = true;
    assert_int_equal(vfm_device_read(dev, buf, sizeof(buf), &err), -ETIMEDOUT);
    assert_string_equal(err.message,
                        "fake: cannot read its state: no answer to "
                        "MIG_DATA_READ within 30000 ms");
    assert_int_equal(vfm_device_read(dev, buf, sizeof(buf), NULL), -ETIMEDOUT);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void say_nothing(struct fake_server *f, const struct fake_message *m)
{
    (void)f;
    (void)m;
}

/* Other answers are no data. */
static void a_server_that_answers_all_but_reads_is_silent(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    const void *data;
    uint64_t bytes;
    int seconds = 0;

    (void)state;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL), 0);
    f.on[VFU_MIG_DATA_READ] = say_nothing;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    while (device_peek(dev, &data, NULL) == -EAGAIN && seconds++ < 40) {
        vfm_device_data_size(dev, &bytes, NULL);
        fake_pass_time(1000);
    }
    assert_int_equal(device_peek(dev, &data, NULL), -ETIMEDOUT);
    assert_in_range(seconds, 29, 31);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void silence_while_loading_ends_the_connection(void **state)
{
    static uint8_t buf[1 << 20];
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_RESUMING, NULL), 0);
    f.is_away = true;
    assert_int_equal(vfm_device_write(dev, buf, sizeof(buf), NULL), -ETIMEDOUT);
    vfm_device_close(dev);
    fake_stop(&f);
}

/* Pieces that come slowly but surely. */
static void a_slow_answer_is_no_silence(void **state)
{
    struct vfm_vfio_user_options options = { .size = sizeof(options),
                                             .read_depth = 1 };
    static uint8_t body[8 + 65536];
    struct vfu_header header = { .command = VFU_MIG_DATA_READ,
                                 .size = 16 + sizeof(body),
                                 .flags = VFU_TYPE_REPLY };
    struct vfu_mig_data head = { sizeof(body), 65536 };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, &options);
    const void *data;

    (void)state;
    memcpy(body, &head, sizeof(head));
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL), 0);
    f.silent = true;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    fake_serve(&f);
    header.id = f.last_id;
    fake_send(&f, &header, sizeof(header));
    fake_pass_time(25000);
    fake_send(&f, body, 40000);
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    fake_pass_time(25000);
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    fake_send(&f, body, sizeof(body) - 40000);
    assert_int_equal(device_peek(dev, &data, NULL), 65536);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void a_trickle_is_as_good_as_silence(void **state)
{
    struct vfm_vfio_user_options options = { .size = sizeof(options),
                                             .read_depth = 1 };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, &options);
    struct vfu_header header = { .command = VFU_MIG_DATA_READ,
                                 .size = 16 + 8 + 65536,
                                 .flags = VFU_TYPE_REPLY };
    const void *data;
    ssize_t n = -EAGAIN;

    (void)state;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL), 0);
    f.silent = true;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    fake_serve(&f);
    header.id = f.last_id;
    fake_send(&f, &header, sizeof(header));
    for (int i = 0; i < 100 && n == -EAGAIN; i++) {
        fake_send(&f, "", 1);
        fake_pass_time(1000);
        n = device_peek(dev, &data, NULL);
    }
    assert_int_equal(n, -ETIMEDOUT);
    vfm_device_close(dev);
    fake_stop(&f);
}

static size_t answered;

static int count_read(void *opaque, uint64_t iova, void *buf, size_t len)
{
    (void)opaque;
    (void)iova;
    memset(buf, 0, len);
    answered += len;
    return 0;
}

static int refuse_write(void *opaque, uint64_t iova, const void *buf,
                        size_t len)
{
    (void)opaque;
    (void)iova;
    (void)buf;
    (void)len;
    return -EFAULT;
}

static void who_asks_without_listening_is_heard_no_more(void **state)
{
    static const struct vfm_dma_ops ops = { sizeof(ops), count_read,
                                            refuse_write };
    const size_t piece = 65536, limit = 8 << 20;
    struct {
        struct vfu_header header;
        struct vfu_dma_access access;
    } ask = { { .command = VFU_DMA_READ, .size = sizeof(ask) }, { 0, piece } };
    struct pollfd fds[DEVICE_MAX_FDS];
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    int64_t deadline;

    (void)state;
    assert_int_equal(vfm_vfio_user_set_dma_ops(dev, &ops, NULL, NULL), 0);
    f.is_away = true;
    answered = 0;
    for (size_t asked = 0; asked < 4 * limit; asked += piece)
        fake_send(&f, &ask, sizeof(ask));
    for (int i = 0; i < 100; i++)
        assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
    assert_true(answered > 0 && answered < limit);
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 2);
    assert_int_equal(fds[0].events, POLLOUT);
    vfm_device_close(dev);
    fake_stop(&f);
}

/* Each refusal is small; what keeping it costs is not. */
static void refusals_that_nobody_reads_are_not_hoarded(void **state)
{
    struct {
        struct vfu_header header;
        struct vfu_dma_access access;
    } ask = { { .command = VFU_DMA_READ, .size = sizeof(ask) }, { 0, 1 } };
    const int limit = 32768;
    struct pollfd fds[DEVICE_MAX_FDS] = { { .events = POLLIN } };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    int64_t deadline;
    int asked = 0;

    (void)state;
    f.is_away = true;
    while (asked < limit && (fds[0].events & POLLIN) != 0) {
        fake_send(&f, &ask, sizeof(ask));
        assert_int_equal(vfm_vfio_user_process(dev, NULL), 0);
        assert_int_equal(device_wait_fds(dev, fds, &deadline), 2);
        asked++;
    }
    assert_true(asked > 100 && asked < limit);
    vfm_device_close(dev);
    fake_stop(&f);
}

/* A caller that polls for several things must not miss one. */
static void an_answer_that_another_operation_received_wakes_the_caller(
    void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct device_call call = { .op = DEVICE_DATA_SIZE };
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t deadline;
    const void *data;

    (void)state;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL), 0);
    device_wait_fds(dev, fds, &deadline);
    assert_int_equal(device_call_start(dev, &call, NULL), 0);
    assert_int_equal(device_call_finish(dev, &call, NULL), -EAGAIN);
    fake_serve(&f);
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    device_wait_fds(dev, fds, &deadline);
    assert_int_equal(deadline, 0);
    assert_int_equal(device_call_finish(dev, &call, NULL), 0);
    vfm_device_close(dev);
    fake_stop(&f);
}

static void deadlines_are_told_to_the_caller(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct device_call call = { .op = DEVICE_RESET };
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t deadline, now;

    (void)state;
    device_wait_fds(dev, fds, &deadline);
    now = clock_now();
    assert_int_equal(device_call_start(dev, &call, NULL), 0);
    assert_int_equal(device_wait_fds(dev, fds, &deadline), 2);
    assert_int_equal(deadline, now + 60 * NS_PER_SEC);
    assert_int_equal(fds[0].events, POLLIN);
    vfm_device_close(dev);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_look_at_an_answer_in_time_is_no_timeout),
        cmocka_unit_test(silence_in_a_session_ends_the_connection),
        cmocka_unit_test(silence_while_loading_ends_the_connection),
        cmocka_unit_test(a_server_that_answers_all_but_reads_is_silent),
        cmocka_unit_test(a_slow_answer_is_no_silence),
        cmocka_unit_test(a_trickle_is_as_good_as_silence),
        cmocka_unit_test(who_asks_without_listening_is_heard_no_more),
        cmocka_unit_test(refusals_that_nobody_reads_are_not_hoarded),
        cmocka_unit_test(
            an_answer_that_another_operation_received_wakes_the_caller),
        cmocka_unit_test(deadlines_are_told_to_the_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
