/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The single calls, and that what goes over the wire is what the protocol
 * says, to the byte.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device/device.h"
#include "fake-server.h"

static char wire[4096]; /* the last message in hex, without its id */

static void record(struct fake_server *f, const struct fake_message *m)
{
    const uint8_t *bytes = (const uint8_t *)&m->header;
    char *to = wire;

    for (size_t i = 2; i < sizeof(m->header); i++)
        to += sprintf(to, "%02x", bytes[i]);
    *to++ = '|';
    for (size_t i = 0; i < m->size && i < 512; i++)
        to += sprintf(to, "%02x", m->body[i]);
    *to = '\0';
    fake_answer(f, m);
}

static struct vfm_device *open_recorded(struct fake_server *f,
                                        const struct vfm_vfio_user_options *o)
{
    struct vfm_device *dev = fake_open(f, o);

    for (int i = 0; i < FAKE_MAX_COMMAND; i++)
        f->on[i] = record;
    return dev;
}

static void version(struct fake_server *f, const struct fake_message *m)
{
    static const char json[] =
        "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,"
        "\"vfmig_whole_messages\":true,\"vfmig_data_area\":2097152,"
        "\"twin_socket\":{\"supported\":true}}}";

    assert_memory_equal(m->body, "\0\0\2\0", 4);
    assert_int_equal(m->size, 4 + sizeof(json));
    assert_string_equal((const char *)m->body + 4, json);
    fake_answer(f, m);
}

static void version_offers_what_we_can(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = NULL;

    (void)state;
    fake_start(&f);
    f.on[VFU_VERSION] = version;
    assert_int_equal(
        vfm_device_open_vfio_user_fd(f.client_fd, NULL, NULL, &dev, NULL), 0);
    f.client_fd = -1;
    fake_close(&f, dev);
}

static void changes_of_state_are_as_the_protocol_says(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_recorded(&f, NULL);

    (void)state;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_PRE_COPY, NULL), 0);
    assert_string_equal(wire, "1000200000000000000000000000|"
                              "100000000200020006000000ffffffff");
    assert_int_equal(vfm_device_refresh_state(dev, NULL), 0);
    assert_string_equal(wire, "1000180000000000000000000000|"
                              "1000000002000100");
    assert_int_equal(vfm_device_state(dev), VFM_STATE_PRE_COPY);
    fake_close(&f, dev);
}

static void data_messages_are_as_the_protocol_says(void **state)
{
    struct vfm_vfio_user_options options = {
        .size = sizeof(options),
        .read_size = 4096,
        .read_depth = 1,
    };
    struct fake_server f;
    struct vfm_device *dev = open_recorded(&f, &options);
    char byte;

    (void)state;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_STOP_COPY, NULL), 0);
    assert_int_equal(vfm_device_read(dev, &byte, 1, NULL), 0);
    assert_string_equal(wire, "1100180000000000000000000000|"
                              "0810000000100000");
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_RESUMING, NULL), 0);
    assert_int_equal(vfm_device_write(dev, "abc", 3, NULL), 0);
    fake_serve(&f);
    assert_string_equal(wire, "12001b0000000000000000000000|"
                              "0b00000003000000616263");
    fake_close(&f, dev);
}

static void mappings_are_as_the_protocol_says(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_recorded(&f, NULL);

    (void)state;
    assert_int_equal(vfm_vfio_user_dma_map(dev, 0, 4096, 0, 0,
                                           VFM_DMA_READ | VFM_DMA_WRITE, NULL),
                     0);
    assert_string_equal(wire, "0200300000000000000000000000|"
                              "2000000003000000000000000000000000000000"
                              "000000000010000000000000");
    assert_int_equal(vfm_vfio_user_dma_unmap(dev, 0, 4096, NULL), 0);
    assert_string_equal(wire, "0300280000000000000000000000|"
                              "180000000000000000000000000000000010000000000"
                              "000");
    fake_close(&f, dev);
}

static void interrupts_are_as_the_protocol_says(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_recorded(&f, NULL);
    int fd = 0;

    (void)state;
    assert_int_equal(vfm_vfio_user_set_irqs(dev, 0, 0, 1, &fd, NULL), 0);
    assert_string_equal(wire, "0800240000000000000000000000|"
                              "1400000024000000000000000000000001000000");
    assert_int_equal(vfm_vfio_user_set_irqs(dev, 2, 0, 0, NULL, NULL), 0);
    assert_string_equal(wire, "0800240000000000000000000000|"
                              "1400000021000000020000000000000000000000");
    fake_close(&f, dev);
}

static void size_and_reset_are_as_the_protocol_says(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = open_recorded(&f, NULL);
    uint64_t bytes = 0;

    (void)state;
    f.data_size = 123456789;
    assert_int_equal(vfm_device_data_size(dev, &bytes, NULL), 0);
    assert_int_equal(bytes, 123456789);
    assert_string_equal(wire, "1000180000000000000000000000|1000000009000100");
    f.on[VFU_DEVICE_FEATURE] = NULL;
    assert_int_equal(vfm_device_reset(dev, NULL), 0);
    assert_string_equal(wire, "0d00100000000000000000000000|");
    fake_close(&f, dev);
}

static void answer_precopy(struct fake_server *f, const struct fake_message *m)
{
    struct vfu_precopy_info info = { sizeof(info), 3, 1000, 2000 };

    /* Refused by servers if empty. */
    assert_int_equal(m->size, 24);
    fake_reply(f, m, &info, sizeof(info));
}

static void what_is_left_to_pre_copy_is_told(void **state)
{
    struct vfm_precopy_info info = { .size = sizeof(info) };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    f.on[VFU_MIG_GET_PRECOPY_INFO] = answer_precopy;
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_PRE_COPY, NULL), 0);
    assert_int_equal(vfm_device_precopy_info(dev, &info, NULL), 0);
    assert_int_equal(info.flags, VFM_PRECOPY_REINIT);
    assert_int_equal(info.initial_bytes, 1000);
    assert_int_equal(info.dirty_bytes, 2000);
    fake_close(&f, dev);
}

static void a_command_the_server_does_not_have_is_unsupported(void **state)
{
    struct vfm_device_info info = { .size = sizeof(info) };
    struct vfm_precopy_info precopy = { .size = sizeof(precopy) };
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    /* In the wrong state it may just be that. */
    assert_int_equal(vfm_device_precopy_info(dev, &precopy, NULL), -EINVAL);
    assert_int_equal(vfm_device_set_state(dev, VFM_STATE_PRE_COPY, NULL), 0);
    assert_int_equal(vfm_device_precopy_info(dev, &precopy, NULL), -EOPNOTSUPP);
    assert_int_equal(vfm_device_get_info(dev, &info), 0);
    assert_false(info.has_precopy_info);
    assert_int_equal(f.asked[VFU_MIG_GET_PRECOPY_INFO], 2);
    assert_int_equal(vfm_device_precopy_info(dev, &precopy, NULL), -EOPNOTSUPP);
    assert_int_equal(f.asked[VFU_MIG_GET_PRECOPY_INFO], 2);
    fake_close(&f, dev);
}

static void a_feature_that_was_absent_is_not_asked_for(void **state)
{
    struct vfm_precopy_info precopy = { .size = sizeof(precopy) };
    struct vfm_device *dev = NULL;
    struct vfm_error err;
    struct fake_server f;
    uint64_t bytes;

    (void)state;
    fake_start(&f);
    f.features &= ~(UINT64_C(1) << UAPI_FEATURE_DATA_SIZE);
    assert_int_equal(
        vfm_device_open_vfio_user_fd(f.client_fd, "f", NULL, &dev, NULL), 0);
    f.client_fd = -1;
    f.asked[VFU_DEVICE_FEATURE] = 0;
    assert_int_equal(vfm_device_data_size(dev, &bytes, &err), -EOPNOTSUPP);
    assert_string_equal(err.message, "f: cannot tell the size of its state: "
                                     "Operation not supported");
    assert_int_equal(vfm_device_precopy_info(dev, &precopy, NULL), -EOPNOTSUPP);
    assert_int_equal(f.asked[VFU_DEVICE_FEATURE], 0);
    assert_int_equal(f.asked[VFU_MIG_GET_PRECOPY_INFO], 0);
    fake_close(&f, dev);
}

static void regions_are_read_and_written_in_pieces(void **state)
{
    struct vfm_device *dev = NULL;
    struct fake_server f;
    uint8_t data[4096], back[4096] = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    fake_start(&f);
    f.version = "{\"capabilities\":{\"max_data_xfer_size\":1000}}";
    assert_int_equal(
        vfm_device_open_vfio_user_fd(f.client_fd, "f", NULL, &dev, NULL), 0);
    f.client_fd = -1;
    f.asked[VFU_REGION_READ] = 0;
    assert_int_equal(vfm_device_region_write(dev, 7, 0, data, 4096, NULL), 0);
    assert_int_equal(f.asked[VFU_REGION_WRITE], 5);
    assert_memory_equal(f.config, data, 4096);
    assert_int_equal(vfm_device_region_read(dev, 7, 96, back, 4000, NULL), 0);
    assert_int_equal(f.asked[VFU_REGION_READ], 4);
    assert_memory_equal(back, data + 96, 4000);
    fake_close(&f, dev);
}

static void an_access_of_nothing_asks_nothing(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);

    (void)state;
    f.asked[VFU_REGION_READ] = 0;
    assert_int_equal(vfm_device_region_read(dev, 0, 0, NULL, 0, NULL), 0);
    assert_int_equal(vfm_device_region_write(dev, 0, 0, NULL, 0, NULL), 0);
    assert_int_equal(f.asked[VFU_REGION_READ], 0);
    assert_int_equal(f.asked[VFU_REGION_WRITE], 0);
    fake_close(&f, dev);
}

static void a_refused_access_names_its_place(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    struct vfm_error err;
    uint32_t word;

    (void)state;
    assert_int_equal(vfm_device_region_read(dev, 2, 0x1230, &word, 4, &err),
                     -EINVAL);
    assert_string_equal(
        err.message, "fake: cannot read region 2 at 0x1230: Invalid argument");
    fake_close(&f, dev);
}

static void short_access(struct fake_server *f, const struct fake_message *m)
{
    static const uint8_t reply[16 + 3];

    fake_reply(f, m, reply, sizeof(reply));
}

static void a_region_read_that_yields_too_little_is_no_answer(void **state)
{
    struct fake_server f;
    struct vfm_device *dev = fake_open(&f, NULL);
    uint32_t word;

    (void)state;
    f.on[VFU_REGION_READ] = short_access;
    assert_int_equal(vfm_device_region_read(dev, 7, 0, &word, 4, NULL),
                     -EPROTO);
    fake_close(&f, dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_offers_what_we_can),
        cmocka_unit_test(changes_of_state_are_as_the_protocol_says),
        cmocka_unit_test(data_messages_are_as_the_protocol_says),
        cmocka_unit_test(mappings_are_as_the_protocol_says),
        cmocka_unit_test(interrupts_are_as_the_protocol_says),
        cmocka_unit_test(size_and_reset_are_as_the_protocol_says),
        cmocka_unit_test(what_is_left_to_pre_copy_is_told),
        cmocka_unit_test(a_command_the_server_does_not_have_is_unsupported),
        cmocka_unit_test(a_feature_that_was_absent_is_not_asked_for),
        cmocka_unit_test(regions_are_read_and_written_in_pieces),
        cmocka_unit_test(an_access_of_nothing_asks_nothing),
        cmocka_unit_test(a_refused_access_names_its_place),
        cmocka_unit_test(a_region_read_that_yields_too_little_is_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
