/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The decoder is strict about a stream as a whole: a test for each rule, with
 * the sentence that it says.
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

/* Where the first item of make() begins: header 8, configuration 5 + 4. */
#define FIRST "17"

/* A section of the device that is already known begins 5 bytes before its
 * body, one with its name 31. */

/* ---------------------------------------------------------------------- */

static void another_magic_is_no_stream(void **state)
{
    (void)state;
    make_empty(&m);
    make_text(&m, "QEVN");
    make_32(&m, 3);
    refused(&m, -EBADMSG,
            "offset 0: no migration stream: the magic is 0x5145564e, not "
            "0x5145564d (QEVM)");
}

static void another_version_of_the_stream_is_refused(void **state)
{
    (void)state;
    make_empty(&m);
    make_32(&m, STREAM_MAGIC);
    make_32(&m, 4);
    refused(&m, -EBADMSG, "offset 4: version 4 of the stream is not known");
    make_empty(&m);
    make_32(&m, STREAM_MAGIC);
    make_32(&m, 2);
    refused(&m, -EOPNOTSUPP, "offset 4: streams of version 2 are obsolete");
}

static void a_missing_configuration_is_refused_if_it_is_required(void **state)
{
    struct vfm_decoder_options options = maker_options;

    (void)state;
    make_empty(&m);
    encode_header(&m.enc);
    make_eof(&m, NULL);
    accepted(&m, "EOF");
    options.require_configuration = true;
    refused_with(&options, &m, -EBADMSG,
                 "offset 8: the configuration is missing");
}

static void a_machine_name_of_4_gib_is_refused_at_once(void **state)
{
    (void)state;
    make_empty(&m);
    encode_header(&m.enc);
    make_8(&m, ITEM_CONFIGURATION);
    make_32(&m, UINT32_MAX);
    refused(&m, -EBADMSG,
            "offset 9: a machine's name of 4294967295 bytes is too long");
}

static void a_name_with_control_characters_is_refused(void **state)
{
    (void)state;
    make_empty(&m);
    encode_header(&m.enc);
    encode_configuration(&m.enc, "a\nb");
    refused(&m, -EBADMSG,
            "offset 13: the machine's name has bytes that no name has");
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, 1, "a\x7f/vfio", 0, 1);
    refused(&m, -EBADMSG,
            "offset 23: a section's name has bytes that no name has");
}

static void make_subsection(const char *name, uint32_t version)
{
    make(&m);
    make_8(&m, ITEM_SUBSECTION);
    make_8(&m, (uint8_t)strlen(name));
    make_text(&m, name);
    make_32(&m, version);
}

static void an_unknown_subsection_is_refused(void **state)
{
    (void)state;
    make_subsection("configuration/other", 1);
    refused(&m, -EOPNOTSUPP,
            "offset 17: the subsection 'configuration/other' is not known");
    make_subsection("configuration/uuid", 2);
    refused(&m, -EOPNOTSUPP,
            "offset 37: version 2 of the subsection 'configuration/uuid' is "
            "not known");
}

static void pages_of_a_size_that_does_not_exist_are_refused(void **state)
{
    (void)state;
    make_subsection("configuration/target-page-bits", 1);
    make_32(&m, 31);
    refused(&m, -EBADMSG, "offset 53: pages of 31 bits do not exist");
    make_subsection("configuration/target-page-bits", 1);
    make_32(&m, 12);
    make_eof(&m, NULL);
    accepted(&m, "8 CONFIGURATION 'test' 0 12 0");
}

static void a_flood_of_capabilities_is_refused(void **state)
{
    (void)state;
    make_subsection("configuration/capabilities", 1);
    make_32(&m, 17);
    refused(&m, -E2BIG, "offset 49: 17 capabilities are too many");
}

static void mapped_ram_is_refused_by_name(void **state)
{
    (void)state;
    make_subsection("configuration/capabilities", 1);
    make_32(&m, 1);
    make_text(&m, "\012mapped-ram");
    refused(&m, -EOPNOTSUPP,
            "offset 54: the capability mapped-ram keeps pages outside of the "
            "stream, which is not read");
}

static void shared_memory_brings_an_address_with_each_block(void **state)
{
    (void)state;
    make_subsection("configuration/capabilities", 1);
    make_32(&m, 1);
    make_text(&m, "\017x-ignore-shared");
    encode_section_begin(&m.enc, VFM_SECTION_START, 1, "ram", 0, 4);
    make_64(&m, MAKER_PAGE | RAM_FLAG_MEM_SIZE);
    make_text(&m, "\1r");
    make_64(&m, MAKER_PAGE);
    make_64(&m, 0x100000);
    make_64(&m, RAM_FLAG_EOS);
    encode_section_footer(&m.enc, 1);
    encode_section_continue(&m.enc, VFM_SECTION_END, 1);
    make_64(&m, RAM_FLAG_EOS);
    encode_section_footer(&m.enc, 1);
    make_eof(&m, NULL);
    accepted(&m, "RAM_BLOCK START 1 'ram' 0 v4 'r' 1024 0x100000");
}

/* ---------------------------------------------------------------------- */

static void an_unknown_item_is_refused(void **state)
{
    static const char *const says[] = {
        [0x05] = "offset " FIRST ": 0x09 begins no section",
        [ITEM_VMDESCRIPTION] = "offset " FIRST ": a vmdescription before the "
                               "end of the sections",
        [ITEM_CONFIGURATION] = "offset " FIRST ": a configuration that is not "
                               "at the beginning",
    };

    (void)state;
    make(&m);
    make_8(&m, 9);
    refused(&m, -EBADMSG, says[5]);
    make(&m);
    make_8(&m, ITEM_VMDESCRIPTION);
    refused(&m, -EPROTO, says[ITEM_VMDESCRIPTION]);
    make(&m);
    make_8(&m, ITEM_CONFIGURATION);
    refused(&m, -EPROTO, says[ITEM_CONFIGURATION]);
    make(&m);
    make_8(&m, ITEM_FOOTER);
    refused(&m, -EBADMSG, "offset " FIRST ": 0x7e begins no section");
}

static void an_unknown_command_is_refused(void **state)
{
    (void)state;
    make(&m);
    encode_command(&m.enc, (enum vfm_stream_command)12, NULL, 0);
    refused(&m, -EBADMSG, "offset " FIRST ": command 12 is not known");
    make(&m);
    encode_command(&m.enc, (enum vfm_stream_command)0, NULL, 0);
    refused(&m, -EBADMSG, "offset " FIRST ": command 0 is not known");
}

static void a_command_of_another_length_is_refused(void **state)
{
    (void)state;
    make(&m);
    encode_command(&m.enc, VFM_COMMAND_PING, "ab", 2);
    refused(&m, -EBADMSG,
            "offset 20: the command PING has a length of 2 and not 4");
    make(&m);
    encode_command(&m.enc, VFM_COMMAND_OPEN_RETURN_PATH, "ab", 2);
    refused(&m, -EBADMSG,
            "offset 20: the command OPEN_RETURN_PATH has a length of 2 and "
            "not 0");
}

static void post_copy_is_refused_by_name(void **state)
{
    (void)state;
    make(&m);
    encode_command(&m.enc, (enum vfm_stream_command)4, NULL, 0);
    refused(&m, -EOPNOTSUPP,
            "offset " FIRST ": the command POSTCOPY_LISTEN is of no plain "
            "pre-copy migration, others are not read");
    make(&m);
    encode_command(&m.enc, (enum vfm_stream_command)7, "\0\0\0\1", 4);
    refused(&m, -EOPNOTSUPP,
            "offset " FIRST ": the command PACKAGED is of no plain pre-copy "
            "migration, others are not read");
}

static void post_copy_may_be_announced_without_huge_pages(void **state)
{
    static const uint8_t small[16] = { [6] = 4, [14] = 4 };
    static const uint8_t huge[16] = { [5] = 0x20, [6] = 4, [14] = 4 };

    (void)state;
    make(&m);
    encode_command(&m.enc, VFM_COMMAND_POSTCOPY_ADVISE, small, 16);
    encode_command(&m.enc, VFM_COMMAND_POSTCOPY_ADVISE, NULL, 0);
    make_eof(&m, NULL);
    accepted(&m, "COMMAND 3 data 16");
    make(&m);
    encode_command(&m.enc, VFM_COMMAND_POSTCOPY_ADVISE, huge, 16);
    refused(&m, -EOPNOTSUPP,
            "offset " FIRST ": post-copy with huge pages (sizes 0x200400) is "
            "not read");
}

static void a_second_switchover_is_refused(void **state)
{
    (void)state;
    make(&m);
    encode_command(&m.enc, VFM_COMMAND_SWITCHOVER_START, NULL, 0);
    encode_command(&m.enc, VFM_COMMAND_SWITCHOVER_START, NULL, 0);
    refused(&m, -EPROTO, "offset 22: the command SWITCHOVER_START came twice");
}

/* ---------------------------------------------------------------------- */

static void the_vmdescription_follows_the_end(void **state)
{
    (void)state;
    make(&m);
    make_eof(&m, NULL);
    make_8(&m, 7);
    refused(&m, -EBADMSG, "offset 18: 0x07 follows the end of the sections");
}

static void a_vmdescription_above_the_limit_is_refused_at_once(void **state)
{
    struct vfm_decoder_options options = maker_options;

    (void)state;
    make(&m);
    make_eof(&m, NULL);
    make_8(&m, ITEM_VMDESCRIPTION);
    make_32(&m, UINT32_MAX);
    refused(&m, -E2BIG,
            "offset 19: a vmdescription of 4294967295 bytes is above the "
            "limit of 16777216");
    options.max_vmdescription = 3;
    make(&m);
    make_eof(&m, "{  }");
    refused_with(&options, &m, -E2BIG,
                 "offset 19: a vmdescription of 4 bytes is above the limit of "
                 "3");
}

static void a_vmdescription_is_required_if_asked_for(void **state)
{
    struct vfm_decoder_options options = maker_options;

    (void)state;
    options.require_vmdescription = true;
    make(&m);
    make_eof(&m, NULL);
    refused_with(&options, &m, -ENODATA,
                 "offset 18: the stream ends in front of the vmdescription");
}

static void unknown_lengths_are_not_waited_for_without_end(void **state)
{
    struct vfm_decoder_options options = maker_options;

    (void)state;
    options.max_held = 1000;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, 1, "timer", 0, 1);
    for (int i = 0; i < 1013; i++)
        make_8(&m, 1);
    refused_with(&options, &m, -E2BIG,
                 "offset 36: section 'timer' (FULL): its length is not known, "
                 "and no vmdescription that tells it came within 1000 bytes");
}

static void a_length_that_the_vmdescription_tells_wrong_is_refused(void **state)
{
    (void)state;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, 1, "timer", 0, 1);
    make_text(&m, "abcd");
    encode_section_footer(&m.enc, 1);
    make_eof(&m, "{\"devices\": [{\"name\": \"timer\", \"instance_id\": 0, "
                 "\"size\": 5}]}");
    refused(&m, -ENODATA,
            "offset 112: section 'timer' (FULL): the stream ends in the body, "
            "whose length is only told by the vmdescription");
}

/* A device's section among those of unknown length has two lengths. */
static void a_device_longer_than_the_vmdescription_says_is_refused(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    make_vfio_end(&m);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, 1, "timer", 0, 1);
    encode_section_footer(&m.enc, 1);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, MAKER_ID, MAKER_VFIO, 0, 1);
    encode_vfio_config_head(&m.enc);
    encode_vfio_end(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID);
    make_bytes(&m, "inner", 5);
    encode_section_footer(&m.enc, MAKER_ID);
    make_eof(&m, "{\"devices\": [{\"name\": \"timer\", \"instance_id\": 0, "
                 "\"size\": 0}, {\"name\": \"" MAKER_VFIO "\", "
                 "\"instance_id\": 0, \"size\": 26}]}");
    refused(&m, -EBADMSG,
            "offset 218: section '" MAKER_VFIO "' (FULL): it has 16 bytes, "
            "but 26 by the vmdescription");
}

/* ---------------------------------------------------------------------- */

static void an_error_stays(void **state)
{
    struct vfm_decoder *dec;
    struct vfm_stream_event ev;
    struct vfm_error first;
    struct vfm_error later = { 0 };
    size_t used;

    (void)state;
    assert_int_equal(vfm_decoder_new(NULL, &dec, NULL), 0);
    assert_int_equal(vfm_decoder_next(dec, "QEVMQEVM", 8, &used, &ev, &first),
                     -EBADMSG);
    assert_int_equal(vfm_decoder_next(dec, "more", 4, &used, &ev, &later),
                     -EBADMSG);
    assert_int_equal(used, 0);
    assert_string_equal(first.message, later.message);
    assert_int_equal(vfm_decoder_finish(dec, &later), -EBADMSG);
    assert_string_equal(first.message, later.message);
    vfm_decoder_free(dec);
}

static void whether_it_may_end_can_be_asked_at_any_time(void **state)
{
    struct vfm_decoder *dec;
    struct vfm_stream_event ev;
    struct vfm_error err;
    size_t used;

    (void)state;
    assert_int_equal(vfm_decoder_new(NULL, &dec, NULL), 0);
    assert_int_equal(vfm_decoder_finish(dec, &err), -ENODATA);
    assert_string_equal(err.message, "offset 0: the stream ends in the header");
    assert_int_equal(vfm_decoder_next(dec, "QEVM\0\0\0\3", 8, &used, &ev, NULL),
                     1);
    vfm_decoder_free(dec);
}

static void options_of_another_version_are_refused(void **state)
{
    struct {
        struct vfm_decoder_options options;
        int more;
    } newer = { .options.size = sizeof(newer) };
    struct vfm_decoder_options bad = { .size = sizeof(bad), .page_size = 3000 };
    struct vfm_decoder *dec;

    (void)state;
    assert_int_equal(vfm_decoder_new(&newer.options, &dec, NULL), 0);
    vfm_decoder_free(dec);
    newer.more = 1;
    assert_int_equal(vfm_decoder_new(&newer.options, &dec, NULL), -E2BIG);
    assert_int_equal(vfm_decoder_new(&bad, &dec, NULL), -EINVAL);
    vfm_decoder_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_magic_is_no_stream),
        cmocka_unit_test(another_version_of_the_stream_is_refused),
        cmocka_unit_test(a_missing_configuration_is_refused_if_it_is_required),
        cmocka_unit_test(a_machine_name_of_4_gib_is_refused_at_once),
        cmocka_unit_test(a_name_with_control_characters_is_refused),
        cmocka_unit_test(an_unknown_subsection_is_refused),
        cmocka_unit_test(pages_of_a_size_that_does_not_exist_are_refused),
        cmocka_unit_test(a_flood_of_capabilities_is_refused),
        cmocka_unit_test(mapped_ram_is_refused_by_name),
        cmocka_unit_test(shared_memory_brings_an_address_with_each_block),
        cmocka_unit_test(an_unknown_item_is_refused),
        cmocka_unit_test(an_unknown_command_is_refused),
        cmocka_unit_test(a_command_of_another_length_is_refused),
        cmocka_unit_test(post_copy_is_refused_by_name),
        cmocka_unit_test(post_copy_may_be_announced_without_huge_pages),
        cmocka_unit_test(a_second_switchover_is_refused),
        cmocka_unit_test(the_vmdescription_follows_the_end),
        cmocka_unit_test(a_vmdescription_above_the_limit_is_refused_at_once),
        cmocka_unit_test(a_vmdescription_is_required_if_asked_for),
        cmocka_unit_test(unknown_lengths_are_not_waited_for_without_end),
        cmocka_unit_test(
            a_length_that_the_vmdescription_tells_wrong_is_refused),
        cmocka_unit_test(
            a_device_longer_than_the_vmdescription_says_is_refused),
        cmocka_unit_test(an_error_stays),
        cmocka_unit_test(whether_it_may_end_can_be_asked_at_any_time),
        cmocka_unit_test(options_of_another_version_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
