/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which driver knows a device, and what it does to the registers of one that
 * is nothing but memory.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "check/driver.h"
#include "emulator/registers.h"

#define REGION_SIZE 0x10000

/* Each region is memory; config space is another. */
struct memory {
    uint8_t regions[UAPI_NUM_REGIONS][REGION_SIZE];
    int vectors;
    bool has_config;
};

static int memory_read(struct raw *raw, uint32_t index, uint64_t offset,
                       void *buf, size_t len)
{
    struct memory *m = raw->impl;

    if ((index == UAPI_REGION_CONFIG && !m->has_config) ||
        index >= UAPI_NUM_REGIONS || offset + len > REGION_SIZE)
        return -EINVAL;
    memcpy(buf, m->regions[index] + offset, len);
    return 0;
}

static int memory_write(struct raw *raw, uint32_t index, uint64_t offset,
                        const void *buf, size_t len)
{
    struct memory *m = raw->impl;

    if (index >= UAPI_NUM_REGIONS || offset + len > REGION_SIZE)
        return -EINVAL;
    memcpy(m->regions[index] + offset, buf, len);
    return 0;
}

static int memory_irq_count(struct raw *raw, uint32_t index)
{
    const struct memory *m = raw->impl;

    return index == UAPI_IRQ_MSIX ? m->vectors : 0;
}

static const struct raw_ops ops = {
    .kind = "memory",
    .region_read = memory_read,
    .region_write = memory_write,
    .irq_count = memory_irq_count,
};

static struct memory memory;

static struct raw make(uint16_t vendor, uint16_t device, uint32_t magic)
{
    memset(&memory, 0, sizeof(memory));
    memory.has_config = true;
    memory.vectors = 4;
    memcpy(memory.regions[UAPI_REGION_CONFIG], &vendor, sizeof(vendor));
    memcpy(memory.regions[UAPI_REGION_CONFIG] + 2, &device, sizeof(device));
    memcpy(memory.regions[UAPI_REGION_BAR0] + EDEV_REG_MAGIC, &magic,
           sizeof(magic));
    return (struct raw){ .ops = &ops, .impl = &memory };
}

static void a_driver_is_found_by_ids_and_magic(void **state)
{
    struct raw raw = make(EDEV_PCI_VENDOR, EDEV_PCI_DEVICE, EDEV_MAGIC);

    (void)state;
    assert_ptr_equal(driver_find(&raw), &driver_vfmig);
}

static void nobody_knows_another_device(void **state)
{
    struct raw raw = make(EDEV_PCI_VENDOR, EDEV_PCI_DEVICE + 1, EDEV_MAGIC);

    (void)state;
    assert_null(driver_find(&raw));
    raw = make(EDEV_PCI_VENDOR + 1, EDEV_PCI_DEVICE, EDEV_MAGIC);
    assert_null(driver_find(&raw));
    raw = make(EDEV_PCI_VENDOR, EDEV_PCI_DEVICE, 1);
    assert_null(driver_find(&raw));
}

static void nobody_knows_a_device_without_configuration_space(void **state)
{
    struct raw raw = make(EDEV_PCI_VENDOR, EDEV_PCI_DEVICE, EDEV_MAGIC);

    (void)state;
    memory.has_config = false;
    assert_null(driver_find(&raw));
}

static void what_was_marked_is_found(void **state)
{
    struct raw raw = make(EDEV_PCI_VENDOR, EDEV_PCI_DEVICE, EDEV_MAGIC);
    const char *what = "";

    (void)state;
    assert_int_equal(driver_vfmig.find_none(&raw, &what), 0);
    assert_int_equal(driver_vfmig.mark(&raw, 1), 0);
    assert_int_equal(driver_vfmig.find(&raw, 1, &what), 0);
    assert_int_equal(driver_vfmig.find(&raw, 2, &what), -EILSEQ);
    assert_int_equal(driver_vfmig.find_none(&raw, &what), -EILSEQ);
}

/* Bit by bit: none of what a mark wrote may be lost unseen. */
static void a_bit_that_is_lost_is_seen(void **state)
{
    struct raw raw = make(EDEV_PCI_VENDOR, EDEV_PCI_DEVICE, EDEV_MAGIC);
    static const struct {
        uint32_t region;
        uint32_t offset;
        const char *name;
    } all[] = {
        { 0, EDEV_REG_SCRATCH + 7 * 8 + 7, "SCRATCH 7" },
        { 0, EDEV_REG_IRQ_VECTOR, "IRQ_VECTOR" },
        { 0, EDEV_REG_DMA_RATE, "DMA_RATE" },
        { 2, 0xffff, "BAR2 at 0xfff8" },
        { 4, 4 * 16 - 1, "the MSI-X table" },
    };

    (void)state;
    assert_int_equal(driver_vfmig.mark(&raw, 1), 0);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        uint8_t *byte = &memory.regions[all[i].region][all[i].offset];
        const char *what = "";

        *byte ^= 1;
        assert_int_equal(driver_vfmig.find(&raw, 1, &what), -EILSEQ);
        assert_string_equal(what, all[i].name);
        *byte ^= 1;
    }
}

static void a_stream_of_pages_is_recognized(void **state)
{
    static uint64_t page[EDEV_WORDS_PER_PAGE];
    const struct edev_ring_page head = { .magic = EDEV_RING_MAGIC,
                                         .sequence = 77 };

    (void)state;
    assert_true(driver_vfmig.page_number(page) == UINT64_MAX);
    memcpy(page, &head, sizeof(head));
    assert_int_equal(driver_vfmig.page_number(page), 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_driver_is_found_by_ids_and_magic),
        cmocka_unit_test(nobody_knows_another_device),
        cmocka_unit_test(nobody_knows_a_device_without_configuration_space),
        cmocka_unit_test(what_was_marked_is_found),
        cmocka_unit_test(a_bit_that_is_lost_is_seen),
        cmocka_unit_test(a_stream_of_pages_is_recognized),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
