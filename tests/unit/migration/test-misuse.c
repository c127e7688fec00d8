/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program may do wrong with a migration, and what it is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "pair.h"

static struct vfm_channel *channel;
static struct vfm_migration *m;
static struct fake_device device;
static struct vfm_error err;
static int peer;
static unsigned int fds_before;

static struct vfm_migration_options options;

static int set_up(void **state)
{
    int fds[2];

    (void)state;
    fds_before = count_fds();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    assert_int_equal(vfm_channel_from_fd(fds[0], "peer", NULL, &channel, NULL),
                     0);
    peer = fds[1];
    fake_open(&device, "fake", PAIR_SC);
    options = (struct vfm_migration_options){
        .size = sizeof(options),
        .peer_timeout_ms = 50,
    };
    m = NULL;
    err = (struct vfm_error){ 0 };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vfm_migration_close(m);
    vfm_channel_close(channel);
    fake_close(&device);
    close(peer);
    assert_int_equal(count_fds(), fds_before);
    return 0;
}

static void make(void)
{
    assert_int_equal(vfm_migration_new(channel, &options, &m, &err), 0);
}

static void refuse_options(int code)
{
    m = (struct vfm_migration *)&options;
    assert_int_equal(vfm_migration_new(channel, &options, &m, &err), code);
    assert_null(m);
    assert_int_equal(err.code, code);
    assert_true(strlen(err.message) > 8);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    options.role = (enum vfm_role)2;
    refuse_options(-EINVAL);
    options.role = VFM_ROLE_SOURCE;
    options.peer = (enum vfm_peer)3;
    refuse_options(-EINVAL);
    options.peer = VFM_PEER_VFMIG;
    options.keep_running = true;
    refuse_options(-EINVAL);
    options.role = VFM_ROLE_TARGET;
    options.peer = VFM_PEER_NONE;
    refuse_options(-EINVAL);
    options.keep_running = false;
    options.size = 7;
    refuse_options(-EINVAL);
    options.size = SIZE_MAX;
    refuse_options(-EINVAL);
}

static void a_machine_that_the_stream_cannot_hold_is_refused_at_once(
    void **state)
{
    char name[300];

    (void)state;
    memset(name, 'x', sizeof(name));
    name[256] = '\0';
    options.machine = name;
    refuse_options(-EINVAL);
    options.machine = "pc\n";
    refuse_options(-EINVAL);
    options.machine = "";
    refuse_options(-EINVAL);
    name[255] = '\0';
    options.machine = name;
    make();
}

static void options_of_a_newer_library_are_refused(void **state)
{
    struct {
        struct vfm_migration_options options;
        uint64_t later;
    } newer = { .options.size = sizeof(newer), .later = 1 };

    (void)state;
    assert_int_equal(vfm_migration_new(channel, &newer.options, &m, &err),
                     -E2BIG);
    assert_null(m);
    newer.later = 0;
    assert_int_equal(vfm_migration_new(channel, &newer.options, &m, &err), 0);
}

static void callbacks_of_a_newer_library_are_refused(void **state)
{
    struct {
        struct vfm_migration_callbacks callbacks;
        void (*later)(void);
    } newer = { .callbacks.size = sizeof(newer) };

    (void)state;
    options.callbacks = &newer.callbacks;
    newer.later = abort;
    refuse_options(-E2BIG);
    newer.callbacks.size = 0;
    refuse_options(-EINVAL);
    newer.callbacks.size = sizeof(newer);
    newer.later = NULL;
    make();
}

static void options_may_be_left_out(void **state)
{
    (void)state;
    assert_int_equal(vfm_migration_new(channel, NULL, &m, &err), 0);
    assert_int_equal(vfm_migration_get_outcome(m), VFM_OUTCOME_PENDING);
    assert_int_equal(vfm_migration_get_stage(m), VFM_STAGE_HELLO);
}

static void a_channel_that_goes_one_way_takes_no_vfmig(void **state)
{
    struct vfm_channel *one_way;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(vfm_channel_from_fd(fds[1], "pipe", NULL, &one_way, &err),
                     0);
    assert_int_equal(vfm_migration_new(one_way, &options, &m, &err), -EINVAL);
    assert_non_null(strstr(err.message, "pipe: goes one way"));
    vfm_channel_close(one_way);
    close(fds[0]);
}

static void ids_that_the_stream_cannot_hold_are_refused(void **state)
{
    static const char *const bad[] = { "",    "a/b",  "a b",
                                       "a\n", "\x7f", "\xc3\xa4" };
    char id[300];

    (void)state;
    make();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(vfm_migration_add_device(m, device.dev, bad[i], &err),
                         -EINVAL);
    memset(id, 'x', sizeof(id));
    id[251] = '\0';
    assert_int_equal(vfm_migration_add_device(m, device.dev, id, &err),
                     -EINVAL);
    id[250] = '\0';
    assert_int_equal(vfm_migration_add_device(m, device.dev, id, &err), 0);
}

static void two_devices_cannot_have_one_id(void **state)
{
    (void)state;
    make();
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err), 0);
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err),
                     -EEXIST);
}

static void a_device_without_stop_copy_cannot_be_migrated(void **state)
{
    (void)state;
    make();
    device.dev->info.migration = 0;
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err),
                     -EOPNOTSUPP);
    device.dev->info.migration = VFM_MIGRATION_PRE_COPY;
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err),
                     -EOPNOTSUPP);
    assert_string_equal(err.message, "a: fake cannot be migrated");
}

static void there_is_a_most_of_devices(void **state)
{
    char id[8];

    (void)state;
    make();
    for (unsigned int i = 0; i < VFM_DEVICES_MAX; i++) {
        snprintf(id, sizeof(id), "d%u", i);
        assert_int_equal(vfm_migration_add_device(m, device.dev, id, &err), 0);
    }
    assert_int_equal(vfm_migration_add_device(m, device.dev, "more", &err),
                     -E2BIG);
}

static void a_device_cannot_join_later(void **state)
{
    (void)state;
    make();
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err), 0);
    assert_int_equal(vfm_migration_dispatch(m, &err), 1);
    assert_int_equal(vfm_migration_add_device(m, device.dev, "b", &err),
                     -EBUSY);
}

static void refuse_to_run(const char *why)
{
    assert_int_equal(vfm_migration_get_blocker(m, 0, &err), -EBUSY);
    assert_non_null(strstr(err.message, why));
    assert_int_equal(vfm_migration_get_blocker(m, 1, &err), 0);
    assert_int_equal(vfm_migration_run(m, &err), -EBUSY);
    assert_non_null(strstr(err.message, why));
    assert_int_equal(vfm_migration_get_outcome(m), VFM_OUTCOME_FAILED);
    assert_int_equal(device.num_went, 0);
    assert_int_equal(device.resets, 0);
}

static void a_migration_without_devices_is_refused(void **state)
{
    (void)state;
    make();
    refuse_to_run("there is no device");
}

static void a_device_that_somebody_else_migrates_is_refused(void **state)
{
    (void)state;
    make();
    fake_begin_in(&device, VFM_STATE_STOP_COPY);
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err), 0);
    refuse_to_run("a is in state STOP_COPY: somebody else");
}

static void several_devices_without_p2p_are_refused(void **state)
{
    struct fake_device other;

    (void)state;
    fake_open(&other, "other", PAIR_P2P);
    make();
    assert_int_equal(vfm_migration_add_device(m, other.dev, "a", &err), 0);
    assert_int_equal(vfm_migration_add_device(m, device.dev, "b", &err), 0);
    refuse_to_run("b has no P2P states");
    vfm_migration_close(m);
    m = NULL;
    fake_close(&other);
}

static void devices_of_which_some_are_stopped_are_refused(void **state)
{
    struct fake_device other;

    (void)state;
    fake_open(&other, "other", PAIR_P2P);
    fake_begin_in(&other, VFM_STATE_STOP);
    device.dev->info.migration = PAIR_P2P;
    make();
    assert_int_equal(vfm_migration_add_device(m, other.dev, "a", &err), 0);
    assert_int_equal(vfm_migration_add_device(m, device.dev, "b", &err), 0);
    refuse_to_run("1 of the 2 devices are stopped");
    vfm_migration_close(m);
    m = NULL;
    fake_close(&other);
}

static void a_blocker_blocks_until_it_is_removed(void **state)
{
    int first;
    int second;

    (void)state;
    make();
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err), 0);
    first = vfm_migration_add_blocker(m, "because of this");
    second = vfm_migration_add_blocker(m, "and of that");
    assert_true(first > 0 && second > 0 && first != second);
    assert_int_equal(vfm_migration_get_blocker(m, 0, &err), -EBUSY);
    assert_string_equal(err.message, "because of this");
    assert_int_equal(vfm_migration_get_blocker(m, 1, &err), -EBUSY);
    assert_string_equal(err.message, "and of that");
    assert_int_equal(vfm_migration_get_blocker(m, 2, &err), 0);
    vfm_migration_remove_blocker(m, first);
    vfm_migration_remove_blocker(m, 12345);
    refuse_to_run("and of that");
}

static void what_has_begun_cannot_be_blocked(void **state)
{
    (void)state;
    make();
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err), 0);
    assert_int_equal(vfm_migration_dispatch(m, &err), 1);
    assert_int_equal(vfm_migration_add_blocker(m, "too late"), -EBUSY);
    assert_int_equal(vfm_migration_get_blocker(m, 0, &err), 0);
}

static void a_source_that_is_closed_under_way_goes_back(void **state)
{
    (void)state;
    options.peer = VFM_PEER_QEMU;
    make();
    device.silent_at = 1;
    device.silence_ns = 20000000;
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err), 0);
    assert_int_equal(vfm_migration_dispatch(m, &err), 1);
    vfm_migration_close(m);
    m = NULL;
    assert_int_equal(device.state, VFM_STATE_RUNNING);
}

static void closing_nothing_does_nothing(void **state)
{
    (void)state;
    vfm_migration_close(NULL);
}

static void figures_can_be_had_at_any_moment(void **state)
{
    struct {
        struct vfm_progress progress;
        uint64_t later;
    } p = { .progress.size = sizeof(p), .later = 1 };
    struct {
        struct vfm_device_stats stats;
        uint64_t later;
    } s = { .stats.size = sizeof(s), .later = 1 };

    (void)state;
    make();
    assert_int_equal(vfm_migration_add_device(m, device.dev, "a", &err), 0);
    assert_int_equal(vfm_migration_get_progress(m, &p.progress), 0);
    assert_int_equal(p.progress.size, sizeof(p));
    assert_int_equal(p.progress.elapsed_ns, 0);
    assert_int_equal(p.later, 0);
    assert_true(p.progress.remaining_bytes == UINT64_MAX);
    p.progress.size = sizeof(struct vfm_progress) - 1;
    assert_int_equal(vfm_migration_get_progress(m, &p.progress), -EINVAL);

    assert_int_equal(vfm_migration_get_device_stats(m, 0, &s.stats), 0);
    assert_int_equal(s.stats.size, sizeof(s));
    assert_string_equal(s.stats.id, "a");
    assert_string_equal(s.stats.digest, "99aa06d3014798d86001c324468d497f");
    assert_int_equal(s.later, 0);
    assert_int_equal(vfm_migration_get_device_stats(m, 1, &s.stats), -ENOENT);
    s.stats.size = 8;
    assert_int_equal(vfm_migration_get_device_stats(m, 0, &s.stats), -EINVAL);
}

static void stages_have_names(void **state)
{
    (void)state;
    assert_string_equal(vfm_stage_name(VFM_STAGE_PRE_COPY), "pre-copy");
    assert_string_equal(vfm_stage_name(VFM_STAGE_DONE), "done");
    assert_string_equal(vfm_stage_name((enum vfm_stage)(VFM_STAGE_DONE + 1)),
                        "?");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(options_that_make_no_sense_are_refused),
        TEST(a_machine_that_the_stream_cannot_hold_is_refused_at_once),
        TEST(options_of_a_newer_library_are_refused),
        TEST(callbacks_of_a_newer_library_are_refused),
        TEST(options_may_be_left_out),
        TEST(a_channel_that_goes_one_way_takes_no_vfmig),
        TEST(ids_that_the_stream_cannot_hold_are_refused),
        TEST(two_devices_cannot_have_one_id),
        TEST(a_device_without_stop_copy_cannot_be_migrated),
        TEST(there_is_a_most_of_devices),
        TEST(a_device_cannot_join_later),
        TEST(a_migration_without_devices_is_refused),
        TEST(a_device_that_somebody_else_migrates_is_refused),
        TEST(several_devices_without_p2p_are_refused),
        TEST(devices_of_which_some_are_stopped_are_refused),
        TEST(a_blocker_blocks_until_it_is_removed),
        TEST(what_has_begun_cannot_be_blocked),
        TEST(a_source_that_is_closed_under_way_goes_back),
        TEST(closing_nothing_does_nothing),
        TEST(figures_can_be_had_at_any_moment),
        TEST(stages_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
