/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI configuration space, as a driver finds and changes it.
 */
#include "test.h"

#include "emulator/config.h"
#include "emulator/registers.h"
#include "util/bytes.h"

static struct config fresh(void)
{
    struct config c;

    config_init(&c, 0x1234, 0xabcd, 2048);
    return c;
}

/* The offset of the capability with this id; 0: there is none. */
static uint8_t find(const struct config *c, uint8_t id)
{
    uint8_t at = c->bytes[0x34];

    for (int i = 0; at != 0; i++, at = c->bytes[at + 1]) {
        assert_true(i < 16 && at >= 0x40);
        if (c->bytes[at] == id)
            return at;
    }
    return 0;
}

static void the_ids_are_those_asked_for(void **state)
{
    struct config c = fresh();

    (void)state;
    assert_int_equal(get_le16(c.bytes), 0x1234);
    assert_int_equal(get_le16(c.bytes + 2), 0xabcd);
}

static void msi_msix_and_express_are_in_the_list(void **state)
{
    struct config c = fresh();
    uint8_t msix = find(&c, 0x11);

    (void)state;
    assert_true(find(&c, 0x05) != 0 && msix != 0 && find(&c, 0x10) != 0);
    assert_int_equal(get_le16(c.bytes + msix + 2) & 0x7ff, 2047);
    assert_int_equal(get_le32(c.bytes + msix + 4), EDEV_MSIX_TABLE | 4);
    assert_int_equal(get_le32(c.bytes + msix + 8), EDEV_MSIX_PBA | 4);
}

static void bars_tell_their_size(void **state)
{
    struct config c = fresh();
    uint8_t ones[24];

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    config_write(&c, 0x10, ones, sizeof(ones));
    assert_int_equal(get_le32(c.bytes + 0x10), ~(EDEV_BAR0_SIZE - 1u));
    assert_int_equal(get_le32(c.bytes + 0x14), 0);
    assert_int_equal(get_le32(c.bytes + 0x18), ~(EDEV_BAR2_SIZE - 1u));
    assert_int_equal(get_le32(c.bytes + 0x20), ~(EDEV_BAR4_SIZE - 1u));
}

static void bits_that_are_not_the_drivers_do_not_change(void **state)
{
    struct config c = fresh();
    const struct config before = c;
    uint8_t ones[CONFIG_SIZE];

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    config_write(&c, 0, ones, sizeof(ones));
    for (size_t i = 0; i < CONFIG_SIZE; i++)
        assert_int_equal(c.bytes[i], before.bytes[i] | c.writable[i]);
    memset(ones, 0, sizeof(ones));
    config_write(&c, 0, ones, sizeof(ones));
    for (size_t i = 0; i < CONFIG_SIZE; i++)
        assert_int_equal(c.bytes[i], before.bytes[i] & ~c.writable[i]);
}

static void bus_master_is_off_until_it_is_set(void **state)
{
    static const uint8_t on[] = { 0x06, 0x00 };
    struct config c = fresh();

    (void)state;
    assert_false(config_bus_master(&c));
    config_write(&c, 4, on, sizeof(on));
    assert_true(config_bus_master(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ids_are_those_asked_for),
        cmocka_unit_test(msi_msix_and_express_are_in_the_list),
        cmocka_unit_test(bars_tell_their_size),
        cmocka_unit_test(bits_that_are_not_the_drivers_do_not_change),
        cmocka_unit_test(bus_master_is_off_until_it_is_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
