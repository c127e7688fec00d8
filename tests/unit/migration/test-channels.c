/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several channels: what is left of the devices goes over all of them, who may
 * open one, and what becomes of the devices when one is lost or lies.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "migration/lane.h"
#include "migration/migration.h"
#include "pair.h"
#include "stream/encoder.h"
#include "util/clock.h"
#include "util/error.h"

#define LANES_MAX  8
#define INIT_BYTES 64

/* What is between the source and the listener: nothing, or this test, which
 * sees what goes over each channel and may do with it as it likes. */
struct tap {
    struct vfm_channel *from; /* the source's other end */
    int fd;                   /* to the target; -1: it is no more */
    size_t passed;
    uint8_t buf[65536];
    size_t start;
    size_t end;
    bool ended;
};

static struct pair p;
static struct vfm_listener *listener;
static char folder[64];
static unsigned int source_channels;
static unsigned int target_channels;
static uint64_t memory_max;
static bool compress;
static bool taps_are_used;
static struct tap taps[LANES_MAX];
static unsigned int num_taps;
static size_t cut_lane_after;  /* of the first; SIZE_MAX: never */
static unsigned int held_lane; /* until all was sent; UINT_MAX: none */
static bool idle_is_a_hang;    /* once all was sent */
static int connect_error;
static unsigned int connected;
static void (*before_connect)(void);

static const char *address(void)
{
    return vfm_listener_address(listener);
}

/* A connection to where the target listens. */
static int knock(void)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", address() + 5);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static int connect_tapped(struct vfm_channel **chp, struct vfm_error *err)
{
    struct tap *tap = &taps[num_taps++];
    int fds[2];

    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
        0);
    *tap = (struct tap){ .fd = knock() };
    assert_int_equal(vfm_channel_from_fd(fds[0], "tap", NULL, &tap->from, err),
                     0);
    return vfm_channel_from_fd(fds[1], "to-tap", NULL, chp, err);
}

static int connect_channel(void *opaque, struct vfm_channel **chp,
                           struct vfm_error *err)
{
    (void)opaque;
    if (before_connect != NULL)
        before_connect();
    if (connect_error != 0)
        return error_set(err, connect_error, "no way there");
    connected++;
    if (taps_are_used)
        return connect_tapped(chp, err);
    return vfm_channel_connect(address(), NULL, chp, err);
}

static struct vfm_migration_callbacks source_callbacks;

static void begin(const struct pair_setup *setup)
{
    struct vfm_error err = { 0 };
    char uri[96];

    snprintf(folder, sizeof(folder), "/tmp/vfmig-channels-XXXXXX");
    assert_non_null(mkdtemp(folder));
    pair_init(&p, setup);
    snprintf(uri, sizeof(uri), "unix:%s/m", folder);
    assert_int_equal(vfm_listener_open(uri, NULL, &listener, &err), 0);
    source_callbacks = *p.source.options.callbacks;
    source_callbacks.connect_channel = connect_channel;
    p.source.options.callbacks = &source_callbacks;
    p.source.options.channels = source_channels;
    p.source.options.downtime_limit_ms = 10000; /* on any machine */
    p.source.options.memory_max = memory_max;
    p.source.options.compress = compress;
    p.target.options.channels = target_channels;
    p.target.options.memory_max = memory_max;
    p.target.options.listener = target_channels > 0 ? listener : NULL;
}

static void end(void)
{
    vfm_listener_close(listener);
    listener = NULL;
    for (unsigned int i = 0; i < num_taps; i++) {
        vfm_channel_close(taps[i].from);
        if (taps[i].fd >= 0)
            close(taps[i].fd);
    }
    num_taps = 0;
    pair_close(&p);
    assert_int_equal(rmdir(folder), 0);
}

static int reset(void **state)
{
    (void)state;
    source_channels = target_channels = 4;
    memory_max = 0;
    compress = false;
    taps_are_used = false;
    cut_lane_after = SIZE_MAX;
    held_lane = UINT_MAX;
    idle_is_a_hang = false;
    connect_error = 0;
    connected = 0;
    before_connect = NULL;
    return 0;
}

static const struct pair_setup three = {
    .migration = PAIR_ALL,
    .num_devices = 3,
    .size = 3 << 20,
    .pre_copy_size = 1 << 20,
    .config_size = 4096,
    .piece = 100000,
};

static const struct pair_setup one = {
    .migration = PAIR_SC,
    .num_devices = 1,
    .size = 4 << 20,
    .config_size = 256,
    .piece = 70000,
};

/* ---------------------------------------------------------------------- */

static void any_number_of_channels_carries_the_state(void **state)
{
    (void)state;
    for (unsigned int n = 1; n <= LANES_MAX; n++) {
        source_channels = target_channels = n;
        connected = 0;
        begin(n % 2 == 0 ? &three : &one);
        pair_succeeds(&p);
        assert_int_equal(connected, n);
        assert_int_equal(p.source.warnings, 0);
        end();
    }
}

/* What goes over the main channel is less than what is left of the devices. */
static void the_state_goes_over_the_other_channels(void **state)
{
    (void)state;
    taps_are_used = false;
    begin(&one);
    pair_use_relay(&p, 200000, SIZE_MAX);
    pair_succeeds(&p);
    assert_true(p.source.progress.stream_bytes > one.size);
    assert_true(p.target.progress.stream_bytes > one.size);
    end();
}

static void let_the_target_look(void)
{
    side_step(&p.target, 0);
}

/* The target sees each connection before the source makes the next. */
static void as_many_channels_as_there_may_be_are_opened(void **state)
{
    (void)state;
    source_channels = target_channels = VFM_CHANNELS_MAX;
    before_connect = let_the_target_look;
    begin(&three);
    pair_succeeds(&p);
    assert_int_equal(connected, VFM_CHANNELS_MAX);
    assert_int_equal(p.target.warnings, 0);
    end();
}

static void a_tight_memory_limit_is_enough(void **state)
{
    (void)state;
    memory_max = 4 * 65536;
    begin(&three);
    pair_succeeds(&p);
    end();
}

static void devices_that_take_their_time_arrive(void **state)
{
    struct pair_setup setup = three;

    (void)state;
    setup.delay = 3;
    setup.io_delay = 2;
    setup.piece = 300000;
    begin(&setup);
    pair_succeeds(&p);
    end();
}

/* In STOP_COPY they refuse, one after the other. */
static void devices_that_tell_their_configuration_in_stop_arrive(void **state)
{
    struct pair_setup setup = three;

    (void)state;
    setup.delay = 3;
    for (unsigned int who = 1; who < 8; who++) {
        begin(&setup);
        p.source.options.parallel = who % 3;
        for (unsigned int i = 0; i < 3; i++)
            if ((who & 1U << i) != 0)
                fake_fail(&p.source.devices[i], FAKE_REGION_READ, 0, -EINVAL);
        pair_succeeds(&p);
        end();
    }
}

static void channels_are_compressed(void **state)
{
    (void)state;
    if (!packing_exists())
        skip();
    compress = true;
    for (unsigned int n = 1; n <= LANES_MAX; n += 3) {
        source_channels = target_channels = n;
        memory_max = n * (uint64_t)131072;
        begin(n == 1 ? &one : &three);
        memset(pair_data, 1, sizeof(pair_data));
        pair_succeeds(&p);
        assert_int_equal(p.source.warnings, 0);
        assert_true(p.target.progress.stream_bytes <
                    p.target.progress.device_bytes);
        end();
    }
    memset(pair_data, 0, sizeof(pair_data)); /* it is made anew */
}

/* With no channels there is nothing to compress, and nothing is. */
static void compression_without_channels_changes_nothing(void **state)
{
    (void)state;
    if (!packing_exists())
        skip();
    compress = true;
    target_channels = 0;
    begin(&one);
    pair_succeeds(&p);
    end();
}

static void data_lands_in_the_devices_own_memory(void **state)
{
    static const size_t rooms[] = { 700, 70000, 1 << 20 };
    struct pair_setup setup = three;

    (void)state;
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        setup.room = rooms[i];
        setup.io_delay = i % 2;
        begin(&setup);
        pair_succeeds(&p);
        assert_true(p.target.devices[2].landed > 0);
        end();
    }
}

static void both_get_what_the_one_wants_that_wants_fewer(void **state)
{
    static const unsigned int wants[][3] = {
        { 4, 2, 2 }, { 2, 4, 2 }, { 3, 0, 0 }, { 0, 3, 0 }
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
        source_channels = wants[i][0];
        target_channels = wants[i][1];
        connected = 0;
        begin(&one);
        pair_succeeds(&p);
        assert_int_equal(connected, wants[i][2]);
        assert_int_equal(p.source.warnings, wants[i][0] > wants[i][1]);
        end();
    }
}

static void a_vm_that_is_paused_goes_over_them_too(void **state)
{
    struct pair_setup setup = three;

    (void)state;
    setup.paused = true;
    begin(&setup);
    pair_succeeds(&p);
    end();
}

static void options_that_cannot_be_are_refused(void **state)
{
    struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = VFM_ROLE_SOURCE,
        .channels = 2,
    };
    struct vfm_migration *m;
    struct vfm_channel *ch;
    struct vfm_error err;
    int fds[2];

    (void)state;
    begin(&one);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    assert_int_equal(vfm_channel_from_fd(fds[0], "main", NULL, &ch, &err), 0);
    assert_int_equal(vfm_migration_new(ch, &options, &m, &err), -EINVAL);
    assert_non_null(strstr(err.message, "nobody connects"));
    options.role = VFM_ROLE_TARGET;
    assert_int_equal(vfm_migration_new(ch, &options, &m, &err), -EINVAL);
    assert_non_null(strstr(err.message, "nobody listens"));
    options.listener = listener;
    options.memory_max = 65536;
    assert_int_equal(vfm_migration_new(ch, &options, &m, &err), -EINVAL);
    assert_non_null(strstr(err.message, "64 KiB each"));
    options.memory_max = 0;
    options.channels = VFM_CHANNELS_MAX + 1;
    assert_int_equal(vfm_migration_new(ch, &options, &m, &err), -EINVAL);
    options.channels = 2;
    options.peer = VFM_PEER_QEMU;
    assert_int_equal(vfm_migration_new(ch, &options, &m, &err), -EINVAL);
    options.role = VFM_ROLE_SOURCE;
    assert_int_equal(vfm_migration_new(ch, &options, &m, &err), -EINVAL);
    assert_non_null(strstr(err.message, "a QEMU that answers"));
    options.return_path = true;
    assert_int_equal(vfm_migration_new(ch, &options, &m, &err), -EINVAL);
    assert_non_null(strstr(err.message, "nobody connects"));
    options.return_path = false;
    options.role = VFM_ROLE_TARGET;
    options.peer = VFM_PEER_VFMIG;
    assert_int_equal(vfm_migration_new(ch, &options, &m, &err), 0);
    vfm_migration_close(m);
    vfm_channel_close(ch);
    close(fds[1]);
    end();
}

/* ---------------------------------------------------------------------- */

/* Whatever happened, the devices are where they were. */
static void both_fail(const char *source_says, const char *target_says)
{
    pair_run(&p);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
    if (source_says != NULL &&
        strstr(p.source.err.message, source_says) == NULL)
        fail_msg("source: %s", p.source.err.message);
    if (target_says != NULL &&
        strstr(p.target.err.message, target_says) == NULL)
        fail_msg("target: %s", p.target.err.message);
    pair_check(&p);
}

/* Three of them, none with the nonce: one silent, one that speaks another
 * language, one that hangs up. */
static int foreign[3];

static void foreigners_come_first(void)
{
    uint8_t init[64];
    struct encoder enc;

    if (connected > 0)
        return;
    for (int i = 0; i < 3; i++)
        foreign[i] = knock();
    encoder_init(&enc, init, sizeof(init));
    encode_multifd_init(&enc, NULL, 0);
    assert_int_equal(write(foreign[0], init, sizeof(init)), sizeof(init));
    assert_int_equal(write(foreign[1], "GET / HTTP/1.0\r\n\r\n", 18), 18);
}

static void a_foreign_connection_is_turned_away(void **state)
{
    uint8_t byte;

    (void)state;
    before_connect = foreigners_come_first;
    begin(&three);
    pair_succeeds(&p);
    assert_non_null(strstr(p.target.warned, "does not know"));
    for (int i = 0; i < 3; i++) {
        assert_true(read(foreign[i], &byte, 1) <= 0);
        close(foreign[i]);
    }
    end();
}

/* More than may be undecided at a time, and several times as many as warnings
 * are given; fewer than a listener lets wait. */
#define CROWD        56
#define WARNINGS_MAX 4

static int crowd[CROWD];

static void a_crowd_comes_first(void)
{
    if (connected > 0)
        return;
    for (size_t i = 0; i < CROWD; i++)
        crowd[i] = knock();
}

static void a_crowd_of_strangers_is_bounded(void **state)
{
    unsigned int turned_away = 0;

    (void)state;
    before_connect = a_crowd_comes_first;
    begin(&one);
    pair_begin(&p);
    while (!p.source.over || !p.target.over) {
        pair_step(&p);
        if (p.target.over)
            continue;
        assert_in_range(p.target.m->lanes.num_strangers, 0, STRANGERS_MAX);
        turned_away = p.target.m->lanes.turned_away;
    }
    assert_int_equal(p.source.outcome, VFM_OUTCOME_DONE);
    assert_int_equal(p.target.outcome, VFM_OUTCOME_DONE);
    pair_check(&p);
    /* All but as many as there is room for, and one for the first channel. */
    assert_int_equal(turned_away, CROWD - STRANGERS_MAX + 1);
    assert_int_equal(p.target.warnings, WARNINGS_MAX);
    for (size_t i = 0; i < CROWD; i++)
        close(crowd[i]);
    end();
}

static void a_source_that_cannot_connect_goes_on_running(void **state)
{
    (void)state;
    connect_error = -EAGAIN; /* is not called again */
    begin(&three);
    both_fail("channel 0: cannot be connected: no way there",
              "hung up when 0 of 4 channels were open");
    assert_int_equal(p.source.vm_stops, 0);
    end();
}

static int never_mind(void *opaque, struct vfm_channel **chp,
                      struct vfm_error *err)
{
    int fds[2];

    (void)opaque;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    taps[num_taps++] = (struct tap){ .fd = fds[0] };
    return vfm_channel_from_fd(fds[1], "nowhere", NULL, chp, err);
}

static void channels_that_do_not_come_are_waited_for_so_long(void **state)
{
    (void)state;
    begin(&one);
    source_callbacks.connect_channel = never_mind;
    p.target.options.peer_timeout_ms = 100;
    both_fail("0 of 4 channels were opened within 100 ms",
              "0 of 4 channels were opened within 100 ms");
    end();
}

/* ---------------------------------------------------------------------- */

static void hang_up(struct tap *tap)
{
    close(tap->fd);
    vfm_channel_close(tap->from);
    tap->fd = -1;
    tap->from = NULL;
}

/* Passes on what there is.  The first one may be cut.  Whether there was
 * anything. */
static bool pass(struct tap *tap)
{
    size_t limit = tap == &taps[0] ? cut_lane_after : SIZE_MAX;
    ssize_t n;

    if (tap->fd < 0)
        return false;
    if (tap - taps == (ptrdiff_t)held_lane && tap->passed >= INIT_BYTES &&
        !p.source.over &&
        vfm_migration_get_stage(p.source.m) < VFM_STAGE_LOADED)
        return false;
    if (tap->start == tap->end && !tap->ended) {
        n = vfm_channel_recv(tap->from, tap->buf, sizeof(tap->buf), NULL);
        tap->ended = n == 0;
        tap->start = 0;
        tap->end = n > 0 ? (size_t)n : 0;
    }
    if (tap->end - tap->start > limit - tap->passed)
        tap->end = tap->start + (limit - tap->passed);
    n = send(tap->fd, tap->buf + tap->start, tap->end - tap->start,
             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        tap->start += (size_t)n;
        tap->passed += (size_t)n;
    }
    if (tap->passed == limit)
        hang_up(tap);
    return n > 0;
}

static bool any_is_in_motion(void)
{
    for (unsigned int i = 0; i < num_taps; i++)
        if (taps[i].fd >= 0)
            return true;
    return false;
}

/* When all was sent and has come, only who is to load it is left: if neither
 * sees to it that it goes on, it would only when somebody is asked whether he
 * is alive. */
static void check_idle(void)
{
    if (idle_is_a_hang && !p.source.over && !p.target.over &&
        vfm_migration_get_stage(p.source.m) == VFM_STAGE_LOADED)
        fail_msg("nothing goes on: source %s, target %s",
                 vfm_stage_name(vfm_migration_get_stage(p.source.m)),
                 vfm_stage_name(vfm_migration_get_stage(p.target.m)));
}

/* In place of pair_end(): with the taps. */
static void run_tapped(void)
{
    pair_begin(&p);
    while (!p.source.over || !p.target.over) {
        bool moved = false;

        for (unsigned int i = 0; i < num_taps; i++)
            moved = pass(&taps[i]) || moved;
        if (any_is_in_motion()) {
            moved = side_step(&p.source, 0) || moved;
            moved = side_step(&p.target, 0) || moved;
            if (!moved)
                check_idle();
        } else {
            pair_step(&p);
        }
        if (clock_now() > p.deadline)
            fail_msg("hangs after %zu bytes", cut_lane_after);
    }
}

static void a_lost_channel_leaves_the_devices_where_they_were(void **state)
{
    static const size_t cuts[] = { 0,   1,   63,    64,    65,     300,
                                   352, 353, 70000, 70416, 200000, 400000 };

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        reset(NULL);
        taps_are_used = true;
        cut_lane_after = cuts[i];
        begin(&one);
        p.target.options.peer_timeout_ms = 1000;
        run_tapped();
        assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
        assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
        pair_check(&p);
        end();
    }
}

/* While there is nothing to send it is missed all the same. */
static void a_channel_lost_in_pre_copy_is_missed(void **state)
{
    (void)state;
    taps_are_used = true;
    cut_lane_after = 64;
    begin(&three);
    run_tapped();
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    assert_int_equal(p.source.vm_stops, 0);
    assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
    pair_check(&p);
    end();
}

/* Each of them once: what the others hold has to wait for it, and then goes
 * on, though nothing comes any more. */
static void a_slow_channel_only_makes_it_slower(void **state)
{
    struct pair_setup setup = {
        .migration = PAIR_SC,
        .num_devices = 1,
        .config_size = 256,
        .piece = 4000,
    };

    (void)state;
    for (unsigned int i = 0; i < 32; i++) {
        reset(NULL);
        taps_are_used = true;
        held_lane = i % 4;
        setup.size = (1 + i / 4) * setup.piece;
        begin(&setup);
        idle_is_a_hang = true;
        run_tapped();
        if (p.source.ret != 0 || p.target.ret != 0)
            fail_msg("%s; %s", p.source.err.message, p.target.err.message);
        pair_check(&p);
        end();
    }
}

/* It hangs, and all that waits for it is full. */
static void a_target_that_hangs_is_noticed_with_every_number(void **state)
{
    for (unsigned int n = 1; n <= 4; n++) {
        reset(state);
        source_channels = n;
        begin(&one);
        p.source.options.peer_timeout_ms = 300;
        pair_begin(&p);
        while (!p.source.over &&
               vfm_migration_get_stage(p.source.m) != VFM_STAGE_COMPLETE)
            pair_step(&p);
        assert_false(p.source.over);
        side_run(&p.source);
        assert_int_equal(p.source.ret, -ETIMEDOUT);
        pair_end(&p);
        pair_check(&p);
        end();
    }
}

static void cancelling_in_any_stage_leaves_one_owner(void **state)
{
    (void)state;
    for (unsigned int n = 0; n < 60; n++) {
        begin(&one);
        if (n % 2 == 0)
            p.source.cancel_before = n / 2;
        else
            p.target.cancel_before = n / 2;
        pair_run(&p);
        pair_check(&p);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(any_number_of_channels_carries_the_state, reset),
        cmocka_unit_test_setup(the_state_goes_over_the_other_channels, reset),
        cmocka_unit_test_setup(as_many_channels_as_there_may_be_are_opened,
                               reset),
        cmocka_unit_test_setup(a_tight_memory_limit_is_enough, reset),
        cmocka_unit_test_setup(devices_that_take_their_time_arrive, reset),
        cmocka_unit_test_setup(
            devices_that_tell_their_configuration_in_stop_arrive, reset),
        cmocka_unit_test_setup(channels_are_compressed, reset),
        cmocka_unit_test_setup(compression_without_channels_changes_nothing,
                               reset),
        cmocka_unit_test_setup(data_lands_in_the_devices_own_memory, reset),
        cmocka_unit_test_setup(both_get_what_the_one_wants_that_wants_fewer,
                               reset),
        cmocka_unit_test_setup(a_vm_that_is_paused_goes_over_them_too, reset),
        cmocka_unit_test_setup(options_that_cannot_be_are_refused, reset),
        cmocka_unit_test_setup(a_foreign_connection_is_turned_away, reset),
        cmocka_unit_test_setup(a_crowd_of_strangers_is_bounded, reset),
        cmocka_unit_test_setup(a_source_that_cannot_connect_goes_on_running,
                               reset),
        cmocka_unit_test_setup(channels_that_do_not_come_are_waited_for_so_long,
                               reset),
        cmocka_unit_test_setup(
            a_lost_channel_leaves_the_devices_where_they_were, reset),
        cmocka_unit_test_setup(a_channel_lost_in_pre_copy_is_missed, reset),
        cmocka_unit_test_setup(a_slow_channel_only_makes_it_slower, reset),
        cmocka_unit_test_setup(a_target_that_hangs_is_noticed_with_every_number,
                               reset),
        cmocka_unit_test_setup(cancelling_in_any_stage_leaves_one_owner, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
