/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory moves with the devices: every page arrives as it was when the VM
 * stopped, whoever wrote it, whenever, and whatever became of a tracker.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest.h"
#include "util/clock.h"

static struct pair p;

static void begin(uint64_t migration, unsigned int num_devices)
{
    pair_init(&p, &(struct pair_setup){ .migration = migration,
                                        .num_devices = num_devices,
                                        .size = 300000,
                                        .pre_copy_size = 200000 });
    guest_init(&p);
}

static void end(void)
{
    guest_close();
    pair_close(&p);
}

static void succeed(void)
{
    pair_succeeds(&p);
    guest_check(&p);
}

/* It goes on at the source, with all trackers at rest. */
static void fail_with(int error, const char *why)
{
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.ret, error);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    if (strstr(p.source.err.message, why) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", why, p.source.err.message);
    assert_int_equal(p.source.vm_runs, !p.setup.paused);
}

static void memory_at_rest_arrives(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    succeed();
    assert_int_equal(p.source.ram.bytes, GUEST_BYTES);
    assert_int_equal(p.source.ram.normal_pages + p.source.ram.zero_pages,
                     GUEST_PAGES);
    assert_true(p.source.ram.zero_pages >= GUEST_PAGES / 2);
    assert_int_equal(p.source.ram.normal_pages, p.target.ram.normal_pages);
    assert_int_equal(p.source.ram.zero_pages, p.target.ram.zero_pages);
    assert_int_equal(p.source.ram.stopped_pages, 0);
    assert_int_equal(p.source.ram.remaining_bytes, 0);
    assert_int_equal(p.source.ram.untracked_bytes, 0);
    assert_int_equal(p.source.warnings, 0);
    assert_int_equal(guest.stopped_reports, 1);
    end();
}

static void what_is_written_meanwhile_arrives(void **state)
{
    static const uint64_t features[] = { PAIR_SC, PAIR_PRE, PAIR_P2P,
                                         PAIR_ALL };

    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (unsigned int n = 1; n <= 3; n++) {
            if (n > 1 && (features[i] & VFM_MIGRATION_P2P) == 0)
                continue;
            begin(features[i], n);
            guest.pages_per_step = 3;
            guest.random = (uint32_t)(10 * i + n);
            succeed();
            assert_true(p.source.ram.rounds > 1);
            end();
        }
}

static void a_vm_without_devices_moves(void **state)
{
    (void)state;
    begin(PAIR_ALL, 0);
    guest.pages_per_step = 2;
    succeed();
    end();
}

/* Less than what the clock is looked at for.  Instruments make all of it slower
 * than that: what is judged is the program without them. */
#ifdef __SANITIZE_ADDRESS__
#define AT_ONCE_NS (400 * NS_PER_MS)
#else
#define AT_ONCE_NS (45 * NS_PER_MS)
#endif

/* How long this thread could have run, but others did; 0 where the kernel does
 * not say. */
static int64_t kept_from_running(void)
{
    FILE *f = fopen("/proc/thread-self/schedstat", "r");
    long long ns = 0;

    if (f == NULL)
        return 0;
    if (fscanf(f, "%*d %lld", &ns) != 1)
        ns = 0;
    fclose(f);
    return ns;
}

static int64_t now_of_this_thread(void)
{
    return clock_now() - kept_from_running();
}

/* When a round is over the trackers are asked, and not when somebody looks at
 * the clock for another reason.  One of many is not disturbed by whatever
 * else this machine does. */
static void a_round_that_is_over_waits_for_nothing(void **state)
{
    int64_t fastest = INT64_MAX;

    (void)state;
    for (int i = 0; i < 100 && fastest > AT_ONCE_NS; i++) {
        int64_t began_at;

        begin(PAIR_ALL, 0);
        began_at = now_of_this_thread();
        succeed();
        fastest = clock_min(fastest, now_of_this_thread() - began_at);
        end();
    }
    assert_true(fastest <= AT_ONCE_NS);
}

/* DMA that is under way when a device is stopped. */
static void what_devices_write_until_they_have_stopped_arrives(void **state)
{
    (void)state;
    begin(PAIR_ALL, 2);
    guest.pages_per_step = 1;
    guest.late_pages = 40;
    succeed();
    assert_int_equal(guest.stopped_reports, 1);
    assert_true(p.source.ram.stopped_pages >= 1);
    assert_int_equal(p.source.ram.stopped_pages, p.target.ram.stopped_pages);
    end();
}

static void a_tracker_may_need_time(void **state)
{
    (void)state;
    begin(PAIR_ALL, 2);
    p.setup.delay = 2;
    guest.pages_per_step = 1;
    guest.delay = 3;
    succeed();
    end();
}

static void memory_at_no_address_is_sent_again_at_the_end(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    guest.unmapped_rom = true;
    guest.pages_per_step = 2;
    succeed();
    assert_true(p.source.ram.stopped_pages >= GUEST_ROM_PAGES);
    end();
}

/* The worst that a tracker can do: it fails and forgets. */
static void a_report_that_fails_counts_all_as_written(void **state)
{
    (void)state;
    for (unsigned int from = 0; from < 3; from++) {
        begin(PAIR_ALL, 1);
        guest.pages_per_step = 2;
        guest.fail_report = -EIO;
        guest.fail_report_from = from;
        guest.fail_reports = 1;
        guest.forgets = true;
        succeed();
        assert_non_null(
            strstr(p.source.warned, "all memory counts as written"));
        assert_int_equal(p.source.ram.tracker_failures, 1);
        end();
    }
}

static void a_last_report_that_fails_costs_downtime_and_no_page(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    guest.late_pages = 20;
    guest.fail_report = -EIO;
    guest.fail_report_from = 1; /* the first finds nothing */
    guest.fail_reports = UINT32_MAX;
    guest.forgets = true;
    succeed();
    assert_int_equal(guest.stopped_reports, 1);
    assert_int_equal(p.source.ram.stopped_pages, GUEST_PAGES);
    end();
}

/* For the devices and a few pages, and not for all memory. */
static void begin_with_little_time(void)
{
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                        .num_devices = 2,
                                        .size = 3000,
                                        .pre_copy_size = 3000 });
    guest_init(&p);
    p.source.options.downtime_limit_ms = 20;
    p.source.options.max_bandwidth = 20 << 20;
    guest.fail_report = -EIO;
    guest.fail_report_from = 1;
    guest.fail_reports = UINT32_MAX;
}

/* ... and where it would cost more than the limit the VM goes on here. */
static void the_limit_holds_even_after_the_last_report(void **state)
{
    (void)state;
    begin_with_little_time();
    fail_with(-ETIME, "are left when the VM has stopped");
    assert_int_equal(p.source.vm_stops, 1);
    end();
}

static void the_limit_can_be_overruled(void **state)
{
    (void)state;
    begin_with_little_time();
    p.source.options.force_switchover = true;
    guest.late_pages = 20;
    succeed();
    end();
}

static void without_a_tracker_all_is_sent_again(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    guest.untracked = true;
    guest.pages_per_step = 3;
    succeed();
    assert_int_equal(p.source.ram.untracked_bytes, GUEST_BYTES);
    assert_int_equal(p.source.ram.stopped_pages, GUEST_PAGES);
    assert_non_null(
        strstr(p.source.warned, "nobody knows what its processors"));
    assert_int_equal(guest.starts, 0);
    end();
}

static void without_a_tracker_the_limit_holds(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    guest.untracked = true;
    p.source.options.downtime_limit_ms = 1;
    p.source.options.max_bandwidth = 20 << 20;
    fail_with(-ETIME, "may be written without anybody's knowing");
    assert_int_equal(p.source.vm_stops, 0);
    end();
}

static void a_tracker_that_does_not_start_ends_it(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    guest.fail_start = -EBUSY;
    fail_with(-EBUSY, "tracker: does not start");
    assert_int_equal(p.source.vm_stops, 0);
    end();
}

static void a_tracker_that_does_not_stop_is_told_of(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    guest.fail_stop = -EIO;
    succeed();
    assert_non_null(strstr(p.source.warned, "is still logged"));
    end();
}

/* Whatever happens, who was told to log is told to stop. */
static void a_migration_that_is_cancelled_leaves_no_tracker_behind(void **state)
{
    (void)state;
    for (unsigned int stage = 0; stage < VFM_STAGE_YOURS; stage++) {
        begin(PAIR_ALL, 2);
        guest.pages_per_step = 1;
        guest.delay = stage % 3;
        p.source.cancel_in = stage;
        pair_run(&p);
        pair_check(&p);
        if (p.source.ret != 0) /* the stages that a source passes over */
            assert_true(p.source.vm_runs);
        end();
    }
}

static void a_migration_that_is_cancelled_anywhere_leaves_no_trace(void **state)
{
    bool past = false;

    (void)state;
    for (unsigned int n = 0; !past; n++) {
        begin(PAIR_ALL, 2);
        guest.pages_per_step = 1;
        guest.delay = 1;
        p.source.cancel_before = n;
        pair_run(&p);
        pair_check(&p);
        if (p.source.ret == 0)
            guest_check(&p);
        past = pair_is_past(&p);
        end();
    }
}

static void the_memory_of_a_paused_vm_moves(void **state)
{
    (void)state;
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                        .num_devices = 2,
                                        .size = 30000,
                                        .paused = true });
    guest_init(&p);
    p.source.options.paused = true;
    succeed();
    assert_int_equal(p.target.vm_starts, 0);
    assert_int_equal(guest.starts, 0);
    end();
}

static void a_paused_vm_that_is_cancelled_stays_paused(void **state)
{
    (void)state;
    for (unsigned int stage = 0; stage < VFM_STAGE_YOURS; stage++) {
        pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                            .num_devices = 2,
                                            .size = 30000,
                                            .paused = true });
        guest_init(&p);
        p.source.options.paused = true;
        p.source.cancel_in = stage;
        pair_run(&p);
        pair_check(&p);
        assert_int_equal(p.source.vm_starts, 0);
        for (unsigned int i = 0; p.source.ret != 0 && i < 2; i++)
            assert_int_equal(p.source.devices[i].state, VFM_STATE_STOP);
        end();
    }
}

/* It may write memory, and nobody would track it. */
static void a_vm_that_may_run_without_its_devices_is_refused(void **state)
{
    (void)state;
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                        .num_devices = 2,
                                        .size = 30000,
                                        .paused = true });
    guest_init(&p);
    fail_with(-EBUSY, "nobody says that their VM is paused");
    end();
}

static void memory_of_another_size_is_refused_before_the_bulk(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    guest.target_rom_pages = GUEST_ROM_PAGES - 1;
    fail_with(-EREMOTEIO, "\"pc.rom\" has 32768 bytes, ours 28672");
    assert_true(p.source.progress.stream_bytes < 4096);
    assert_int_equal(guest.starts, 0);
    end();
}

static void memory_of_another_name_is_refused_before_the_bulk(void **state)
{
    (void)state;
    begin(PAIR_ALL, 1);
    guest.target_rom_name = "rom";
    fail_with(-EREMOTEIO, "a block \"pc.rom\" of 32768 bytes, for which none");
    end();
}

static void only_source(struct pair_side *side)
{
    if (side->is_source)
        assert_int_equal(vfm_migration_set_ram(side->m, guest.ram[0], NULL), 0);
}

static void only_target(struct pair_side *side)
{
    if (!side->is_source)
        assert_int_equal(vfm_migration_set_ram(side->m, guest.ram[0], NULL), 0);
}

static void memory_that_one_side_does_not_have_is_refused(void **state)
{
    const struct vfm_ram_block block = {
        .size = sizeof(block),
        .name = "pc.ram",
        .bytes = GUEST_PAGE,
    };

    (void)state;
    for (int i = 0; i < 2; i++) {
        begin(PAIR_ALL, 1);
        assert_int_equal(vfm_ram_new(&guest.ram[0], NULL), 0);
        struct vfm_ram_block ours = block;
        ours.memory = guest.memory[0];
        assert_int_equal(vfm_ram_add_block(guest.ram[0], &ours, NULL), 0);
        p.prepare = i == 0 ? only_source : only_target;
        fail_with(-EREMOTEIO, i == 0 ? "sends memory, and none is waiting"
                                     : "sends no memory, and 4096 bytes");
        end();
    }
}

static void a_vm_that_does_not_stop_goes_on(void **state)
{
    (void)state;
    begin(PAIR_ALL, 2);
    guest.pages_per_step = 1;
    p.source.stop_error = -EIO;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.ret, -EIO);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_at_rest_arrives),
        cmocka_unit_test(what_is_written_meanwhile_arrives),
        cmocka_unit_test(a_vm_without_devices_moves),
        cmocka_unit_test(a_round_that_is_over_waits_for_nothing),
        cmocka_unit_test(what_devices_write_until_they_have_stopped_arrives),
        cmocka_unit_test(a_tracker_may_need_time),
        cmocka_unit_test(memory_at_no_address_is_sent_again_at_the_end),
        cmocka_unit_test(a_report_that_fails_counts_all_as_written),
        cmocka_unit_test(a_last_report_that_fails_costs_downtime_and_no_page),
        cmocka_unit_test(the_limit_holds_even_after_the_last_report),
        cmocka_unit_test(the_limit_can_be_overruled),
        cmocka_unit_test(without_a_tracker_all_is_sent_again),
        cmocka_unit_test(without_a_tracker_the_limit_holds),
        cmocka_unit_test(a_tracker_that_does_not_start_ends_it),
        cmocka_unit_test(a_tracker_that_does_not_stop_is_told_of),
        cmocka_unit_test(
            a_migration_that_is_cancelled_leaves_no_tracker_behind),
        cmocka_unit_test(
            a_migration_that_is_cancelled_anywhere_leaves_no_trace),
        cmocka_unit_test(the_memory_of_a_paused_vm_moves),
        cmocka_unit_test(a_paused_vm_that_is_cancelled_stays_paused),
        cmocka_unit_test(a_vm_that_may_run_without_its_devices_is_refused),
        cmocka_unit_test(memory_of_another_size_is_refused_before_the_bulk),
        cmocka_unit_test(memory_of_another_name_is_refused_before_the_bulk),
        cmocka_unit_test(memory_that_one_side_does_not_have_is_refused),
        cmocka_unit_test(a_vm_that_does_not_stop_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
