/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that is written while it is migrated.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "dirty/bitmap.h"
#include "guest.h"
#include "check/model.h"
#include "util/clock.h"
#include "util/error.h"

struct guest guest;

static struct pair *pair;

/* Where page @page is in the guest's address space. */
static uint64_t address_of(unsigned int page)
{
    if (page >= GUEST_RAM_PAGES)
        return GUEST_ROM_AT + (uint64_t)(page - GUEST_RAM_PAGES) * GUEST_PAGE;
    if (page >= GUEST_LOW_PAGES)
        return GUEST_HIGH_AT + (uint64_t)(page - GUEST_LOW_PAGES) * GUEST_PAGE;
    return (uint64_t)page * GUEST_PAGE;
}

static uint32_t next_random(void)
{
    guest.random = guest.random * 1664525 + 1013904223;
    return guest.random >> 8;
}

void guest_write(unsigned int page)
{
    uint8_t *p = guest.memory[0] + (size_t)page * GUEST_PAGE;

    /* Some pages become empty again. */
    if (next_random() % 8 == 0)
        memset(p, 0, GUEST_PAGE);
    else
        fake_pattern(p, GUEST_PAGE, next_random());
    bitmap_set(guest.written, page);
}

static void write_some(unsigned int pages)
{
    while (pages-- > 0)
        guest_write(next_random() % GUEST_PAGES);
}

static unsigned int pages_in_time(void)
{
    int64_t now = clock_now();
    uint64_t pages;

    if (guest.wrote_at == 0)
        guest.wrote_at = now;
    pages = (uint64_t)(now - guest.wrote_at) * guest.bytes_per_sec /
            (uint64_t)NS_PER_SEC / GUEST_PAGE;
    if (pages > 0)
        guest.wrote_at = now;
    return (unsigned int)pages;
}

/* Between two steps of the migration the VM runs. */
static void meanwhile(struct pair *p)
{
    if (!p->source.vm_runs || p->source.over)
        return;
    write_some(guest.pages_per_step);
    if (guest.bytes_per_sec > 0)
        write_some(pages_in_time());
}

static bool delays(void)
{
    if (guest.delayed++ < guest.delay)
        return true;
    guest.delayed = 0;
    return false;
}

static int tracker_start(void *opaque, const struct vfm_dirty_range *ranges,
                         size_t n, struct vfm_error *err)
{
    (void)opaque;
    if (delays())
        return -EAGAIN;
    guest.starts++;
    if (guest.fail_start != 0)
        return error_set(err, guest.fail_start, "tracker: does not start");
    assert_int_equal(n, guest.unmapped_rom ? 2 : 3);
    assert_int_equal(ranges[1].address, GUEST_HIGH_AT);
    memset(guest.written, 0, sizeof(guest.written));
    guest.started = true;
    return 0;
}

static bool devices_run(void)
{
    for (unsigned int i = 0; i < pair->setup.num_devices; i++)
        if (model_runs(pair->source.devices[i].state))
            return true;
    return false;
}

static bool report_fails(void)
{
    unsigned int n = guest.reports++;

    return n >= guest.fail_report_from &&
           n - guest.fail_report_from < guest.fail_reports;
}

static int tracker_report(void *opaque, struct vfm_dirty_sink *sink,
                          struct vfm_error *err)
{
    (void)opaque;
    if (delays())
        return -EAGAIN;
    assert_true(guest.started);
    if (!devices_run()) {
        guest.stopped_reports++;
        write_some(guest.late_pages);
    }
    if (report_fails()) {
        if (guest.forgets)
            memset(guest.written, 0, sizeof(guest.written));
        return error_set(err, guest.fail_report, "tracker: lost its log");
    }
    for (unsigned int i = 0; i < GUEST_PAGES; i++)
        if (bitmap_test(guest.written, i))
            vfm_dirty_mark_range(sink, address_of(i), 1);
    memset(guest.written, 0, sizeof(guest.written));
    return 0;
}

static int tracker_stop(void *opaque, struct vfm_error *err)
{
    (void)opaque;
    if (delays())
        return -EAGAIN;
    assert_true(guest.started);
    guest.started = false;
    guest.stops++;
    if (guest.fail_stop != 0)
        return error_set(err, guest.fail_stop, "tracker: does not stop");
    return 0;
}

static const struct vfm_dirty_ops ops = {
    .size = sizeof(ops),
    .name = "the test's tracker",
    .start = tracker_start,
    .report = tracker_report,
    .stop = tracker_stop,
};

static void add_block(struct vfm_ram *ram, const char *name, uint64_t pages,
                      uint8_t *memory, bool fresh)
{
    const struct vfm_ram_block block = {
        .size = sizeof(block),
        .name = name,
        .bytes = pages * GUEST_PAGE,
        .memory = memory,
        .fresh = fresh,
    };

    assert_int_equal(vfm_ram_add_block(ram, &block, NULL), 0);
}

static void make_ram(unsigned int i)
{
    uint8_t *memory = guest.memory[i];
    bool is_target = i == 1;
    struct vfm_ram *ram;

    assert_int_equal(vfm_ram_new(&ram, NULL), 0);
    add_block(ram, "pc.ram", GUEST_RAM_PAGES, memory, is_target);
    add_block(ram, is_target ? guest.target_rom_name : "pc.rom",
              is_target ? guest.target_rom_pages : GUEST_ROM_PAGES,
              memory + (size_t)GUEST_RAM_PAGES * GUEST_PAGE, false);
    if (!is_target) {
        uint64_t low = GUEST_LOW_PAGES * GUEST_PAGE;
        uint64_t all = GUEST_RAM_PAGES * GUEST_PAGE;

        assert_int_equal(vfm_ram_add_mapping(ram, "pc.ram", 0, 0, low, NULL),
                         0);
        assert_int_equal(vfm_ram_add_mapping(ram, "pc.ram", low, GUEST_HIGH_AT,
                                             all - low, NULL),
                         0);
        if (!guest.unmapped_rom)
            assert_int_equal(vfm_ram_add_mapping(ram, "pc.rom", 0, GUEST_ROM_AT,
                                                 GUEST_ROM_PAGES * GUEST_PAGE,
                                                 NULL),
                             0);
    }
    guest.ram[i] = ram;
}

static void prepare(struct pair_side *side)
{
    unsigned int i = side->is_source ? 0 : 1;

    make_ram(i);
    assert_int_equal(vfm_migration_set_ram(side->m, guest.ram[i], NULL), 0);
    if (side->is_source && !guest.untracked)
        assert_int_equal(
            vfm_migration_add_tracker(side->m, guest.tracker, NULL, NULL), 0);
}

static uint8_t *new_memory(void)
{
    void *memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(memory != MAP_FAILED);
    return memory;
}

void guest_init(struct pair *p)
{
    memset(&guest, 0, sizeof(guest));
    pair = p;
    p->prepare = prepare;
    p->meanwhile = meanwhile;
    guest.target_rom_pages = GUEST_ROM_PAGES;
    guest.target_rom_name = "pc.rom";
    guest.memory[0] = new_memory();
    guest.memory[1] = new_memory();
    /* What the target's ROM held is nobody's any more. */
    memset(guest.memory[1] + (size_t)GUEST_RAM_PAGES * GUEST_PAGE, 0xaa,
           GUEST_ROM_PAGES * GUEST_PAGE);
    for (unsigned int i = 0; i < GUEST_PAGES; i += 2)
        guest_write(i); /* every second page is empty */
    assert_int_equal(vfm_dirty_tracker_new(&ops, NULL, &guest.tracker, NULL),
                     0);
}

void guest_check(const struct pair *p)
{
    for (size_t i = 0; i < GUEST_PAGES; i++)
        if (memcmp(guest.memory[0] + i * GUEST_PAGE,
                   guest.memory[1] + i * GUEST_PAGE, GUEST_PAGE) != 0)
            fail_msg("%s: page %zu is not what it was", p->title, i);
}

void guest_close(void)
{
    assert_false(guest.started);
    assert_int_equal(guest.stops,
                     guest.starts - (guest.fail_start != 0 ? guest.starts : 0));
    vfm_dirty_tracker_free(guest.tracker);
    for (int i = 0; i < 2; i++) {
        vfm_ram_free(guest.ram[i]);
        munmap(guest.memory[i], GUEST_BYTES);
    }
}
