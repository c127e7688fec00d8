/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole migrations in which nothing goes wrong: every kind of device arrives
 * with every byte, and the figures say what happened.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "pair.h"
#include "util/digest.h"

static struct pair p;

static const uint64_t features[] = { PAIR_SC, PAIR_PRE, PAIR_P2P, PAIR_ALL };
#define NUM_FEATURES (sizeof(features) / sizeof(features[0]))

static void check_digest(const struct pair *pair, unsigned int i)
{
    struct digest *digest = digest_new();
    char hex[DIGEST_HEX_SIZE];

    digest_update(digest, pair_data + i, pair->setup.size + i);
    digest_hex(digest, hex);
    digest_free(digest);
    assert_string_equal(pair->source.digests[i], hex);
    assert_string_equal(pair->target.digests[i], hex);
}

static void check_figures(const struct pair *pair)
{
    const struct pair_setup *s = &pair->setup;
    uint64_t all = 0;

    for (unsigned int i = 0; i < s->num_devices; i++) {
        const struct vfm_device_stats *from = &pair->source.stats[i];
        const struct vfm_device_stats *to = &pair->target.stats[i];

        assert_int_equal(from->pre_copy_bytes + from->stop_copy_bytes,
                         s->size + i);
        assert_int_equal(from->pre_copy_bytes, to->pre_copy_bytes);
        assert_int_equal(from->stop_copy_bytes, to->stop_copy_bytes);
        assert_int_equal(from->config_bytes, to->config_bytes);
        assert_int_equal(from->config_bytes > 0, s->config_size > 0);
        all += s->size + i;
        check_digest(pair, i);
    }
    assert_int_equal(pair->source.progress.device_bytes, all);
    assert_int_equal(pair->target.progress.device_bytes, all);
    assert_int_equal(pair->target.progress.stream_bytes,
                     pair->source.progress.stream_bytes);
}

static uint64_t sum(const uint64_t ns[VFM_CAUSES_MAX])
{
    uint64_t all = 0;

    for (unsigned int i = 0; i < VFM_CAUSES_MAX; i++)
        all += ns[i];
    return all;
}

/* To the nanosecond: nothing is left to guess. */
static void all_time_has_a_cause(const struct pair_side *side)
{
    const struct vfm_progress *pr = &side->progress;
    uint64_t stopped = 0;

    assert_int_equal(sum(side->spent.total_ns), pr->elapsed_ns);
    assert_int_equal(sum(side->spent.downtime_ns), pr->downtime_ns);
    for (unsigned int i = 0; i < VFM_STAGE_DONE; i++)
        stopped += sum(side->spent.stopped_ns[i]);
    assert_int_equal(stopped, pr->downtime_ns);
    for (unsigned int i = 0; i < VFM_STAGE_DONE; i++)
        assert_int_equal(sum(side->spent.stage_ns[i]), pr->stage_ns[i]);
}

static void check_times(const struct pair_side *side)
{
    const struct vfm_progress *pr = &side->progress;
    uint64_t all = 0;

    for (unsigned int i = 0; i < VFM_STAGE_DONE; i++) {
        assert_true(pr->stage_ns[i] <= pr->elapsed_ns);
        all += pr->stage_ns[i];
    }
    /* What the target spends in `check` the source gets told. */
    assert_true(all <= pr->elapsed_ns);
    assert_true(all + 1000000 >= pr->elapsed_ns / 2);
    assert_true(pr->downtime_ns > 0);
    assert_true(pr->downtime_ns <= pr->elapsed_ns);
    assert_int_equal(side->stage, VFM_STAGE_DONE);
    assert_int_equal(side->stages_seen, (2U << VFM_STAGE_DONE) - 1);
    all_time_has_a_cause(side);
}

static void succeed(const struct pair_setup *setup)
{
    pair_init(&p, setup);
    pair_succeeds(&p);
    check_figures(&p);
    check_times(&p.source);
    check_times(&p.target);
    pair_close(&p);
}

static void a_device_of_any_features_arrives(void **state)
{
    (void)state;
    for (size_t f = 0; f < NUM_FEATURES; f++) {
        struct pair_setup s = {
            .migration = features[f],
            .num_devices = 1,
            .size = 100000,
            .pre_copy_size = 60000,
            .initial_size = 20000,
        };

        succeed(&s);
        s.no_data_size = true;
        succeed(&s);
        s.no_precopy_info = true;
        succeed(&s);
        s.no_data_size = false;
        succeed(&s);
    }
}

static void a_device_that_begins_anew_arrives(void **state)
{
    struct pair_setup s = { .migration = PAIR_ALL,
                            .num_devices = 1,
                            .size = 100000,
                            .pre_copy_size = 60000,
                            .initial_size = 20000,
                            .reinit_size = 10000 };

    (void)state;
    succeed(&s);
    /* Both times the target acknowledged it, and it was flushed at the end. */
    assert_int_equal(p.target.devices[0].calls[FAKE_FLUSH], 3);
    assert_int_equal(p.source.stats[0].pre_copy_bytes, 70000);
}

static void states_of_every_size_arrive(void **state)
{
    static const size_t sizes[] = { 0,    1,       4095,         4096,
                                    4097, 1 << 20, PAIR_DATA_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct pair_setup s = {
            .migration = PAIR_SC,
            .num_devices = 1,
            .size = sizes[i],
            .piece = sizes[i] > 100000 ? 65536 : 0,
        };

        succeed(&s);
        s.migration = PAIR_ALL;
        succeed(&s);
        s.pre_copy_size = s.size;
        succeed(&s);
        s.initial_size = s.size;
        succeed(&s);
    }
}

/* What is decoded before it may be moved there, or is there already when the
 * record begins, must come in its order. */
static void data_lands_in_the_devices_own_memory(void **state)
{
    static const size_t rooms[] = { 1, 700, 70000, (size_t)512 << 10 };
    struct pair_setup s = {
        .migration = PAIR_ALL,
        .num_devices = 2,
        .config_size = 4096,
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(rooms) / sizeof(rooms[0]); i++) {
        s.room = rooms[i / 2];
        s.io_delay = i % 2;
        s.size = s.room == 1 ? 3000 : 1500000;
        s.pre_copy_size = s.size / 3;
        s.piece = s.room == 1 ? 100 : 200000;
        pair_init(&p, &s);
        p.source.options.downtime_limit_ms = 10000; /* on any machine */
        pair_succeeds(&p);
        assert_true(p.target.devices[0].landed > 0);
        check_figures(&p);
        check_times(&p.target);
        pair_close(&p);
    }
}

static void three_devices_arrive_together(void **state)
{
    struct pair_setup s = {
        .migration = PAIR_P2P,
        .num_devices = 3,
        .size = 50000,
        .pre_copy_size = 30000,
        .initial_size = 10000,
        .config_size = 256,
    };

    (void)state;
    succeed(&s);
    s.migration = PAIR_ALL;
    succeed(&s);
    s.target_first = true;
    succeed(&s);
    s.delay = 2;
    s.io_delay = 3;
    succeed(&s);
}

/* Where one of several stands when another one stops or starts. */
static void several_devices_are_quiet_before_one_stops_or_runs(void **state)
{
    const struct pair_setup s = { .migration = PAIR_P2P,
                                  .num_devices = 2,
                                  .size = 10 };

    (void)state;
    pair_init(&p, &s);
    pair_succeeds(&p);
    for (unsigned int i = 0; i < 2; i++) {
        const struct fake_device *src = &p.source.devices[i];
        const struct fake_device *dst = &p.target.devices[i];

        assert_int_equal(src->num_went, 3);
        assert_int_equal(src->went[0], VFM_STATE_RUNNING_P2P);
        assert_int_equal(src->went[1], VFM_STATE_STOP_COPY);
        assert_int_equal(src->went[2], VFM_STATE_STOP);
        assert_int_equal(dst->num_went, 4);
        assert_int_equal(dst->went[0], VFM_STATE_RESUMING);
        assert_int_equal(dst->went[1], VFM_STATE_STOP);
        assert_int_equal(dst->went[2], VFM_STATE_RUNNING_P2P);
        assert_int_equal(dst->went[3], VFM_STATE_RUNNING);
    }
    pair_close(&p);
}

static void a_single_device_takes_the_direct_way(void **state)
{
    const struct pair_setup s = { .migration = PAIR_ALL,
                                  .num_devices = 1,
                                  .size = 10 };
    const struct fake_device *src = &p.source.devices[0];

    (void)state;
    pair_init(&p, &s);
    pair_succeeds(&p);
    assert_int_equal(src->num_went, 3);
    assert_int_equal(src->went[0], VFM_STATE_PRE_COPY);
    assert_int_equal(src->went[1], VFM_STATE_STOP_COPY);
    assert_int_equal(src->went[2], VFM_STATE_STOP);
    pair_close(&p);
}

static void slow_devices_arrive(void **state)
{
    struct pair_setup s = {
        .migration = PAIR_ALL,
        .num_devices = 1,
        .size = 20000,
        .pre_copy_size = 10000,
        .config_size = 4096,
        .delay = 5,
        .io_delay = 5,
        .piece = 1000,
    };

    (void)state;
    succeed(&s);
    s.target_first = true;
    succeed(&s);
}

static void the_bulk_travels_while_the_device_runs(void **state)
{
    const struct pair_setup s = { .migration = PAIR_ALL,
                                  .num_devices = 1,
                                  .size = 100000,
                                  .pre_copy_size = 90000 };

    (void)state;
    pair_init(&p, &s);
    pair_succeeds(&p);
    assert_int_equal(p.source.stats[0].pre_copy_bytes, 90000);
    assert_int_equal(p.target.stats[0].pre_copy_bytes, 90000);
    assert_int_equal(p.source.stats[0].stop_copy_bytes, 10000);
    pair_close(&p);
}

static void the_vm_stops_before_its_devices_and_starts_after_them(void **state)
{
    struct pair_setup s = { .migration = PAIR_ALL,
                            .num_devices = 3,
                            .size = 1000 };

    (void)state;
    pair_init(&p, &s);
    pair_succeeds(&p);
    assert_int_equal(p.source.vm_stops, 1);
    assert_int_equal(p.source.vm_starts, 0);
    assert_int_equal(p.target.vm_stops, 0);
    assert_int_equal(p.target.vm_starts, 1);
    assert_false(p.vm_order_broken);
    pair_close(&p);
}

static void the_device_of_a_paused_vm_never_runs(void **state)
{
    struct pair_setup s = { .migration = PAIR_ALL,
                            .num_devices = 3,
                            .size = 1000,
                            .pre_copy_size = 500,
                            .config_size = 256,
                            .paused = true };

    (void)state;
    pair_init(&p, &s);
    pair_succeeds(&p);
    for (unsigned int i = 0; i < 3; i++) {
        assert_int_equal(p.source.devices[i].ran_at, 0);
        assert_int_equal(p.target.devices[i].ran_at, 0);
    }
    assert_false(p.target.vm_to_run);
    assert_int_equal(p.source.vm_stops + p.source.vm_starts, 0);
    assert_int_equal(p.target.vm_stops + p.target.vm_starts, 0);
    pair_close(&p);
}

static void a_paused_target_stays_stopped_though_the_source_ran(void **state)
{
    const struct pair_setup s = { .migration = PAIR_SC,
                                  .num_devices = 1,
                                  .size = 1000 };

    (void)state;
    pair_init(&p, &s);
    p.target.options.paused = true;
    pair_succeeds(&p);
    assert_int_equal(p.target.devices[0].state, VFM_STATE_STOP);
    assert_int_equal(p.target.vm_starts, 0);
    pair_close(&p);
}

static void a_source_that_was_told_to_pause_leaves_the_target_stopped(
    void **state)
{
    const struct pair_setup s = { .migration = PAIR_SC,
                                  .num_devices = 1,
                                  .size = 1000 };

    (void)state;
    pair_init(&p, &s);
    p.source.vm_runs = false;
    p.source.options.paused = true;
    pair_succeeds(&p);
    assert_int_equal(p.target.devices[0].state, VFM_STATE_STOP);
    assert_false(p.target.vm_to_run);
    pair_close(&p);
}

static void migrations_without_callbacks_work(void **state)
{
    const struct pair_setup s = { .migration = PAIR_ALL,
                                  .num_devices = 1,
                                  .size = 1000 };

    (void)state;
    pair_init(&p, &s);
    p.source.options.callbacks = NULL;
    p.target.options.callbacks = NULL;
    pair_run(&p);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_DONE);
    assert_int_equal(p.target.outcome, VFM_OUTCOME_DONE);
    assert_true(fake_runs(&p.target.devices[0], FAKE_LOADED));
    pair_close(&p);
}

/* What is acknowledged has reached the device. */
static void initial_data_is_flushed_before_it_is_acknowledged(void **state)
{
    (void)state;
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                        .num_devices = 1,
                                        .size = 3000,
                                        .pre_copy_size = 2000,
                                        .initial_size = 1000 });
    pair_succeeds(&p);
    assert_int_equal(p.target.devices[0].calls[FAKE_FLUSH], 2);
    pair_close(&p);
}

static int new_file(void)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* A source that writes to a file, then a target that reads it. */
static void go_through_a_file(const struct pair_setup *setup, bool keep_running)
{
    int fd;

    pair_init(&p, setup);
    fd = new_file();
    p.source.options.peer = p.target.options.peer = VFM_PEER_NONE;
    p.source.options.keep_running = keep_running;
    p.source.devices[0].twin = NULL; /* it is a copy that is made */
    p.target.devices[0].twin = NULL;
    side_begin(&p.source, dup(fd));
    side_run(&p.source);
    assert_int_equal(p.source.ret, 0);
    if (keep_running) {
        assert_true(fake_runs(&p.source.devices[0], FAKE_ORIGINAL));
        assert_int_equal(p.source.vm_starts, 1);
    }
    p.source.vm_runs = keep_running;
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    p.two_vms = false;
    side_begin(&p.target, fd);
    side_run(&p.target);
    assert_int_equal(p.target.ret, 0);
    assert_true(fake_runs(&p.target.devices[0], FAKE_LOADED));
    p.two_vms = false;
    pair_check(&p);
    check_digest(&p, 0);
    pair_close(&p);
}

static void a_state_goes_through_a_file(void **state)
{
    struct pair_setup s = { .migration = PAIR_ALL,
                            .num_devices = 1,
                            .size = 200000,
                            .pre_copy_size = 50000,
                            .initial_size = 10000,
                            .config_size = 256 };

    (void)state;
    go_through_a_file(&s, false);
    go_through_a_file(&s, true);
    s.migration = PAIR_SC;
    go_through_a_file(&s, false);
    go_through_a_file(&s, true);
}

static void configurations_arrive(void **state)
{
    struct pair_setup s = {
        .migration = PAIR_SC, .num_devices = 1, .size = 100, .config_size = 4096
    };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fake_device *from = &p.source.devices[0];
        struct fake_device *to = &p.target.devices[0];

        pair_init(&p, &s);
        from->config[0x04] = 0x06;
        from->config[0x10] = 0x78;
        fake_pattern(from->bar + 0x100, 128, 9);
        /* Some servers show no regions while the device is in STOP_COPY. */
        if (i == 1)
            fake_fail(from, FAKE_REGION_READ, 0, -EINVAL);
        pair_succeeds(&p);
        assert_memory_equal(to->config, from->config, FAKE_CONFIG_SIZE);
        assert_memory_equal(to->bar + 0x100, from->bar + 0x100, 128);
        assert_int_equal(to->last_write_at, 0x04);
        pair_close(&p);
    }
}

/* Somebody else began to use them, and died. */
static void target_devices_are_taken_from_any_state(void **state)
{
    static const enum vfm_state left[] = {
        VFM_STATE_ERROR,    VFM_STATE_STOP,        VFM_STATE_STOP_COPY,
        VFM_STATE_RESUMING, VFM_STATE_RUNNING_P2P, VFM_STATE_PRE_COPY,
    };
    const struct pair_setup s = {
        .migration = PAIR_ALL, .num_devices = 2, .size = 1000, .delay = 1
    };

    (void)state;
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        pair_init(&p, &s);
        fake_begin_in(&p.target.devices[1], left[i]);
        pair_succeeds(&p);
        pair_close(&p);
    }
}

static void a_target_device_that_nobody_gets_out_of_its_state_is_refused(
    void **state)
{
    struct fake_device *f = &p.target.devices[0];

    (void)state;
    pair_init(&p, &(struct pair_setup){
                      .migration = PAIR_ALL, .num_devices = 1, .size = 1000 });
    fake_begin_in(f, VFM_STATE_RESUMING);
    fake_fail(f, FAKE_RESET, 0, -EINVAL)->count = FAKE_FOR_EVER;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.target.ret, -EBUSY);
    assert_non_null(strstr(p.target.err.message,
                           "dev0: was left as it is by somebody else"));
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_of_any_features_arrives),
        cmocka_unit_test(a_device_that_begins_anew_arrives),
        cmocka_unit_test(states_of_every_size_arrive),
        cmocka_unit_test(data_lands_in_the_devices_own_memory),
        cmocka_unit_test(three_devices_arrive_together),
        cmocka_unit_test(several_devices_are_quiet_before_one_stops_or_runs),
        cmocka_unit_test(a_single_device_takes_the_direct_way),
        cmocka_unit_test(slow_devices_arrive),
        cmocka_unit_test(the_bulk_travels_while_the_device_runs),
        cmocka_unit_test(the_vm_stops_before_its_devices_and_starts_after_them),
        cmocka_unit_test(the_device_of_a_paused_vm_never_runs),
        cmocka_unit_test(a_paused_target_stays_stopped_though_the_source_ran),
        cmocka_unit_test(
            a_source_that_was_told_to_pause_leaves_the_target_stopped),
        cmocka_unit_test(migrations_without_callbacks_work),
        cmocka_unit_test(initial_data_is_flushed_before_it_is_acknowledged),
        cmocka_unit_test(a_state_goes_through_a_file),
        cmocka_unit_test(configurations_arrive),
        cmocka_unit_test(target_devices_are_taken_from_any_state),
        cmocka_unit_test(
            a_target_device_that_nobody_gets_out_of_its_state_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
