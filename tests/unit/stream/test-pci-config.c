/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration record of vfio-pci: what is written is read, and a length
 * that fits nothing is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "stream/pci-config.h"
#include "util/bytes.h"
#include "util/pci-capability.h"

static uint8_t space[PCI_CFG_SPACE_EXP_SIZE];
static uint8_t table[16 * PCI_CONFIG_MSIX_MAX];
static uint8_t pending[PCI_CONFIG_MSIX_MAX / 8];
static const uint8_t display[PCI_CONFIG_DISPLAY_SIZE] = { 1, 2, 3 };
static uint8_t record[65536];

/* Config space with an MSI-X capability behind another one. */
static struct pci_config config_with(size_t size, uint32_t msix_count)
{
    struct pci_config config = {
        .version = PCI_CONFIG_VERSION,
        .space = space,
        .space_size = size,
        .intx = { [1] = true, [3] = true },
        .msix_count = msix_count,
        .msix_table = table,
        .msix_pending = pending,
    };

    for (size_t i = 0; i < sizeof(space); i++)
        space[i] = (uint8_t)(i * 3);
    memset(table, 0xaa, sizeof(table));
    memset(pending, 0xbb, sizeof(pending));
    space[0x06] = 0x10;
    space[0x34] = 0x40;
    space[0x40] = 0x05;
    space[0x41] = 0x80;
    space[0x80] = msix_count > 0 ? 0x11 : 0x10;
    space[0x81] = 0;
    put_le16(space + 0x82, (uint16_t)(0x8000 | (msix_count - 1)));
    if (msix_count == 0)
        put_le16(space + 0x82, 0);
    return config;
}

static size_t encode(const struct pci_config *config)
{
    size_t len;

    assert_int_equal(
        pci_config_encode(config, record, sizeof(record), &len, NULL), 0);
    return len;
}

static void check_round_trip(size_t size, uint32_t msix_count, bool displays,
                             size_t expected)
{
    struct pci_config config = config_with(size, msix_count);
    struct pci_config back;
    size_t len;

    config.display = displays ? display : NULL;
    len = encode(&config);
    assert_int_equal(len, expected);
    assert_int_equal(pci_config_decode(record, len, &back, NULL), 0);
    assert_int_equal(back.version, 2);
    assert_int_equal(back.space_size, size);
    assert_memory_equal(back.space, space, size);
    assert_memory_equal(back.intx, config.intx, sizeof(back.intx));
    assert_int_equal(back.msix_count, msix_count);
    if (msix_count > 0) {
        assert_memory_equal(back.msix_table, table, 16 * msix_count);
        assert_memory_equal(back.msix_pending, pending, (msix_count + 7) / 8);
    }
    assert_int_equal(back.display != NULL, displays);
    if (displays)
        assert_memory_equal(back.display, display, sizeof(display));
}

/* 4197 and 4116 are the lengths of captures. */
static void what_is_written_is_read(void **state)
{
    (void)state;
    check_round_trip(PCI_CFG_SPACE_EXP_SIZE, 5, false, 4197);
    check_round_trip(PCI_CFG_SPACE_EXP_SIZE, 0, false, 4116);
    check_round_trip(PCI_CFG_SPACE_SIZE, 0, false, 276);
    check_round_trip(PCI_CFG_SPACE_SIZE, 1, false, 276 + 17);
    check_round_trip(PCI_CFG_SPACE_SIZE, 2048, false, 276 + 32768 + 256);
    check_round_trip(PCI_CFG_SPACE_EXP_SIZE, 9, true, 4116 + 144 + 2 + 59);
    check_round_trip(PCI_CFG_SPACE_SIZE, 0, true, 276 + 59);
}

static void every_other_length_is_refused(void **state)
{
    struct pci_config config = config_with(PCI_CFG_SPACE_SIZE, 3);
    struct vfm_error err;
    size_t good = encode(&config);

    (void)state;
    for (size_t len = 0; len < 5000; len++) {
        struct pci_config back;
        int ret = pci_config_decode(record, len, &back, &err);

        if (len != good && len != good + 59 && len != good + 3840 &&
            len != good + 3840 + 59)
            assert_int_equal(ret, -EBADMSG);
    }
    assert_int_equal(pci_config_decode(record, good + 1, &config, &err),
                     -EBADMSG);
    assert_string_equal(err.message,
                        "configuration record: 326 bytes fit no config space "
                        "with 3 MSI-X vectors");
}

static void a_newer_version_is_refused(void **state)
{
    struct pci_config config = config_with(PCI_CFG_SPACE_SIZE, 0);
    size_t len = encode(&config);

    (void)state;
    put_be32(record, 3);
    assert_int_equal(pci_config_decode(record, len, &config, NULL),
                     -EOPNOTSUPP);
    put_be32(record, UINT32_MAX);
    assert_int_equal(pci_config_decode(record, len, &config, NULL),
                     -EOPNOTSUPP);
    put_be32(record, 0);
    assert_int_equal(pci_config_decode(record, len, &config, NULL), 0);
}

static void a_level_is_0_or_1(void **state)
{
    struct pci_config config = config_with(PCI_CFG_SPACE_SIZE, 0);
    size_t len = encode(&config);
    struct vfm_error err;

    (void)state;
    put_be32(record + 4 + 256 + 8, 2);
    assert_int_equal(pci_config_decode(record, len, &config, &err), -EBADMSG);
    assert_string_equal(err.message,
                        "configuration record: INTC has the level 2");
}

static void another_last_part_than_the_display_is_refused(void **state)
{
    struct pci_config config = config_with(PCI_CFG_SPACE_SIZE, 0);
    size_t len;

    (void)state;
    config.display = display;
    len = encode(&config);
    record[276 + 5] ^= 1;
    assert_int_equal(pci_config_decode(record, len, &config, NULL), -EBADMSG);
}

static void capabilities_that_go_in_circles_end(void **state)
{
    struct pci_config config = config_with(PCI_CFG_SPACE_SIZE, 0);

    (void)state;
    space[0x81] = 0x40;
    assert_int_equal(pci_msix_count(config.space, PCI_CFG_SPACE_SIZE), 0);
    space[0x80] = 0x11;
    assert_int_equal(pci_msix_count(config.space, PCI_CFG_SPACE_SIZE), 1);
    space[0x06] = 0;
    assert_int_equal(pci_msix_count(config.space, PCI_CFG_SPACE_SIZE), 0);
    space[0x06] = 0x10;
    space[0x34] = 0xff;
    space[0xfc] = 0x11;
    put_le16(space + 0xfe, 0xffff);
    assert_int_equal(pci_msix_count(config.space, PCI_CFG_SPACE_SIZE), 2048);
}

static void what_is_not_consistent_is_not_written(void **state)
{
    struct pci_config config = config_with(PCI_CFG_SPACE_SIZE, 3);
    size_t len;

    (void)state;
    config.msix_count = 4;
    assert_int_equal(
        pci_config_encode(&config, record, sizeof(record), &len, NULL),
        -EINVAL);
    config = config_with(PCI_CFG_SPACE_SIZE, 3);
    config.space_size = 257;
    assert_int_equal(
        pci_config_encode(&config, record, sizeof(record), &len, NULL),
        -EINVAL);
    config = config_with(PCI_CFG_SPACE_SIZE, 3);
    assert_int_equal(pci_config_encode(&config, record, 324, &len, NULL),
                     -ENOBUFS);
    assert_int_equal(pci_config_encode(&config, record, 325, &len, NULL), 0);
}

static void an_endpoint_on_a_root_bus_is_part_of_it(void **state)
{
    struct pci_config config = config_with(PCI_CFG_SPACE_SIZE, 0);
    uint8_t was[PCI_CFG_SPACE_SIZE];

    (void)state;
    put_le16(space + 0x82, 0x0002);
    memcpy(was, space, sizeof(was));
    pci_config_integrate(space);
    assert_int_equal(get_le16(space + 0x82), 0x0092);
    put_le16(was + 0x82, 0x0092);
    memset(was + 0x8c, 0, 8);
    memset(was + 0xac, 0, 8);
    assert_memory_equal(space, was, sizeof(was));
    pci_config_integrate(space);
    assert_memory_equal(space, was, sizeof(was));

    /* Version 1 has one link; a legacy endpoint stays what it is. */
    config = config_with(PCI_CFG_SPACE_SIZE, 0);
    put_le16(space + 0x82, 0x0001);
    pci_config_integrate(space);
    assert_int_equal(space[0xac], (uint8_t)(0xac * 3));
    assert_int_equal(space[0x8c], 0);
    config = config_with(PCI_CFG_SPACE_SIZE, 0);
    put_le16(space + 0x82, 0x0012);
    pci_config_integrate(space);
    assert_int_equal(get_le16(space + 0x82), 0x0012);
    assert_int_equal(space[0x8c], (uint8_t)(0x8c * 3));
    /* At the very end there is no room for one. */
    config = config_with(PCI_CFG_SPACE_SIZE, 0);
    space[0x41] = 0xf0;
    space[0xf0] = 0x10;
    pci_config_integrate(space);
    assert_int_equal(space[0xff], (uint8_t)(0xff * 3));
    (void)config;
}

static void which_devices_those_are_is_known_by_their_place(void **state)
{
    (void)state;
    assert_true(pci_config_is_integrated("pc-q35-10.0", "0000:00:05.0"));
    assert_true(pci_config_is_integrated("virt-10.0", "0000:00:05.0/vfio"));
    assert_true(pci_config_is_integrated("q35", "0000:00:1f.7"));
    assert_false(pci_config_is_integrated("pc-i440fx-10.0", "0000:00:05.0"));
    assert_false(pci_config_is_integrated("virtual", "0000:00:05.0"));
    assert_false(pci_config_is_integrated("", "0000:00:05.0"));
    assert_false(pci_config_is_integrated("pc-q35-10.0", "0000:00:02.0:00.0"));
    assert_false(pci_config_is_integrated("pc-q35-10.0", "0000:00:05"));
    assert_false(pci_config_is_integrated("pc-q35-10.0", "vfio"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_other_length_is_refused),
        cmocka_unit_test(a_newer_version_is_refused),
        cmocka_unit_test(a_level_is_0_or_1),
        cmocka_unit_test(another_last_part_than_the_display_is_refused),
        cmocka_unit_test(capabilities_that_go_in_circles_end),
        cmocka_unit_test(what_is_not_consistent_is_not_written),
        cmocka_unit_test(an_endpoint_on_a_root_bus_is_part_of_it),
        cmocka_unit_test(which_devices_those_are_is_known_by_their_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
