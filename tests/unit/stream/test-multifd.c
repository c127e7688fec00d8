/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A multifd channel: every split gives the same events, and the decoder is
 * strict.
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
#include "util/bytes.h"

static struct maker m;

/* The largest pages make the smallest packets: 8 of them in one. */
#define PAGE  65536
#define PAGES 8

static const struct vfm_multifd_options options = {
    .size = sizeof(options),
    .page_size = PAGE,
    .max_device_data = 1000,
    .channels = 4,
};

static void begin(void)
{
    make_empty(&m);
    encode_multifd_init(&m.enc, NULL, 3);
}

/* The head of a packet with pages; offsets are multiples of the page. */
static uint8_t *make_ram(uint32_t flags, uint32_t alloc, uint32_t normal,
                         uint32_t zero)
{
    uint8_t *p = m.buf + make_len(&m);
    uint8_t head[MULTIFD_RAM_HEAD_BYTES + 8 * PAGES] = { 0 };

    put_be32(head, MULTIFD_MAGIC);
    put_be32(head + 4, MULTIFD_VERSION);
    put_be32(head + 8, flags);
    put_be32(head + 12, alloc);
    put_be32(head + 16, normal);
    put_be32(head + 20, normal * PAGE);
    put_be64(head + 24, 77);
    put_be32(head + 32, zero);
    memcpy(head + 64, "pc.ram", 6);
    for (uint64_t i = 0; i < PAGES; i++)
        put_be64(head + MULTIFD_RAM_HEAD_BYTES + 8 * i, i * PAGE);
    make_bytes(&m, head, sizeof(head));
    return p;
}

static void make_device(uint32_t index, size_t bytes)
{
    encode_multifd_device_head(&m.enc, MAKER_VFIO, 0, index, false, bytes);
    for (size_t i = 0; i < bytes; i++)
        make_8(&m, (uint8_t)i);
}

static void make_config(uint32_t index)
{
    encode_multifd_device_head(&m.enc, MAKER_VFIO, 0, index, true, 16 + 6);
    encode_vfio_config_head(&m.enc);
    make_text(&m, "config");
    encode_vfio_end(&m.enc);
}

static void make_channel(void)
{
    begin();
    make_device(0, 20);
    make_ram(0, PAGES, 0, 3);
    make_ram(MULTIFD_FLAG_SYNC, 0, 0, 0);
    make_device(1, 0);
    make_config(2);
}

static void every_split_gives_the_same_events(void **state)
{
    struct event_log whole;
    struct event_log log;

    (void)state;
    make_channel();
    assert_int_equal(decode_multifd(&options, m.buf, make_len(&m), 0, SIZE_MAX,
                                    &whole, NULL),
                     0);
    for (size_t at = 1; at < make_len(&m); at++) {
        assert_int_equal(decode_multifd(&options, m.buf, make_len(&m), at,
                                        at % 50 == 0 ? 1 : SIZE_MAX, &log,
                                        NULL),
                         0);
        assert_string_equal(log.text, whole.text);
        event_log_free(&log);
    }
    event_log_free(&whole);
}

static void a_channel_may_end_between_packets_only(void **state)
{
    struct event_log log;
    size_t ends = 0;

    (void)state;
    make_channel();
    for (size_t len = 0; len <= make_len(&m); len++) {
        struct vfm_error err = { 0 };
        char place[40];
        int ret = decode_multifd(&options, m.buf, len, 0, SIZE_MAX, &log, &err);

        snprintf(place, sizeof(place), "offset %zu: the channel ends in ", len);
        if (ret == 0)
            ends++;
        else if (ret != -ENODATA ||
                 strncmp(err.message, place, strlen(place)) != 0)
            fail_msg("cut at %zu: %d '%s'", len, ret, err.message);
        event_log_free(&log);
    }
    assert_int_equal(ends, 6);
}

static void accepted_as(const char *has)
{
    struct vfm_error err = { 0 };
    struct event_log log;
    int ret =
        decode_multifd(&options, m.buf, make_len(&m), 0, SIZE_MAX, &log, &err);

    if (ret != 0 || strstr(log.text, has) == NULL)
        fail_msg("%d '%s', no '%s' in\n%s", ret, err.message, has, log.text);
    event_log_free(&log);
}

static void the_packets_are_told_as_they_are(void **state)
{
    (void)state;
    make_channel();
    accepted_as("0 INIT 3 ");
    accepted_as("64 DEVICE '" MAKER_VFIO "' 0 index 0 0x0 20 ");
    accepted_as("RAM 'pc.ram' 77 0 3 0 ");
    accepted_as("SYNC");
    accepted_as("index 1 0x0 0 ");
    accepted_as("DEVICE_CONFIG '" MAKER_VFIO "' 0 index 2 0x1 22 data 6 ");
}

/* QEMU before 9.0 did so. */
static void a_barrier_may_bring_pages(void **state)
{
    (void)state;
    begin();
    make_ram(MULTIFD_FLAG_SYNC, PAGES, 1, 1);
    for (int i = 0; i < PAGE; i++)
        make_8(&m, 5);
    accepted_as("RAM 'pc.ram' 77 1 1 65536 ");
    accepted_as("SYNC");
}

static void says(int code, const char *sentence)
{
    struct vfm_error err = { 0 };
    struct event_log log;

    for (int i = 0; i < 2; i++) {
        int ret = decode_multifd(&options, m.buf, make_len(&m), 0,
                                 i == 0 ? SIZE_MAX : 1, &log, &err);

        event_log_free(&log);
        assert_string_equal(err.message, sentence);
        assert_int_equal(ret, code);
    }
}

static void another_magic_or_version_is_refused(void **state)
{
    (void)state;
    begin();
    m.buf[0] = 0;
    says(-EBADMSG, "offset 0: no packet: the magic is 0x00223344");
    begin();
    m.buf[7] = 2;
    says(-EBADMSG, "offset 4: version 2 of a packet is not known");
    begin();
    make_device(0, 0);
    m.buf[64] = 0;
    says(-EBADMSG, "offset 64: no packet: the magic is 0x00223344");
}

static void a_channel_beyond_the_last_is_refused(void **state)
{
    (void)state;
    begin();
    m.buf[24] = 4;
    says(-EPROTO, "offset 24: channel 4, but there are only 4");
}

static void unknown_flags_and_compression_are_refused(void **state)
{
    (void)state;
    begin();
    make_ram(0x80, 0, 0, 0);
    says(-EBADMSG, "offset 72: a packet's flags 0x80 are not known");
    begin();
    make_ram(0x41, 0, 0, 0);
    says(-EBADMSG, "offset 72: a packet's flags 0x41 are not known");
    begin();
    make_ram(0x04, 0, 0, 0);
    says(-EOPNOTSUPP, "offset 72: compressed packets (flags 0x4) are not read");
}

static void numbers_of_pages_that_do_not_fit_are_refused(void **state)
{
    uint8_t *p;

    (void)state;
    begin();
    make_ram(0, PAGES + 1, 0, 0);
    says(-EBADMSG, "offset 76: 0 and 0 pages of 9 in a packet for 8");
    begin();
    p = make_ram(0, 3, 2, 2);
    says(-EBADMSG, "offset 76: 2 and 2 pages of 3 in a packet for 8");
    begin();
    p = make_ram(0, 3, 0, 0);
    put_be32(p + 16, UINT32_MAX);
    says(-EBADMSG, "offset 76: 4294967295 and 0 pages of 3 in a packet for 8");
    begin();
    p = make_ram(0, 3, 1, 0);
    put_be32(p + 20, 5);
    says(-EBADMSG, "offset 84: 5 bytes are said to follow, but 1 pages do");
}

static void what_is_no_address_of_a_page_is_refused(void **state)
{
    uint8_t *p;

    (void)state;
    begin();
    p = make_ram(0, 3, 0, 2);
    put_be64(p + 328, 7);
    says(-EBADMSG, "offset 392: 0x7 is no address of a page");
}

static void a_name_without_end_is_refused(void **state)
{
    uint8_t *p;

    (void)state;
    begin();
    p = make_ram(0, 3, 0, 1);
    memset(p + 64, 'a', 256);
    says(-EBADMSG,
         "offset 128: the block's name has no end, or bytes that no name has");
    begin();
    make_device(0, 0);
    memset(m.buf + 64 + 12, 'a', 256);
    says(-EBADMSG,
         "offset 76: the section's name has no end, or bytes that no name "
         "has");
}

static void payloads_of_wrong_sizes_are_refused(void **state)
{
    (void)state;
    begin();
    make_device(0, 0);
    put_be32(m.buf + 64 + 272, 11);
    says(-EBADMSG,
         "offset 336: a payload of 11 bytes is too short for its head");
    begin();
    make_device(0, 0);
    put_be32(m.buf + 64 + 272, UINT32_MAX);
    says(-E2BIG,
         "offset 336: 4294967283 bytes of device data in a packet are above "
         "the limit of 1000");
    begin();
    encode_multifd_device_head(&m.enc, MAKER_VFIO, 0, 1, true, 65553);
    says(-E2BIG,
         "offset 336: a configuration record of 65553 bytes is above the "
         "limit of 65536");
    begin();
    encode_multifd_device_head(&m.enc, MAKER_VFIO, 0, 1, true, 15);
    says(-EBADMSG,
         "offset 336: a configuration record of 15 bytes is too short for its "
         "tags");
}

static void other_versions_and_no_index_are_refused(void **state)
{
    (void)state;
    begin();
    make_device(0, 0);
    put_be32(m.buf + 64 + 276, 1);
    says(-EBADMSG, "offset 340: version 1 of a device's packet is not known");
    begin();
    make_device(0, 0);
    put_be32(m.buf + 64 + 280, UINT32_MAX);
    says(-EBADMSG, "offset 344: a device's packet has no index");
}

static void a_configuration_record_is_between_its_tags(void **state)
{
    (void)state;
    begin();
    make_config(0);
    m.buf[make_len(&m) - 1] = 2;
    says(-EBADMSG,
         "offset 352: a configuration record is not between its tags");
    begin();
    make_config(0);
    m.buf[64 + 288 + 7] = 1;
    says(-EBADMSG,
         "offset 352: a configuration record is not between its tags");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_gives_the_same_events),
        cmocka_unit_test(a_channel_may_end_between_packets_only),
        cmocka_unit_test(the_packets_are_told_as_they_are),
        cmocka_unit_test(a_barrier_may_bring_pages),
        cmocka_unit_test(another_magic_or_version_is_refused),
        cmocka_unit_test(a_channel_beyond_the_last_is_refused),
        cmocka_unit_test(unknown_flags_and_compression_are_refused),
        cmocka_unit_test(numbers_of_pages_that_do_not_fit_are_refused),
        cmocka_unit_test(what_is_no_address_of_a_page_is_refused),
        cmocka_unit_test(a_name_without_end_is_refused),
        cmocka_unit_test(payloads_of_wrong_sizes_are_refused),
        cmocka_unit_test(other_versions_and_no_index_are_refused),
        cmocka_unit_test(a_configuration_record_is_between_its_tags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
