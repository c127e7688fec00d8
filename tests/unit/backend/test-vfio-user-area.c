/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * State that goes through memory shared with the server: every byte once and in
 * order, and in messages where the server will not share.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "backend/vfio-user/client.h"
#include "device/device.h"
#include "fake-server.h"

#define DATA_SIZE 300000u
#define PIECE     16384u

#define CAPS(size)                          \
    "{\"capabilities\":{\"max_msg_fds\":8," \
    "\"max_data_xfer_size\":1048576,\"vfmig_data_area\":" size "}}"

static uint8_t pattern[DATA_SIZE];
static uint8_t saved[DATA_SIZE + 1];

static const struct vfm_vfio_user_options small = {
    .size = sizeof(small),
    .read_size = PIECE,
};

static struct vfm_device *open_with(struct fake_server *f, const char *version,
                                    const struct vfm_vfio_user_options *options)
{
    struct vfm_device *dev = NULL;
    struct vfm_error err = { 0 };

    fake_start(f);
    f->version = version;
    f->data = pattern;
    f->data_size = DATA_SIZE;
    if (vfm_device_open_vfio_user_fd(f->client_fd, "f", options, &dev, &err) <
        0)
        fail_msg("%s", err.message);
    f->client_fd = -1;
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

static uint64_t area_size(const struct vfm_device *dev)
{
    struct vfm_device_info info = { .size = sizeof(info) };

    assert_int_equal(vfm_device_get_info(dev, &info), 0);
    return info.data_area_size;
}

static void check_save(struct fake_server *f, struct vfm_device *dev)
{
    size_t at = 0;

    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(read_on(dev, &at), 0);
    assert_int_equal(at, DATA_SIZE);
    assert_memory_equal(saved, pattern, DATA_SIZE);
    fake_close(f, dev);
}

static void check_save_in_pieces(size_t piece)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("65536"), &small);

    f.data_piece = piece;
    assert_int_equal(area_size(dev), 65536);
    fake_enter(dev, VFM_STATE_STOP_COPY);
    check_save(&f, dev);
    assert_int_equal(f.asked[VFU_MIG_DATA_READ], 0);
    assert_true(f.asked[VFU_MIG_AREA_READ] > DATA_SIZE / PIECE);
}

static void a_state_is_saved_as_it_is(void **state)
{
    (void)state;
    check_save_in_pieces(0);
    check_save_in_pieces(777);
}

static void a_state_is_loaded_as_it_is(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("65536"), &small);

    (void)state;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(vfm_device_write(dev, pattern, DATA_SIZE, NULL), 0);
    fake_enter(dev, VFM_STATE_STOP);
    assert_int_equal(f.loaded_size, DATA_SIZE);
    assert_memory_equal(f.loaded, pattern, DATA_SIZE);
    assert_int_equal(f.asked[VFU_MIG_DATA_WRITE], 0);
    fake_close(&f, dev);
}

static void pre_copy_yields_nothing_for_now_and_then_more(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("65536"), &small);
    size_t at = 0;

    (void)state;
    f.data_size = 1000;
    fake_enter(dev, VFM_STATE_PRE_COPY);
    assert_int_equal(read_on(dev, &at), -ENOMSG);
    assert_int_equal(at, 1000);
    f.data_size = 50000;
    assert_int_equal(read_on(dev, &at), -ENOMSG);
    assert_int_equal(at, 50000);
    assert_memory_equal(saved, pattern, 50000);
    fake_close(&f, dev);
}

/* What is under way is no more than fits. */
static void check_under_way(const char *version, unsigned int reads)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, version, &small);
    const void *data;

    assert_int_equal(area_size(dev), reads * PIECE);
    fake_enter(dev, VFM_STATE_STOP_COPY);
    f.silent = true;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    fake_serve(&f);
    assert_int_equal(f.asked[VFU_MIG_AREA_READ], reads);
    fake_close(&f, dev);
}

static void a_server_that_takes_less_gets_fewer_pieces(void **state)
{
    (void)state;
    check_under_way(CAPS("65536"), 4);
    check_under_way(CAPS("40000"), 2);
    check_under_way(CAPS("16384"), 1);
    /* More than was proposed is no more. */
    check_under_way(CAPS("1000000000000"), 4);
}

static void check_messages(const char *version, unsigned int asked,
                           const struct vfm_vfio_user_options *options)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, version, options);

    assert_int_equal(area_size(dev), 0);
    assert_int_equal(f.asked[VFU_MIG_AREA_SET], asked);
    check_save(&f, dev);
    assert_true(f.asked[VFU_MIG_DATA_READ] > 0);
    assert_int_equal(f.asked[VFU_MIG_AREA_READ], 0);
}

static void without_room_for_a_piece_the_state_goes_in_messages(void **state)
{
    (void)state;
    check_messages(CAPS("16383"), 0, &small);
    check_messages(CAPS("0"), 0, &small);
    check_messages("{\"capabilities\":{\"max_msg_fds\":0,"
                   "\"vfmig_data_area\":65536}}",
                   0, &small);
}

static void who_does_not_offer_it_does_not_use_it(void **state)
{
    const struct vfm_vfio_user_options without = {
        .size = sizeof(without),
        .read_size = PIECE,
        .no_data_area = true,
    };

    (void)state;
    check_messages(CAPS("65536"), 0, &without);
}

static void refuse(struct fake_server *f, const struct fake_message *m)
{
    fake_refuse(f, m, ENOMEM);
}

static void a_server_that_refuses_after_all_gets_messages(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = NULL;
    int fds = fake_count_fds();

    (void)state;
    fake_start(&f);
    f.version = CAPS("65536");
    f.data = pattern;
    f.data_size = DATA_SIZE;
    f.on[VFU_MIG_AREA_SET] = refuse;
    assert_int_equal(
        vfm_device_open_vfio_user_fd(f.client_fd, "f", &small, &dev, NULL), 0);
    f.client_fd = -1;
    assert_int_equal(area_size(dev), 0);
    assert_int_equal(f.asked[VFU_MIG_AREA_SET], 1);
    check_save(&f, dev);
    assert_int_equal(fake_count_fds(), fds);
}

static void no_area_size_but_a_number_is_understood(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = NULL;
    struct vfm_error err;

    (void)state;
    fake_start(&f);
    f.version = CAPS("true");
    assert_int_equal(
        vfm_device_open_vfio_user_fd(f.client_fd, "f", &small, &dev, &err),
        -EPROTO);
    assert_non_null(strstr(err.message, "vfmig_data_area is not of type int"));
    fake_stop(&f);
}

static struct vfu_mig_area_data wrong; /* what is added to an answer */
static size_t wrong_size;

static void answer_wrongly(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_mig_area_data data;

    memcpy(&data, m->body, sizeof(data));
    data.argsz += wrong.argsz;
    data.size += wrong.size;
    data.offset += wrong.offset;
    fake_reply(f, m, &data, wrong_size);
}

static void check_wrong(uint32_t argsz, uint32_t size, uint64_t offset,
                        size_t reply_size)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("65536"), &small);
    struct vfm_error err = { 0 };

    wrong = (struct vfu_mig_area_data){ argsz, size, offset };
    wrong_size = reply_size;
    f.on[VFU_MIG_AREA_READ] = answer_wrongly;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_device_read(dev, saved, sizeof(saved), &err), -EPROTO);
    assert_non_null(strstr(err.message, "MIG_AREA_READ"));
    fake_close(&f, dev);
}

static void an_answer_that_contradicts_itself_ends_the_connection(void **state)
{
    (void)state;
    check_wrong(1, 1, 0, 16);          /* more than was asked for */
    check_wrong(0, UINT32_MAX, 0, 16); /* one less, but argsz is not */
    check_wrong(0, 0, 4096, 16);
    check_wrong(0, 0, 0, 15);
    check_wrong(0, 0, 0, 0);
}

static void an_error_comes_after_the_data_before_it_and_stays(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("16384"), &small);
    size_t at = 0;

    (void)state;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_device_read(dev, saved, sizeof(saved), NULL), PIECE);
    f.on[VFU_MIG_AREA_READ] = refuse;
    /* One was under way. */
    while (read_on(dev, &at) == PIECE)
        continue;
    assert_int_equal(read_on(dev, &at), -ENOMEM);
    assert_int_equal(read_on(dev, &at), -ENOMEM);
    fake_close(&f, dev);
}

static void a_slot_is_not_used_again_before_its_answer(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("32768"), &small);
    const void *data;

    (void)state;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    f.is_away = true;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    /* The session is over, and both slots are the server's still. */
    reader_end(device_client(dev));
    dev->session = SESSION_LOAD;
    dev->state = VFM_STATE_RESUMING;
    assert_int_equal(device_write(dev, pattern, DATA_SIZE, NULL), -EAGAIN);
    f.is_away = false;
    fake_serve(&f);
    assert_int_equal(device_write(dev, pattern, DATA_SIZE, NULL), PIECE);
    fake_close(&f, dev);
}

static void into_room(struct vfm_device *dev, size_t *at)
{
    void *room = NULL;
    void *again = NULL;
    size_t n = DATA_SIZE - *at < PIECE ? DATA_SIZE - *at : PIECE;

    assert_int_equal(device_room(dev, &room, NULL), PIECE);
    assert_int_equal(device_room(dev, &again, NULL), PIECE);
    assert_ptr_equal(room, again);
    memcpy(room, pattern + *at, n);
    assert_int_equal(device_write(dev, room, n, NULL), n);
    *at += n;
}

/* Every other piece comes from elsewhere, and is not put over what was
 * promised. */
static void what_is_put_into_the_room_is_written_without_a_copy(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("65536"), &small);
    size_t at = 0;
    void *room;

    (void)state;
    fake_enter(dev, VFM_STATE_RESUMING);
    while (at < DATA_SIZE) {
        into_room(dev, &at);
        fake_serve(&f);
        if (at == DATA_SIZE)
            break;
        assert_int_equal(device_room(dev, &room, NULL), PIECE);
        memset(room, 0, PIECE);
        assert_int_equal(device_write(dev, pattern + at, 1000, NULL), 1000);
        at += 1000;
        fake_serve(&f);
    }
    fake_enter(dev, VFM_STATE_STOP);
    assert_int_equal(f.loaded_size, DATA_SIZE);
    assert_memory_equal(f.loaded, pattern, DATA_SIZE);
    fake_close(&f, dev);
}

static void there_is_no_room_while_all_of_it_is_the_servers(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("32768"), &small);
    size_t at = 0;
    void *room;

    (void)state;
    fake_enter(dev, VFM_STATE_RESUMING);
    f.is_away = true;
    into_room(dev, &at);
    into_room(dev, &at);
    assert_int_equal(device_room(dev, &room, NULL), -EAGAIN);
    f.is_away = false;
    fake_serve(&f);
    into_room(dev, &at);
    fake_close(&f, dev);
}

/* What was promised in one session is none of the next one's. */
static void a_room_ends_with_its_session(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("16384"), &small);
    void *room;

    (void)state;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(device_room(dev, &room, NULL), PIECE);
    fake_enter(dev, VFM_STATE_STOP);
    assert_int_equal(device_room(dev, &room, NULL), -EBADFD);
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(device_write(dev, pattern, 10, NULL), 10);
    fake_close(&f, dev);
}

static void without_shared_memory_there_is_no_room(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_with(&f, CAPS("0"), &small);
    void *room;

    (void)state;
    fake_enter(dev, VFM_STATE_RESUMING);
    assert_int_equal(device_room(dev, &room, NULL), 0);
    fake_close(&f, dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_is_saved_as_it_is),
        cmocka_unit_test(a_state_is_loaded_as_it_is),
        cmocka_unit_test(pre_copy_yields_nothing_for_now_and_then_more),
        cmocka_unit_test(a_server_that_takes_less_gets_fewer_pieces),
        cmocka_unit_test(without_room_for_a_piece_the_state_goes_in_messages),
        cmocka_unit_test(who_does_not_offer_it_does_not_use_it),
        cmocka_unit_test(a_server_that_refuses_after_all_gets_messages),
        cmocka_unit_test(no_area_size_but_a_number_is_understood),
        cmocka_unit_test(an_answer_that_contradicts_itself_ends_the_connection),
        cmocka_unit_test(an_error_comes_after_the_data_before_it_and_stays),
        cmocka_unit_test(a_slot_is_not_used_again_before_its_answer),
        cmocka_unit_test(what_is_put_into_the_room_is_written_without_a_copy),
        cmocka_unit_test(there_is_no_room_while_all_of_it_is_the_servers),
        cmocka_unit_test(a_room_ends_with_its_session),
        cmocka_unit_test(without_shared_memory_there_is_no_room),
    };

    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + i / 251);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
