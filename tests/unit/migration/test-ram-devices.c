/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices write to memory: those that log it are asked, and those that do not
 * may have written all that they reach.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dirty/bitmap.h"
#include "guest.h"
#include "check/model.h"

static struct pair p;
static void (*processors)(struct pair *pair);

/* DMA to a page of the lower memory, which a device's log is about. */
static void write_by_device(struct fake_device *f, unsigned int page)
{
    uint8_t *memory = guest.memory[0] + (size_t)page * GUEST_PAGE;

    fake_pattern(memory, GUEST_PAGE, ++guest.random);
    bitmap_set(f->wrote, page);
}

static bool does_dma(const struct fake_device *f)
{
    return f->state == VFM_STATE_RUNNING || f->state == VFM_STATE_PRE_COPY;
}

static void meanwhile(struct pair *pair)
{
    if (pair->source.over)
        return;
    for (unsigned int i = 0; i < pair->setup.num_devices; i++) {
        struct fake_device *f = &pair->source.devices[i];

        if (does_dma(f))
            write_by_device(f, ++guest.random % GUEST_LOW_PAGES);
    }
    processors(pair);
}

static void begin(unsigned int num_devices)
{
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                        .num_devices = num_devices,
                                        .size = 300000,
                                        .pre_copy_size = 200000 });
    guest_init(&p);
    processors = p.meanwhile;
    p.meanwhile = meanwhile;
    for (unsigned int i = 0; i < num_devices; i++) {
        struct fake_device *f = &p.source.devices[i];

        f->dev->info.has_dma_logging = true;
        f->reach = GUEST_LOW_PAGES * GUEST_PAGE;
    }
}

static void end(void)
{
    for (unsigned int i = 0; i < p.setup.num_devices; i++)
        assert_false(p.source.devices[i].logs);
    guest_close();
    pair_close(&p);
}

static void what_devices_write_arrives(void **state)
{
    (void)state;
    for (unsigned int n = 1; n <= 3; n++)
        for (unsigned int delay = 0; delay < 3; delay++) {
            begin(n);
            p.source.devices[0].delay = delay;
            guest.pages_per_step = 1;
            pair_succeeds(&p);
            guest_check(&p);
            assert_int_equal(p.source.ram.untracked_bytes, 0);
            assert_int_equal(p.source.devices[0].calls[FAKE_LOG_START], 1);
            assert_int_equal(p.source.devices[0].calls[FAKE_LOG_STOP], 1);
            end();
        }
}

/* It forgets what it wrote, and says that it failed. */
static void a_log_that_fails_counts_all_as_written(void **state)
{
    (void)state;
    for (unsigned int from = 0; from < 3; from++) {
        begin(2);
        fake_fail(&p.source.devices[1], FAKE_LOG_REPORT, from, -EIO);
        pair_succeeds(&p);
        guest_check(&p);
        assert_int_equal(p.source.ram.tracker_failures, 1);
        assert_non_null(
            strstr(p.source.warned, "dev1: cannot tell what was written"));
        end();
    }
}

static void a_device_without_a_log_may_have_written_all_it_reaches(void **state)
{
    (void)state;
    begin(2);
    p.source.devices[1].dev->info.has_dma_logging = false;
    p.source.devices[1].reach = 100 * GUEST_PAGE;
    pair_begin(&p);
    while (!p.source.over || !p.target.over) {
        if (!p.source.over && does_dma(&p.source.devices[1]))
            write_by_device(&p.source.devices[1], ++guest.random % 100);
        pair_step(&p);
    }
    assert_int_equal(p.source.ret, 0);
    pair_check(&p);
    guest_check(&p);
    assert_int_equal(p.source.ram.untracked_bytes, 100 * GUEST_PAGE);
    assert_int_equal(p.source.ram.stopped_pages, 100);
    assert_non_null(
        strstr(p.source.warned, "dev1: nobody knows what it writes to memory"));
    end();
}

static void a_log_that_does_not_start_is_none(void **state)
{
    (void)state;
    for (int at_start = 0; at_start < 2; at_start++) {
        begin(2);
        fake_fail(&p.source.devices[0], FAKE_LOG_START, 0, -ENOMEM)->at_start =
            at_start;
        pair_succeeds(&p);
        guest_check(&p);
        assert_non_null(
            strstr(p.source.warned, "dev0: what it writes is not known"));
        assert_int_equal(p.source.ram.untracked_bytes,
                         GUEST_LOW_PAGES * GUEST_PAGE);
        end();
    }
}

static void a_device_without_a_log_holds_the_limit(void **state)
{
    (void)state;
    begin(1);
    p.source.devices[0].dev->info.has_dma_logging = false;
    p.source.options.downtime_limit_ms = 5;
    p.source.options.max_bandwidth = 20 << 20;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.ret, -ETIME);
    assert_int_equal(p.source.vm_stops, 0);
    end();
}

static void tracker_of_a_device(struct pair_side *side)
{
    if (!side->is_source) {
        assert_int_equal(
            vfm_migration_add_tracker(side->m, guest.tracker, NULL, NULL),
            -EINVAL);
        return;
    }
    assert_int_equal(vfm_migration_add_tracker(side->m, guest.tracker,
                                               side->devices[0].dev, NULL),
                     0);
    assert_int_equal(vfm_migration_add_tracker(side->m, guest.tracker,
                                               p.target.devices[0].dev, NULL),
                     -ENOENT);
}

static void (*prepare)(struct pair_side *side);

static void prepare_both(struct pair_side *side)
{
    guest.untracked = true;
    prepare(side);
    tracker_of_a_device(side);
}

/* ... such as its IOMMU's, and its own log is left alone. */
static void a_tracker_may_be_a_devices(void **state)
{
    (void)state;
    begin(1);
    prepare = p.prepare;
    p.prepare = prepare_both;
    pair_succeeds(&p);
    guest_check(&p);
    assert_int_equal(guest.starts, 1);
    assert_int_equal(p.source.devices[0].calls[FAKE_LOG_START], 0);
    end();
}

static void a_device_that_dies_ends_it(void **state)
{
    (void)state;
    for (unsigned int n = 1; n < 40; n++) {
        begin(2);
        p.source.devices[1].dies_at = n;
        pair_run(&p);
        pair_check(&p);
        if (p.source.ret == 0)
            guest_check(&p);
        p.source.devices[1].logs = false; /* as dead as it is */
        end();
    }
}

static void what_is_cancelled_anywhere_leaves_no_log_on(void **state)
{
    bool past = false;

    (void)state;
    for (unsigned int n = 0; !past; n++) {
        begin(2);
        p.source.devices[0].delay = n % 3;
        p.source.cancel_before = n;
        pair_run(&p);
        pair_check(&p);
        past = pair_is_past(&p);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_devices_write_arrives),
        cmocka_unit_test(a_log_that_fails_counts_all_as_written),
        cmocka_unit_test(
            a_device_without_a_log_may_have_written_all_it_reaches),
        cmocka_unit_test(a_log_that_does_not_start_is_none),
        cmocka_unit_test(a_device_without_a_log_holds_the_limit),
        cmocka_unit_test(a_tracker_may_be_a_devices),
        cmocka_unit_test(a_device_that_dies_ends_it),
        cmocka_unit_test(what_is_cancelled_anywhere_leaves_no_log_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
