/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The decoder is strict about how sections begin, follow each other and end: a
 * test for each rule, with the sentence that it says.
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

#define FIRST "17" /* where the first section begins */

static void another_footer_is_refused(void **state)
{
    (void)state;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, MAKER_ID, MAKER_VFIO, 0, 1);
    encode_vfio_setup(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID + 1);
    refused(&m, -EBADMSG,
            "offset 64: section '" MAKER_VFIO "' (START): its id is 37, but "
            "its footer's 38");
}

static void a_footer_that_is_missing_is_refused(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    encode_section_continue(&m.enc, VFM_SECTION_PART, MAKER_ID);
    encode_vfio_end(&m.enc);
    make_8(&m, VFM_SECTION_END);
    refused(&m, -EBADMSG,
            "offset 82: section '" MAKER_VFIO "' (PART): 0x03 stands where "
            "its footer should");
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, MAKER_ID, MAKER_VFIO, 0, 1);
    encode_vfio_setup(&m.enc);
    make_8(&m, 0x7f);
    refused(&m, -EBADMSG,
            "offset 64: section '" MAKER_VFIO "' (START): 0x7f stands where it "
            "should end");
}

static void old_machines_send_no_footers(void **state)
{
    (void)state;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, MAKER_ID, MAKER_VFIO, 0, 1);
    encode_vfio_setup(&m.enc);
    encode_section_continue(&m.enc, VFM_SECTION_END, MAKER_ID);
    encode_vfio_end(&m.enc);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, MAKER_ID, MAKER_VFIO, 0, 1);
    encode_vfio_config_head(&m.enc);
    make_text(&m, "record");
    encode_vfio_end(&m.enc);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, 1, "other", 0, 1);
    make_text(&m, "abc");
    make_eof(&m, "{\"devices\": [{\"name\": \"" MAKER_VFIO "\", "
                 "\"instance_id\": 0, \"size\": 22}, {\"name\": \"other\", "
                 "\"instance_id\": 0, \"size\": 3}]}");
    accepted(&m, "VFIO_CONFIG FULL 37 '" MAKER_VFIO "' 0 v1 data 6 ");
    accepted(&m, "SECTION_END FULL 1 'other' 0 v1 3 0 data 0");
}

static void an_id_that_is_taken_is_refused(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, MAKER_ID, "b/vfio", 0, 1);
    refused(&m, -EPROTO,
            "offset 69: section 'b/vfio' (START): its id 37 is not the only "
            "one of its name, or not its own");
    make(&m);
    make_vfio_start(&m);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, 38, MAKER_VFIO, 0, 1);
    refused(&m, -EPROTO,
            "offset 69: section '" MAKER_VFIO "' (FULL): its id 38 is not the "
            "only one of its name, or not its own");
}

static void a_part_of_nothing_is_refused(void **state)
{
    (void)state;
    make(&m);
    encode_section_continue(&m.enc, VFM_SECTION_PART, 5);
    refused(&m, -EPROTO,
            "offset " FIRST ": a section (PART) of the id 5, which no START "
            "has brought");
}

static void what_began_does_not_begin_again(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    make_vfio_start(&m);
    refused(&m, -EPROTO,
            "offset 69: section '" MAKER_VFIO "' (START): it has begun before");
}

static void what_ended_does_not_go_on(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    encode_section_continue(&m.enc, VFM_SECTION_END, MAKER_ID);
    encode_vfio_end(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID);
    encode_section_continue(&m.enc, VFM_SECTION_PART, MAKER_ID);
    refused(&m, -EPROTO,
            "offset 87: section '" MAKER_VFIO "' (PART): it has ended before");
}

static void a_full_section_comes_once(void **state)
{
    (void)state;
    make_vfio_open_full(&m);
    encode_vfio_config_head(&m.enc);
    encode_vfio_end(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, MAKER_ID, MAKER_VFIO, 0, 1);
    refused(&m, -EPROTO,
            "offset 199: section '" MAKER_VFIO "' (FULL): it came before");
}

static void a_full_section_before_the_end_is_refused(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, MAKER_ID, MAKER_VFIO, 0, 1);
    refused(&m, -EPROTO,
            "offset 69: section '" MAKER_VFIO "' (FULL): its END is missing");
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, MAKER_ID, MAKER_VFIO, 0, 1);
    refused(&m, -EPROTO,
            "offset " FIRST ": section '" MAKER_VFIO "' (FULL): it has not "
            "begun by a START");
}

static void sections_that_do_not_end_are_refused(void **state)
{
    (void)state;
    make(&m);
    make_vfio_start(&m);
    make_eof(&m, NULL);
    refused(&m, -EPROTO,
            "offset 69: the sections end, but section '" MAKER_VFIO "' has no "
            "END");
    make(&m);
    make_vfio_start(&m);
    make_vfio_end(&m);
    make_eof(&m, NULL);
    refused(&m, -EPROTO,
            "offset 147: the sections end, but section '" MAKER_VFIO "' has "
            "no FULL");
}

static void an_unknown_version_of_a_section_is_refused(void **state)
{
    (void)state;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, 1, "ram", 0, 3);
    refused(&m, -EOPNOTSUPP,
            "offset " FIRST ": version 3 of the section 'ram' is not known");
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, 1, "vfio", 0, 2);
    refused(&m, -EOPNOTSUPP,
            "offset " FIRST ": version 2 of the section 'vfio' is not known");
}

static void version_0_of_a_device_is_warned_of(void **state)
{
    (void)state;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, MAKER_ID, MAKER_VFIO, 0, 0);
    encode_vfio_setup(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID);
    make_vfio_end(&m);
    encode_section_begin(&m.enc, VFM_SECTION_FULL, MAKER_ID, MAKER_VFIO, 0, 0);
    encode_vfio_config_head(&m.enc);
    encode_vfio_end(&m.enc);
    encode_section_footer(&m.enc, MAKER_ID);
    make_eof(&m, NULL);
    accepted(&m, "WARNING");
}

static void parts_of_something_unknown_are_refused(void **state)
{
    (void)state;
    make(&m);
    encode_section_begin(&m.enc, VFM_SECTION_START, 1, "slirp", 0, 4);
    refused(&m, -EOPNOTSUPP,
            "offset " FIRST ": section 'slirp' (START): what it holds is not "
            "known, so neither is its length");
}

static void a_flood_of_sections_is_refused(void **state)
{
    char name[16];

    (void)state;
    make(&m);
    for (uint32_t i = 0; i < 4097; i++) {
        snprintf(name, sizeof(name), "%u/vfio", i);
        encode_section_begin(&m.enc, VFM_SECTION_START, i, name, 0, 1);
        encode_vfio_setup(&m.enc);
        encode_section_footer(&m.enc, i);
    }
    refused(&m, -E2BIG, "offset 179131: more than 4096 sections");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_footer_is_refused),
        cmocka_unit_test(a_footer_that_is_missing_is_refused),
        cmocka_unit_test(old_machines_send_no_footers),
        cmocka_unit_test(an_id_that_is_taken_is_refused),
        cmocka_unit_test(a_part_of_nothing_is_refused),
        cmocka_unit_test(what_began_does_not_begin_again),
        cmocka_unit_test(what_ended_does_not_go_on),
        cmocka_unit_test(a_full_section_comes_once),
        cmocka_unit_test(a_full_section_before_the_end_is_refused),
        cmocka_unit_test(sections_that_do_not_end_are_refused),
        cmocka_unit_test(an_unknown_version_of_a_section_is_refused),
        cmocka_unit_test(version_0_of_a_device_is_warned_of),
        cmocka_unit_test(parts_of_something_unknown_are_refused),
        cmocka_unit_test(a_flood_of_sections_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
