/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space, also such as no device has.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "section/pci-space.h"
#include "util/bytes.h"
#include "util/pci-capability.h"

/* As large as is said, so that whoever reads past it is found. */
static uint8_t *space;

static int set_up(void **state)
{
    (void)state;
    space = calloc(1, 256);
    assert_non_null(space);
    space[0x06] = 0x10;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(space);
    return 0;
}

static void put_capability(unsigned int at, uint8_t id, uint8_t next)
{
    space[at] = id;
    space[at + 1] = next;
}

static unsigned int find(uint8_t id, unsigned int len)
{
    return pci_find_capability(space, 256, id, len);
}

static void capabilities_are_found_along_the_list(void **state)
{
    (void)state;
    space[0x34] = 0xf8;
    put_capability(0xf8, 9, 0x40);
    put_capability(0x40, 1, 0x80);
    put_capability(0x80, 5, 0);
    assert_int_equal(find(9, 8), 0xf8);
    assert_int_equal(find(1, 8), 0x40);
    assert_int_equal(find(5, 8), 0x80);
    assert_int_equal(find(0x11, 8), 0);
}

static void without_a_list_there_are_none(void **state)
{
    (void)state;
    assert_int_equal(find(0, 1), 0);
    space[0x34] = 0x40;
    put_capability(0x40, 5, 0);
    space[0x06] = 0;
    assert_int_equal(find(5, 8), 0);
    space[0x06] = 0x10;
    assert_int_equal(find(5, 8), 0x40);
    assert_int_equal(pci_find_capability(space, 64, 5, 8), 0);
}

static void a_list_without_end_ends(void **state)
{
    (void)state;
    space[0x34] = 0x40;
    put_capability(0x40, 1, 0x50);
    put_capability(0x50, 5, 0x40);
    assert_int_equal(find(5, 8), 0x50);
    assert_int_equal(find(0x11, 8), 0);
    put_capability(0x40, 1, 0x40);
    assert_int_equal(find(5, 8), 0);
}

static void pointers_out_of_range_end_the_list(void **state)
{
    (void)state;
    space[0x34] = 0x3c;
    put_capability(0x3c, 5, 0);
    assert_int_equal(find(5, 8), 0);
    space[0x34] = 0x43; /* the two lowest bits mean nothing */
    put_capability(0x40, 1, 0x04);
    assert_int_equal(find(1, 8), 0x40);
    assert_int_equal(find(5, 8), 0);
}

static void a_capability_that_does_not_fit_is_none(void **state)
{
    (void)state;
    space[0x34] = 0xfc;
    put_capability(0xfc, 5, 0);
    assert_int_equal(find(5, 4), 0xfc);
    assert_int_equal(find(5, 5), 0);
}

static void msix_tells_where_its_table_is(void **state)
{
    struct pci_msix msix;

    (void)state;
    space[0x34] = 0xf4;
    put_capability(0xf4, 0x11, 0);
    put_le16(space + 0xf6, 0xc7ff);
    put_le32(space + 0xf8, 0x12345002);
    put_le32(space + 0xfc, 0x0000a005);
    assert_int_equal(pci_get_msix(space, 256, "dev", &msix, NULL), 0);
    assert_int_equal(msix.count, 2048);
    assert_int_equal(msix.table_region, 2);
    assert_int_equal(msix.table_offset, 0x12345000);
    assert_int_equal(msix.pba_region, 5);
    assert_int_equal(msix.pba_offset, 0xa000);
}

static void a_device_without_msix_has_no_vectors(void **state)
{
    struct pci_msix msix = { .count = 1 };

    (void)state;
    assert_int_equal(pci_get_msix(space, 256, "dev", &msix, NULL), 0);
    assert_int_equal(msix.count, 0);
    space[0x34] = 0xf8; /* cut short */
    put_capability(0xf8, 0x11, 0);
    assert_int_equal(pci_get_msix(space, 256, "dev", &msix, NULL), 0);
    assert_int_equal(msix.count, 0);
}

static void a_table_outside_of_the_bars_is_refused(void **state)
{
    struct pci_msix msix;
    struct vfm_error err;

    (void)state;
    space[0x34] = 0x40;
    put_capability(0x40, 0x11, 0);
    put_le32(space + 0x44, 7);
    assert_int_equal(pci_get_msix(space, 256, "dev", &msix, &err), -EINVAL);
    assert_string_equal(err.message,
                        "dev: its MSI-X table is in region 7, its pending bits "
                        "in 0, and BARs end at 5");
    put_le32(space + 0x44, 5);
    put_le32(space + 0x48, 6);
    assert_int_equal(pci_get_msix(space, 256, "dev", &msix, &err), -EINVAL);
}

static bool has_field(unsigned int offset, unsigned int len)
{
    struct pci_field fields[PCI_FIELDS_MAX];
    unsigned int n = pci_get_fields(space, 256, fields);

    for (unsigned int i = 0; i < n; i++)
        if (fields[i].offset == offset && fields[i].len == len)
            return true;
    return false;
}

static void what_a_driver_sets_up_is_carried_over(void **state)
{
    (void)state;
    for (unsigned int bar = 0; bar < 6; bar++)
        assert_true(has_field(0x10 + 4 * bar, 4));
    assert_true(has_field(0x30, 4));
    assert_true(has_field(0x0c, 1));
    assert_true(has_field(0x0d, 1));
    assert_true(has_field(0x3c, 1));
    assert_true(has_field(0x04, 2));
    assert_false(has_field(0x00, 2));
    assert_false(has_field(0x06, 2));
}

static void the_command_register_is_the_last(void **state)
{
    struct pci_field fields[PCI_FIELDS_MAX];
    unsigned int n;

    (void)state;
    space[0x34] = 0x40;
    put_capability(0x40, 0x11, 0);
    n = pci_get_fields(space, 256, fields);
    assert_int_equal(fields[n - 1].offset, 0x04);
    assert_int_equal(fields[n - 2].offset, 0x42);
}

static void all_capabilities_together_fit_the_table(void **state)
{
    struct pci_field fields[PCI_FIELDS_MAX];

    (void)state;
    space[0x34] = 0x40;
    put_capability(0x40, 0x01, 0x50);
    put_capability(0x50, 0x05, 0x70);
    put_le16(space + 0x52, 0x0180);
    put_capability(0x70, 0x10, 0xa0);
    put_capability(0xa0, 0x11, 0);
    assert_int_equal(pci_get_fields(space, 256, fields), 19);
    assert_true(has_field(0x44, 2));
    assert_true(has_field(0x78, 2));
}

static void msi_is_of_four_kinds(void **state)
{
    (void)state;
    space[0x34] = 0x40;
    put_capability(0x40, 0x05, 0);
    assert_true(has_field(0x44, 4) && has_field(0x48, 2) && has_field(0x42, 2));
    assert_false(has_field(0x4c, 4));
    put_le16(space + 0x42, 0x0100);
    assert_true(has_field(0x48, 2) && has_field(0x4c, 4));
    put_le16(space + 0x42, 0x0080);
    assert_true(has_field(0x48, 4) && has_field(0x4c, 2));
    assert_false(has_field(0x50, 4));
    put_le16(space + 0x42, 0x0180);
    assert_true(has_field(0x48, 4) && has_field(0x4c, 2) && has_field(0x50, 4));
}

static void msi_at_the_end_of_the_space_is_carried_if_it_fits(void **state)
{
    (void)state;
    space[0x34] = 0xf0;
    put_capability(0xf0, 0x05, 0);
    assert_true(has_field(0xf2, 2));
    put_le16(space + 0xf2, 0x0180);
    assert_false(has_field(0xf2, 2));
    for (unsigned int len = 1; len <= 4; len++)
        for (unsigned int at = 0x101 - len; at < 0x110; at++)
            assert_false(has_field(at, len));
}

static void the_same_device_is_the_same(void **state)
{
    uint8_t theirs[256];

    (void)state;
    space[0x34] = 0x40;
    put_capability(0x40, 0x11, 0);
    memcpy(theirs, space, sizeof(theirs));
    theirs[0x04] = 7; /* what a driver sets may differ */
    theirs[0x10] = 0xf0;
    theirs[0x42] = 0x80;
    assert_int_equal(pci_compare(space, theirs, 256, "dev", NULL), 0);
}

static void another_device_is_told_by_the_byte(void **state)
{
    static const struct {
        unsigned int at;
        const char *what;
    } bytes[] = {
        { 0x00, "vendor and device id" }, { 0x03, "vendor and device id" },
        { 0x08, "revision and class" },   { 0x0b, "revision and class" },
        { 0x0e, "header type" },          { 0x2c, "subsystem ids" },
        { 0x2f, "subsystem ids" },        { 0x34, "capabilities pointer" },
        { 0x40, "capability" },           { 0x41, "capability" },
    };
    uint8_t theirs[256];

    (void)state;
    space[0x34] = 0x40;
    put_capability(0x40, 0x11, 0);
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        struct vfm_error err;

        memcpy(theirs, space, sizeof(theirs));
        theirs[bytes[i].at] ^= 0x44;
        assert_int_equal(pci_compare(space, theirs, 256, "dev", &err), -EINVAL);
        assert_non_null(strstr(err.message, bytes[i].what));
        assert_null(strchr(err.message, '\n'));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(capabilities_are_found_along_the_list),
        TEST(without_a_list_there_are_none),
        TEST(a_list_without_end_ends),
        TEST(pointers_out_of_range_end_the_list),
        TEST(a_capability_that_does_not_fit_is_none),
        TEST(msix_tells_where_its_table_is),
        TEST(a_device_without_msix_has_no_vectors),
        TEST(a_table_outside_of_the_bars_is_refused),
        TEST(what_a_driver_sets_up_is_carried_over),
        TEST(the_command_register_is_the_last),
        TEST(all_capabilities_together_fit_the_table),
        TEST(msi_is_of_four_kinds),
        TEST(msi_at_the_end_of_the_space_is_carried_if_it_fits),
        TEST(the_same_device_is_the_same),
        TEST(another_device_is_told_by_the_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
