/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The encoder writes what QEMU 10.0.2 wrote, byte for byte, and its first
 * error stays.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "stream/encoder.h"
#include "stream/format.h"

#define NAME "0000:00:01.0/vfio"

static uint8_t buf[1024];
static struct encoder enc;

static void begin(void)
{
    memset(buf, 0xee, sizeof(buf));
    encoder_init(&enc, buf, sizeof(buf));
}

static void wrote(const void *bytes, size_t len)
{
    size_t have;

    assert_int_equal(encoder_finish(&enc, &have, NULL), 0);
    assert_int_equal(have, len);
    assert_memory_equal(buf, bytes, len);
}

/* From the first byte of a capture to the first section. */
static void the_beginning_is_qemus(void **state)
{
    static const uint8_t golden[] = {
        0x51, 0x45, 0x56, 0x4d, 0x00, 0x00, 0x00, 0x03, 0x07, 0x00,
        0x00, 0x00, 0x0b, 0x70, 0x63, 0x2d, 0x71, 0x33, 0x35, 0x2d,
        0x31, 0x30, 0x2e, 0x30, 0x08, 0x00, 0x01, 0x00, 0x00, 0x08,
        0x00, 0x02, 0x00, 0x04, 0x00, 0x00, 0x00, 0x01,
    };

    (void)state;
    begin();
    encode_header(&enc);
    encode_configuration(&enc, "pc-q35-10.0");
    encode_command(&enc, VFM_COMMAND_OPEN_RETURN_PATH, NULL, 0);
    encode_ping(&enc, 1);
    wrote(golden, sizeof(golden));
}

static void the_set_up_of_a_device_is_qemus(void **state)
{
    static const uint8_t golden[] =
        "\x01\x00\x00\x00\x25\x11"
        "0000:00:01.0/vfio\x00\x00\x00\x00\x00\x00\x00\x01"
        "\xff\xff\xff\xff\xef\x10\x00\x03\xff\xff\xff\xff\xef\x10\x00\x01"
        "\x7e\x00\x00\x00\x25";

    (void)state;
    begin();
    encode_section_begin(&enc, VFM_SECTION_START, 0x25, NAME, 0, 1);
    encode_vfio_setup(&enc);
    encode_section_footer(&enc, 0x25);
    wrote(golden, sizeof(golden) - 1);
}

static void the_heads_and_tails_of_records_are_qemus(void **state)
{
    static const uint8_t golden[] =
        "\x02\x00\x00\x00\x25"
        "\xff\xff\xff\xff\xef\x10\x00\x04\x00\x00\x00\x00\x00\x04\x93\xe0"
        "\xff\xff\xff\xff\xef\x10\x00\x05"
        "\x7e\x00\x00\x00\x25"
        "\x03\x00\x00\x00\x25"
        "\xff\xff\xff\xff\xef\x10\x00\x01";

    (void)state;
    begin();
    encode_section_continue(&enc, VFM_SECTION_PART, 0x25);
    encode_vfio_data_head(&enc, 300000);
    encode_vfio_init_data_sent(&enc);
    encode_section_footer(&enc, 0x25);
    encode_section_continue(&enc, VFM_SECTION_END, 0x25);
    encode_vfio_end(&enc);
    wrote(golden, sizeof(golden) - 1);
}

static void the_configuration_of_a_device_is_qemus(void **state)
{
    static const uint8_t golden[] =
        "\x04\x00\x00\x00\x25\x11"
        "0000:00:01.0/vfio\x00\x00\x00\x00\x00\x00\x00\x01"
        "\xff\xff\xff\xff\xef\x10\x00\x02"
        "\xff\xff\xff\xff\xef\x10\x00\x01"
        "\x7e\x00\x00\x00\x25"
        "\xff\xff\xff\xff\xef\x10\x00\x06"
        "\x08\x00\x0b\x00\x00"
        "\x00\x06\x00\x00\xac\x43";

    (void)state;
    begin();
    encode_section_begin(&enc, VFM_SECTION_FULL, 0x25, NAME, 0, 1);
    encode_vfio_config_head(&enc);
    encode_vfio_end(&enc);
    encode_section_footer(&enc, 0x25);
    encode_vfio_config_load_ready(&enc);
    encode_command(&enc, VFM_COMMAND_SWITCHOVER_START, NULL, 0);
    encode_eof(&enc);
    encode_vmdescription_head(&enc, 44099);
    wrote(golden, sizeof(golden) - 1);
}

static void the_first_packet_of_a_channel_is_qemus(void **state)
{
    static const uint8_t uuid[16] = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66,
                                      0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
                                      0xdd, 0xee, 0xff, 0x00 };
    uint8_t golden[64] = { 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1 };

    (void)state;
    memcpy(golden + 8, uuid, sizeof(uuid));
    golden[24] = 3;
    begin();
    encode_multifd_init(&enc, uuid, 3);
    wrote(golden, sizeof(golden));
    memset(golden + 8, 0, 17);
    begin();
    encode_multifd_init(&enc, NULL, 0);
    wrote(golden, sizeof(golden));
}

static void the_head_of_a_device_packet_is_qemus(void **state)
{
    static const uint8_t tail[] = { 0, 0, 0, 0, 0, 6, 0x25, 0xac, 0, 0,
                                    0, 0, 0, 0, 0, 2, 0,    0,    0, 0 };
    uint8_t golden[288] = { 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1, 0, 0, 0, 0x40 };

    (void)state;
    memcpy(golden + 12, NAME, strlen(NAME));
    memcpy(golden + 268, tail, sizeof(tail));
    begin();
    encode_multifd_device_head(&enc, NAME, 0, 2, false, 402848);
    wrote(golden, sizeof(golden));
}

static void the_block_list_of_memory_is_qemus(void **state)
{
    static const uint8_t golden[] =
        "\x01\x00\x00\x00\x01\x03ram\x00\x00\x00\x00\x00\x00\x00\x04"
        "\x00\x00\x00\x00\x08\x04\x00\x04"
        "\x06pc.ram\x00\x00\x00\x00\x08\x00\x00\x00"
        "\x03rom\x00\x00\x00\x00\x00\x04\x00\x00"
        "\x00\x00\x00\x00\x00\x00\x00\x10"
        "\x7e\x00\x00\x00\x01";

    (void)state;
    begin();
    encode_section_begin(&enc, VFM_SECTION_START, 1, "ram", 0, 4);
    encode_ram_blocks_head(&enc, 0x8040000);
    encode_ram_block(&enc, "pc.ram", 0x8000000);
    encode_ram_block(&enc, "rom", 0x40000);
    encode_ram_end(&enc);
    encode_section_footer(&enc, 1);
    wrote(golden, sizeof(golden) - 1);
}

static void a_blob_tells_its_length_and_its_digest(void **state)
{
    static const uint8_t digest[BLOB_DIGEST_BYTES] = "0123456789abcdef";
    static const uint8_t golden[] = "\x00\x00\x00\x00\x01\x02\x03\x04"
                                    "0123456789abcdef";

    (void)state;
    begin();
    encode_blob_head(&enc, 0x1020304);
    encode_blob_digest(&enc, digest);
    wrote(golden, sizeof(golden) - 1);
}

static void a_full_buffer_is_an_error_that_stays(void **state)
{
    struct vfm_error err;
    size_t len;

    (void)state;
    encoder_init(&enc, buf, 12);
    encode_header(&enc);
    encode_vfio_end(&enc);
    encode_eof(&enc);
    assert_int_equal(encoder_finish(&enc, &len, &err), -ENOBUFS);
    assert_string_equal(err.message,
                        "stream: cannot write the end of a device's records: "
                        "No buffer space available");
    assert_int_equal(enc.len, 8);
}

static void a_name_of_256_characters_is_refused(void **state)
{
    char name[257];
    size_t len;

    (void)state;
    memset(name, 'a', sizeof(name));
    name[255] = '\0';
    begin();
    encode_section_begin(&enc, VFM_SECTION_START, 1, name, 0, 1);
    assert_int_equal(encoder_finish(&enc, &len, NULL), 0);
    assert_in_range(len, 255, ENCODER_PIECE_MAX);
    name[255] = 'a';
    name[256] = '\0';
    begin();
    encode_section_begin(&enc, VFM_SECTION_START, 1, name, 0, 1);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -ENAMETOOLONG);
    begin();
    encode_configuration(&enc, name);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -ENAMETOOLONG);
    begin();
    encode_multifd_device_head(&enc, name, 0, 0, false, 0);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -ENAMETOOLONG);
}

static void what_the_format_cannot_hold_is_refused(void **state)
{
    size_t len;

    (void)state;
    begin();
    encode_section_begin(&enc, VFM_SECTION_PART, 1, "a", 0, 1);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -EINVAL);
    begin();
    encode_section_continue(&enc, VFM_SECTION_FULL, 1);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -EINVAL);
    begin();
    encode_vmdescription_head(&enc, (size_t)UINT32_MAX + 1);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -EINVAL);
    begin();
    encode_command(&enc, VFM_COMMAND_PING, buf, 65536);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -EINVAL);
    begin();
    encode_multifd_device_head(&enc, "a", 0, UINT32_MAX, false, 0);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -EINVAL);
    begin();
    encode_multifd_device_head(&enc, "a", 0, 0, false, UINT32_MAX - 11);
    assert_int_equal(encoder_finish(&enc, &len, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_beginning_is_qemus),
        cmocka_unit_test(the_set_up_of_a_device_is_qemus),
        cmocka_unit_test(the_heads_and_tails_of_records_are_qemus),
        cmocka_unit_test(the_configuration_of_a_device_is_qemus),
        cmocka_unit_test(the_first_packet_of_a_channel_is_qemus),
        cmocka_unit_test(the_head_of_a_device_packet_is_qemus),
        cmocka_unit_test(the_block_list_of_memory_is_qemus),
        cmocka_unit_test(a_blob_tells_its_length_and_its_digest),
        cmocka_unit_test(a_full_buffer_is_an_error_that_stays),
        cmocka_unit_test(a_name_of_256_characters_is_refused),
        cmocka_unit_test(what_the_format_cannot_hold_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
