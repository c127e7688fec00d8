/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration record: made from one fake device, given to another.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake-device.h"
#include "section/pci-state.h"
#include "util/bytes.h"

static struct fake_device from;
static struct fake_device to;
static struct pci_state saved;
static struct pci_state loaded;
static struct vfm_error err;

static int set_up(void **state)
{
    (void)state;
    fake_open(&from, "from", VFM_MIGRATION_STOP_COPY);
    fake_open(&to, "to", VFM_MIGRATION_STOP_COPY);
    fake_set_config(&from, 256);
    fake_set_config(&to, 256);
    saved = loaded = (struct pci_state){ 0 };
    err = (struct vfm_error){ 0 };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pci_state_close(&saved);
    pci_state_close(&loaded);
    fake_close(&from);
    fake_close(&to);
    return 0;
}

static int save(void)
{
    int ret;

    while ((ret = pci_state_save(&saved, from.dev, &err)) == -EAGAIN)
        assert_int_equal(device_wait(from.dev, NULL), 0);
    return ret;
}

static int apply(void)
{
    int ret;

    while ((ret = pci_state_apply(&loaded, to.dev, &err)) == -EAGAIN)
        assert_int_equal(device_wait(to.dev, NULL), 0);
    return ret;
}

static int pass_on(void)
{
    assert_int_equal(
        pci_state_set(&loaded, saved.record, saved.record_len, &err), 0);
    return apply();
}

static void a_record_has_this_layout(void **state)
{
    static const uint8_t pins[16];

    (void)state;
    fake_pattern(from.bar, sizeof(from.bar), 4);
    assert_int_equal(save(), 0);
    assert_int_equal(saved.record_len, 4 + 256 + 16 + 8 * 16 + 1);
    assert_memory_equal(saved.record, "\0\0\0\2", 4);
    assert_memory_equal(saved.record + 4, from.config, 256);
    assert_memory_equal(saved.record + 260, pins, 16);
    assert_memory_equal(saved.record + 276, from.bar + 0x100, 128);
    assert_int_equal(saved.record[404], from.bar[0x800]);
}

static void a_larger_space_is_a_longer_record(void **state)
{
    (void)state;
    fake_set_config(&from, 4096);
    from.config[4095] = 9;
    assert_int_equal(save(), 0);
    assert_int_equal(saved.record_len, 4 + 4096 + 16 + 8 * 16 + 1);
    assert_int_equal(saved.record[4 + 4095], 9);
}

static void a_device_without_msix_has_no_table(void **state)
{
    (void)state;
    from.config[0x34] = 0;
    fake_learn(&from);
    assert_int_equal(save(), 0);
    assert_int_equal(saved.record_len, 4 + 256 + 16);
    assert_int_equal(from.calls[FAKE_REGION_READ], 1);
}

static void what_the_driver_set_up_arrives_the_command_last(void **state)
{
    (void)state;
    put_le16(from.config + 0x04, 0x0406);
    put_le32(from.config + 0x10, 0xfebd0000);
    put_le16(from.config + 0xa2, 0x8007);
    fake_pattern(from.bar + 0x100, 128, 4);
    assert_int_equal(save(), 0);
    assert_int_equal(pass_on(), 0);
    assert_memory_equal(to.config, from.config, 256);
    assert_memory_equal(to.bar + 0x100, from.bar + 0x100, 128);
    assert_int_equal(to.last_write_at, 0x04);
    assert_int_equal(to.num_config_writes, 3);
}

static void a_slow_device_gets_the_same(void **state)
{
    (void)state;
    from.delay = to.delay = 3;
    put_le16(from.config + 0x04, 0x0406);
    fake_pattern(from.bar + 0x100, 128, 4);
    assert_int_equal(save(), 0);
    assert_int_equal(pass_on(), 0);
    assert_memory_equal(to.config, from.config, 256);
    assert_memory_equal(to.bar + 0x100, from.bar + 0x100, 128);
}

static void what_is_the_same_is_not_written(void **state)
{
    (void)state;
    assert_int_equal(save(), 0);
    assert_int_equal(pass_on(), 0);
    assert_int_equal(to.num_config_writes, 0);
}

/* A server that refuses in STOP_COPY and not in STOP. */
static void a_step_that_failed_is_made_again(void **state)
{
    (void)state;
    for (unsigned int n = 0; n < 3; n++) {
        fake_fail(&from, FAKE_REGION_READ, from.calls[FAKE_REGION_READ] + n,
                  -EINVAL);
        assert_int_equal(save(), -EINVAL);
        assert_string_equal(err.message, "from: device refuses region read: "
                                         "Invalid argument");
        assert_int_equal(save(), 0);
        assert_int_equal(saved.record_len, 405);
    }
    assert_int_equal(pass_on(), 0);
}

/* The kernel keeps interrupts to itself and shows ones. */
static void a_table_that_is_hidden_is_that_of_a_reset(void **state)
{
    uint8_t *entry;

    (void)state;
    memset(from.bar + 0x100, 0xff, 8 * 16);
    assert_int_equal(save(), 0);
    entry = saved.record + 276;
    for (unsigned int i = 0; i < 8; i++, entry += 16)
        assert_memory_equal(entry, "\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0", 16);
    from.bar[0x100 + 8 * 16 - 1] = 0xfe;
    assert_int_equal(save(), 0);
    assert_memory_equal(saved.record + 276, from.bar + 0x100, 8 * 16);
}

/* The kernel reads no BAR then. */
static void a_device_that_decodes_no_memory_has_nothing_pending(void **state)
{
    (void)state;
    from.bar[0x800] = 0x55;
    fake_fail(&from, FAKE_REGION_READ, 2, -EIO);
    fake_fail(&from, FAKE_REGION_READ, 5, -EIO);
    assert_int_equal(save(), 0);
    assert_int_equal(saved.record[404], 0);
    put_le16(from.config + 0x04, 0x0002);
    assert_int_equal(save(), -EIO);
    assert_int_equal(save(), 0);
    assert_int_equal(saved.record[404], 0x55);
}

static void every_failure_of_a_write_comes_through(void **state)
{
    unsigned int writes;

    (void)state;
    put_le16(from.config + 0x04, 0x0406);
    assert_int_equal(save(), 0);
    assert_int_equal(pass_on(), 0);
    writes = to.calls[FAKE_REGION_WRITE];
    assert_int_equal(writes, 2);
    put_le16(to.config + 0x04, 0);
    fake_fail(&to, FAKE_REGION_WRITE, writes, -EIO);
    fake_fail(&to, FAKE_REGION_WRITE, writes + 2, -EACCES);
    fake_fail(&to, FAKE_REGION_READ, 2, -ENXIO);
    assert_int_equal(apply(), -EIO);
    assert_int_equal(apply(), -EACCES);
    assert_int_equal(apply(), 0);
    assert_int_equal(apply(), -ENXIO);
}

static void a_device_without_configuration_has_an_empty_record(void **state)
{
    (void)state;
    from.dev->info.config_size = to.dev->info.config_size = 0;
    assert_int_equal(save(), 0);
    assert_int_equal(saved.record_len, 0);
    assert_int_equal(pci_state_set(&loaded, NULL, 0, &err), 0);
    assert_int_equal(apply(), 0);
    assert_int_equal(from.all_calls + to.all_calls, 0);
}

static void a_size_that_no_device_has_is_refused(void **state)
{
    (void)state;
    from.dev->info.config_size = 8192;
    assert_int_equal(save(), -EINVAL);
    assert_string_equal(err.message,
                        "from: a configuration space of 8192 bytes");
}

static void refuse(int code, const char *why)
{
    unsigned int before = to.num_config_writes;

    assert_int_equal(apply(), code);
    if (strstr(err.message, why) == NULL)
        fail_msg("%s", err.message);
    assert_memory_equal(err.message, "to: ", 4);
    assert_int_equal(to.num_config_writes, before);
    assert_int_equal(to.calls[FAKE_REGION_WRITE], 0);
    pci_state_close(&loaded);
}

static void load(size_t len)
{
    static const uint8_t more[PCI_RECORD_MAX];
    static uint8_t record[PCI_RECORD_MAX];

    memcpy(record, more, sizeof(record));
    memcpy(record, saved.record,
           len < saved.record_len ? len : saved.record_len);
    assert_int_equal(pci_state_set(&loaded, record, len, &err), 0);
}

static void a_record_of_another_length_is_refused(void **state)
{
    static const size_t lengths[] = { 0, 1, 4, 275, 276, 404, 406, 4096 };

    (void)state;
    assert_int_equal(save(), 0);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        load(lengths[i]);
        refuse(-EBADMSG, "bytes");
    }
    assert_int_equal(pci_state_set(&loaded, NULL, PCI_RECORD_MAX + 1, &err),
                     -E2BIG);
}

static void a_record_of_another_version_is_refused(void **state)
{
    (void)state;
    assert_int_equal(save(), 0);
    load(saved.record_len);
    loaded.record[3] = 3;
    refuse(-EOPNOTSUPP, "version 3");
    load(saved.record_len);
    loaded.record[3] = 1;
    assert_int_equal(apply(), 0);
}

static void a_record_of_another_device_is_refused_by_what_differs(void **state)
{
    (void)state;
    assert_int_equal(save(), 0);
    load(saved.record_len);
    loaded.record[4] ^= 1;
    refuse(-EINVAL, "byte 0x0 (vendor and device id) is 0x87, here 0x86");
    load(saved.record_len);
    loaded.record[4 + 0x50] ^= 1;
    refuse(-EINVAL, "byte 0x50 (capability)");
}

static void a_record_of_another_size_is_refused(void **state)
{
    (void)state;
    fake_set_config(&from, 4096);
    assert_int_equal(save(), 0);
    load(saved.record_len);
    refuse(-EINVAL, "a configuration space of 4096 bytes, this device's has "
                    "256");
}

static void a_record_with_other_vectors_is_refused(void **state)
{
    (void)state;
    put_le16(from.config + 0xa2, 3);
    fake_learn(&from);
    assert_int_equal(save(), 0);
    load(saved.record_len);
    refuse(-EINVAL, "4 MSI-X vectors, this device has 8");
}

/* Since the device was opened: what was read is of another place. */
static void a_table_that_has_moved_is_refused(void **state)
{
    (void)state;
    put_le32(from.config + 0xa4, 0x200 | from.bar_of_msix);
    assert_int_equal(save(), -EINVAL);
    assert_string_equal(err.message, "from: its MSI-X table is not where it "
                                     "was when the device was opened");
    assert_int_equal(saved.record_len, 0);
}

static void a_table_where_none_can_be_is_refused(void **state)
{
    (void)state;
    put_le32(from.config + 0xa4, 7);
    fake_learn(&from);
    assert_int_equal(save(), -EINVAL);
    assert_int_equal(saved.record_len, 0);
}

/* What QEMU appends for a device with a display. */
static void a_record_of_qemu_with_a_display_is_accepted(void **state)
{
    static const char name[] = "VFIOPCIDevice/VFIODisplay";
    uint8_t tail[2 + sizeof(name) - 1 + 4 + 28] = { 5, sizeof(name) - 1 };

    (void)state;
    assert_int_equal(save(), 0);
    memcpy(tail + 2, name, sizeof(name) - 1);
    tail[2 + sizeof(name) - 1 + 3] = 1;
    load(saved.record_len + sizeof(tail));
    memcpy(loaded.record + saved.record_len, tail, sizeof(tail));
    assert_int_equal(apply(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_has_this_layout),
        TEST(a_larger_space_is_a_longer_record),
        TEST(a_device_without_msix_has_no_table),
        TEST(what_the_driver_set_up_arrives_the_command_last),
        TEST(a_slow_device_gets_the_same),
        TEST(what_is_the_same_is_not_written),
        TEST(a_step_that_failed_is_made_again),
        TEST(a_table_that_is_hidden_is_that_of_a_reset),
        TEST(a_device_that_decodes_no_memory_has_nothing_pending),
        TEST(every_failure_of_a_write_comes_through),
        TEST(a_device_without_configuration_has_an_empty_record),
        TEST(a_size_that_no_device_has_is_refused),
        TEST(a_record_of_another_length_is_refused),
        TEST(a_record_of_another_version_is_refused),
        TEST(a_record_of_another_device_is_refused_by_what_differs),
        TEST(a_record_of_another_size_is_refused),
        TEST(a_record_with_other_vectors_is_refused),
        TEST(a_table_that_has_moved_is_refused),
        TEST(a_table_where_none_can_be_is_refused),
        TEST(a_record_of_qemu_with_a_display_is_accepted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
