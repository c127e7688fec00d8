/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The decoder is strict about what a device's section and RAM's hold: a test
 * for each rule, with the sentence that it says.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "event-log.h"
#include "maker.h"

static struct maker m;

static void begin_start(void)
{
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, MAKER_ID, MAKER_VFIO, 0, 1);
}

static void begin_part(enum vfm_section_type type)
{
    make(&m);
    make_vfio_start(&m);
    encode_section_continue(&m.enc, type, MAKER_ID);
}

#define IN_START "offset 48: section '" MAKER_VFIO "' (START): "
#define IN_PART  "offset 74: section '" MAKER_VFIO "' (PART): "
#define IN_END   "offset 74: section '" MAKER_VFIO "' (END): "
#define IN_FULL  "offset 178: section '" MAKER_VFIO "' (FULL): "

static void an_unknown_tag_is_refused(void **state)
{
    (void)state;
    begin_part(VFM_SECTION_PART);
    make_64(&m, VFIO_TAG(7));
    refused(&m, -EBADMSG, IN_PART "the tag 0xffffffffef100007 is not known");
    begin_part(VFM_SECTION_PART);
    make_64(&m, VFIO_TAG(0));
    refused(&m, -EBADMSG, IN_PART "the tag 0xffffffffef100000 is not known");
    begin_part(VFM_SECTION_PART);
    make_64(&m, 1);
    refused(&m, -EBADMSG, IN_PART "the tag 0x0000000000000001 is not known");
}

static void set_up_comes_first_and_once(void **state)
{
    (void)state;
    begin_start();
    encode_vfio_end(&m.enc);
    refused(&m, -EPROTO, IN_START "the record SETUP is missing");
    begin_start();
    encode_vfio_data_head(&m.enc, 1);
    refused(&m, -EPROTO, IN_START "the record DATA does not belong here");
    begin_start();
    make_64(&m, VFIO_TAG_SETUP);
    make_64(&m, VFIO_TAG_SETUP);
    refused(&m, -EPROTO,
            "offset 56: section '" MAKER_VFIO "' (START): the record SETUP "
            "came twice");
    begin_part(VFM_SECTION_PART);
    make_64(&m, VFIO_TAG_SETUP);
    refused(&m, -EPROTO, IN_PART "the record SETUP does not belong here");
}

static void a_configuration_comes_in_full_only(void **state)
{
    (void)state;
    begin_part(VFM_SECTION_PART);
    encode_vfio_config_head(&m.enc);
    refused(&m, -EPROTO, IN_PART "the record CONFIG does not belong here");
    begin_part(VFM_SECTION_END);
    encode_vfio_config_head(&m.enc);
    refused(&m, -EPROTO, IN_END "the record CONFIG does not belong here");
    make_vfio_open_full(&m);
    encode_vfio_data_head(&m.enc, 1);
    refused(&m, -EPROTO, IN_FULL "the record DATA does not belong here");
}

static void initial_data_is_sent_in_parts_only(void **state)
{
    (void)state;
    begin_part(VFM_SECTION_END);
    encode_vfio_init_data_sent(&m.enc);
    refused(&m, -EPROTO,
            IN_END "the record INIT_DATA_SENT does not belong here");
}

/* The next eight bytes are the footer's and the next section's. */
static void initial_data_sent_ends_a_part(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    encode_section_continue(&m.enc, VFM_SECTION_PART, MAKER_ID);
    encode_vfio_init_data_sent(&m.enc);
    encode_vfio_end(&m.enc);
    refused(&m, -EBADMSG,
            "offset 82: section '" MAKER_VFIO "' (PART): 0xff stands where "
            "its footer should");
}

static void a_missing_configuration_record_is_refused(void **state)
{
    (void)state;
    make_vfio_open_full(&m);
    encode_vfio_end(&m.enc);
    refused(&m, -EPROTO,
            IN_FULL "the record CONFIG is missing: it was sent "
                    "on a multifd channel, or not at all");
    make_vfio_open_full(&m);
    encode_vfio_config_load_ready(&m.enc);
    refused(&m, -EPROTO,
            IN_FULL "the record CONFIG_LOAD_READY, but there is no multifd "
                    "channel");
}

static void a_configuration_may_be_on_a_multifd_channel(void **state)
{
    struct vfm_decoder_options options = maker_options;

    (void)state;
    options.allow_multifd = true;
    make_vfio_open_full(&m);
    encode_vfio_end(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID);
    make_eof(&m, NULL);
    accepted_with(&options, &m, "SECTION_END FULL");
    make_vfio_open_full(&m);
    encode_vfio_config_load_ready(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID);
    make_eof(&m, NULL);
    accepted_with(&options, &m, "VFIO_CONFIG_LOAD_READY");
}

static void a_configuration_record_without_end_is_refused(void **state)
{
    (void)state;
    make_vfio_open_full(&m);
    encode_vfio_config_head(&m.enc);
    for (int i = 0; i < 66000; i++)
        make_8(&m, 0xff);
    refused(&m, -E2BIG,
            "offset 186: section '" MAKER_VFIO "' (FULL): no end of the "
            "record CONFIG within 65536 bytes");
}

static void a_configuration_record_of_the_largest_size_is_taken(void **state)
{
    (void)state;
    make_vfio_open_full(&m);
    encode_vfio_config_head(&m.enc);
    for (int i = 0; i < 65536; i++)
        make_8(&m, 0xff);
    encode_vfio_end(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID);
    make_eof(&m, NULL);
    accepted(&m, "VFIO_CONFIG FULL 37 '" MAKER_VFIO "' 0 v1 data 65536 ");
}

static void a_data_record_above_the_limit_is_refused_at_once(void **state)
{
    struct vfm_decoder_options options = maker_options;

    (void)state;
    begin_part(VFM_SECTION_PART);
    encode_vfio_data_head(&m.enc, UINT64_MAX);
    refused(&m, -E2BIG,
            "offset 82: section '" MAKER_VFIO "' (PART): a record of "
            "18446744073709551615 bytes is above the limit of 1073741824");
    options.max_vfio_data = 10;
    begin_part(VFM_SECTION_PART);
    encode_vfio_data_head(&m.enc, 11);
    refused_with(&options, &m, -E2BIG,
                 "offset 82: section '" MAKER_VFIO "' (PART): a record of 11 "
                 "bytes is above the limit of 10");
}

/* ---------------------------------------------------------------------- */

static void begin_ram(enum vfm_section_type type)
{
    make(&m);
    make_ram_start(&m);
    encode_section_continue(&m.enc, type, 1);
}

static void begin_ram_start(void)
{
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, 1, "ram", 0, 4);
}

#define IN_RAM_START "offset 34: section 'ram' (START): "
#define IN_RAM       "offset 95: section 'ram' (PART): "

static void blocks_are_announced_once_and_in_start(void **state)
{
    (void)state;
    begin_ram_start();
    make_64(&m, RAM_FLAG_EOS);
    refused(&m, -EPROTO, IN_RAM_START "the list of blocks is missing");
    begin_ram(VFM_SECTION_PART);
    make_64(&m, RAM_FLAG_MEM_SIZE);
    refused(&m, -EPROTO, IN_RAM "a list of blocks does not belong here");
    begin_ram_start();
    make_64(&m, RAM_FLAG_MEM_SIZE);
    make_64(&m, RAM_FLAG_MEM_SIZE);
    refused(&m, -EPROTO,
            "offset 42: section 'ram' (START): a list of blocks does not "
            "belong here");
}

static void blocks_have_the_bytes_of_their_total(void **state)
{
    (void)state;
    begin_ram_start();
    make_64(&m, MAKER_PAGE | RAM_FLAG_MEM_SIZE);
    make_text(&m, "\1r");
    make_64(&m, MAKER_PAGE + 1);
    refused(&m, -EBADMSG,
            "offset 42: section 'ram' (START): the blocks have more bytes "
            "than their total, at 'r'");
}

static void a_block_is_announced_once(void **state)
{
    (void)state;
    begin_ram_start();
    make_64(&m, 2 * MAKER_PAGE | RAM_FLAG_MEM_SIZE);
    make_text(&m, "\1r");
    make_64(&m, MAKER_PAGE);
    make_text(&m, "\1r");
    make_64(&m, MAKER_PAGE);
    refused(&m, -EPROTO,
            "offset 52: section 'ram' (START): the block 'r' is announced "
            "twice");
}

static void a_flood_of_blocks_is_refused(void **state)
{
    char name[16];

    (void)state;
    begin_ram_start();
    make_64(&m, UINT64_C(1) << 40 | RAM_FLAG_MEM_SIZE);
    for (int i = 0; i < 1025; i++) {
        snprintf(name, sizeof(name), "%04d", i);
        make_8(&m, 4);
        make_text(&m, name);
        make_64(&m, 0);
    }
    refused(&m, -E2BIG,
            "offset 13354: section 'ram' (START): more than 1024 blocks");
}

static void unknown_flags_are_refused(void **state)
{
    (void)state;
    begin_ram(VFM_SECTION_PART);
    make_64(&m, RAM_FLAG_PAGE | RAM_FLAG_ZERO);
    refused(&m, -EBADMSG, IN_RAM "the flags 0xa are not known");
    begin_ram(VFM_SECTION_PART);
    make_64(&m, 0);
    refused(&m, -EBADMSG, IN_RAM "the flags 0x0 are not known");
    begin_ram(VFM_SECTION_PART);
    make_64(&m, RAM_FLAG_CONTINUE);
    refused(&m, -EBADMSG, IN_RAM "the flags 0x20 are not known");
}

static void obsolete_flags_and_rdma_are_refused(void **state)
{
    (void)state;
    begin_ram(VFM_SECTION_PART);
    make_64(&m, RAM_FLAG_COMPRESSED);
    refused(&m, -EOPNOTSUPP, IN_RAM "the flags 0x100 are obsolete");
    begin_ram(VFM_SECTION_PART);
    make_64(&m, RAM_FLAG_HOOK);
    refused(&m, -EOPNOTSUPP, IN_RAM "RDMA is not read");
}

static void a_page_of_an_unknown_block_is_refused(void **state)
{
    (void)state;
    begin_ram(VFM_SECTION_PART);
    make_ram_word(&m, RAM_FLAG_PAGE, "other");
    refused(&m, -EBADMSG,
            "offset 103: section 'ram' (PART): the block 'other' was not "
            "announced");
}

static void a_page_of_the_same_block_needs_a_block(void **state)
{
    (void)state;
    begin_ram(VFM_SECTION_PART);
    make_64(&m, RAM_FLAG_PAGE | RAM_FLAG_CONTINUE);
    refused(&m, -EPROTO,
            IN_RAM "a page of the same block as before, but there was none");
}

static void a_page_outside_of_its_block_is_refused(void **state)
{
    (void)state;
    begin_ram(VFM_SECTION_PART);
    make_ram_word(&m, MAKER_PAGE | RAM_FLAG_PAGE, "rom");
    refused(&m, -EBADMSG, IN_RAM "the page at 0x400 is outside of block 'rom'");
    begin_ram(VFM_SECTION_PART);
    make_ram_word(&m, UINT64_MAX - MAKER_PAGE + 1 + RAM_FLAG_ZERO, "pc.ram");
    refused(&m, -EBADMSG,
            IN_RAM "the page at 0xfffffffffffffc00 is outside of block "
                   "'pc.ram'");
}

static void a_page_filled_with_anything_but_zero_is_refused(void **state)
{
    (void)state;
    begin_ram(VFM_SECTION_PART);
    make_ram_word(&m, RAM_FLAG_ZERO, "rom");
    make_8(&m, 5);
    refused(&m, -EBADMSG,
            "offset 107: section 'ram' (PART): a page of zeroes is said to be "
            "of 0x05");
}

static void a_delta_larger_than_its_page_is_refused(void **state)
{
    (void)state;
    begin_ram(VFM_SECTION_PART);
    make_ram_word(&m, RAM_FLAG_XBZRLE, "rom");
    make_bytes(&m, "\1\4\1", 3);
    refused(&m, -EBADMSG,
            "offset 107: section 'ram' (PART): an XBZRLE record of the kind 1 "
            "with 1025 bytes");
    begin_ram(VFM_SECTION_PART);
    make_ram_word(&m, RAM_FLAG_XBZRLE, "rom");
    make_bytes(&m, "\2\0\1", 3);
    refused(&m, -EBADMSG,
            "offset 107: section 'ram' (PART): an XBZRLE record of the kind 2 "
            "with 1 bytes");
}

static void ram_comes_in_parts(void **state)
{
    (void)state;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, 1, "ram", 0, 4);
    refused(&m, -EPROTO, "offset 17: section 'ram' (FULL): RAM comes in parts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_tag_is_refused),
        cmocka_unit_test(set_up_comes_first_and_once),
        cmocka_unit_test(a_configuration_comes_in_full_only),
        cmocka_unit_test(initial_data_is_sent_in_parts_only),
        cmocka_unit_test(initial_data_sent_ends_a_part),
        cmocka_unit_test(a_missing_configuration_record_is_refused),
        cmocka_unit_test(a_configuration_may_be_on_a_multifd_channel),
        cmocka_unit_test(a_configuration_record_without_end_is_refused),
        cmocka_unit_test(a_configuration_record_of_the_largest_size_is_taken),
        cmocka_unit_test(a_data_record_above_the_limit_is_refused_at_once),
        cmocka_unit_test(blocks_are_announced_once_and_in_start),
        cmocka_unit_test(blocks_have_the_bytes_of_their_total),
        cmocka_unit_test(a_block_is_announced_once),
        cmocka_unit_test(a_flood_of_blocks_is_refused),
        cmocka_unit_test(unknown_flags_are_refused),
        cmocka_unit_test(obsolete_flags_and_rdma_are_refused),
        cmocka_unit_test(a_page_of_an_unknown_block_is_refused),
        cmocka_unit_test(a_page_of_the_same_block_needs_a_block),
        cmocka_unit_test(a_page_outside_of_its_block_is_refused),
        cmocka_unit_test(a_page_filled_with_anything_but_zero_is_refused),
        cmocka_unit_test(a_delta_larger_than_its_page_is_refused),
        cmocka_unit_test(ram_comes_in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
