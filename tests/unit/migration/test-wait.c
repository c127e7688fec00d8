/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting: it ends, and until then nothing is dispatched in vain.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "pair.h"
#include "util/clock.h"

static struct pair p;

static const struct pair_setup full = { .migration = PAIR_ALL,
                                        .num_devices = 1,
                                        .size = 3000,
                                        .pre_copy_size = 2000,
                                        .initial_size = 1000,
                                        .config_size = 256 };

/* What waiting may cost a side beside what it has to do: deadlines that pass,
 * and the last words. */
#define IDLE_DISPATCHES 40
/* And a source that waits for an acknowledgement asks its device for more every
 * 10 ms. */
#define BUSY_DISPATCHES 600

static struct pair_side *get_side(bool source)
{
    return source ? &p.source : &p.target;
}

static unsigned int dispatches_of_success[2];
static unsigned int calls_of_success[2];

static void learn(void)
{
    pair_init(&p, &full);
    pair_succeeds(&p);
    for (int source = 0; source < 2; source++) {
        dispatches_of_success[source] = get_side(source)->dispatches;
        calls_of_success[source] = get_side(source)->devices[0].started;
    }
    pair_close(&p);
}

static void expect_few(const char *what, unsigned int most)
{
    for (int source = 0; source < 2; source++)
        if (get_side(source)->dispatches > dispatches_of_success[source] + most)
            fail_msg("%s: %u dispatches of the %s, %u without", what,
                     get_side(source)->dispatches, source ? "source" : "target",
                     dispatches_of_success[source]);
}

static void a_device_that_stops_answering_is_waited_for_in_peace(void **state)
{
    (void)state;
    learn();
    for (int source = 0; source < 2; source++) {
        for (unsigned int n = 1; n <= calls_of_success[source]; n++) {
            struct fake_device *f = &get_side(source)->devices[0];

            pair_init(&p, &full);
            snprintf(p.title, sizeof(p.title), "%s's device silent at call %u",
                     source ? "source" : "target", n);
            f->silent_at = n;
            f->silence_ns = 30 * NS_PER_MS;
            pair_run(&p);
            f->dead = true; /* for the verdict: nobody knows where it is */
            pair_check(&p);
            expect_few(p.title, IDLE_DISPATCHES);
            pair_close(&p);
        }
    }
}

/* Longer than the peer may be silent: the other side must be kept awake. */
static void a_device_that_is_slow_is_no_peer_that_is_gone(void **state)
{
    (void)state;
    learn();
    for (int source = 0; source < 2; source++) {
        struct fake_device *f = &get_side(source)->devices[0];

        pair_init(&p, &full);
        p.source.options.peer_timeout_ms = 1000;
        p.target.options.peer_timeout_ms = 1000;
        f->silence_ns = 1300 * NS_PER_MS;
        f->piece = 400; /* so that it is slow within a section */
        f->wakes_up = f->slow_moves = f->slow_end = true;
        pair_succeeds(&p);
        assert_false(f->slow_end && source);
        expect_few("a slow device", BUSY_DISPATCHES);
        pair_close(&p);
    }
}

/* Neither an end nor another byte. */
static void freeze_after(size_t from_source, size_t from_target)
{
    int64_t began = clock_now();

    pair_init(&p, &full);
    snprintf(p.title, sizeof(p.title), "frozen after %zd and %zd bytes",
             (ssize_t)from_source, (ssize_t)from_target);
    pair_use_relay(&p, from_source, from_target);
    p.relay.freezes = true;
    p.source.options.peer_timeout_ms = 20;
    p.target.options.peer_timeout_ms = 20;
    pair_run(&p);
    pair_check(&p);
    expect_few(p.title, IDLE_DISPATCHES);
    assert_true(clock_now() - began < 4 * NS_PER_SEC);
    pair_close(&p);
}

static void a_link_that_freezes_is_given_up(void **state)
{
    static const size_t from_source[] = { 0, 100, 400, 500, 2500, 4000 };
    static const size_t from_target[] = { 0, 5, 46, 50, 60 };

    (void)state;
    learn();
    for (size_t i = 0; i < sizeof(from_source) / sizeof(from_source[0]); i++)
        freeze_after(from_source[i], SIZE_MAX);
    for (size_t i = 0; i < sizeof(from_target) / sizeof(from_target[0]); i++)
        freeze_after(SIZE_MAX, from_target[i]);
}

/* A side whose peer is there, and does nothing. */
static void begin_alone(bool source, int *peer)
{
    int fds[2];

    pair_init(&p, &full);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    *peer = fds[1];
    get_side(source)->options.peer_timeout_ms = 50;
    side_begin(get_side(source), fds[0]);
}

static void a_peer_that_says_nothing_is_given_up(void **state)
{
    (void)state;
    for (int source = 0; source < 2; source++) {
        struct pair_side *side = get_side(source);
        int64_t began = clock_now();
        int peer;

        begin_alone(source, &peer);
        shutdown(peer, SHUT_WR);
        close(peer);
        side_run(side);
        assert_true(side->ret == -ECONNRESET || side->ret == -EPIPE);
        pair_close(&p);

        begin_alone(source, &peer);
        side_run(side);
        assert_int_equal(side->ret, -ETIMEDOUT);
        assert_int_equal(side->outcome, VFM_OUTCOME_FAILED);
        assert_non_null(strstr(side->err.message,
                               "the peer got nothing done for 50 ms in stage "
                               "hello"));
        assert_true(clock_now() - began >= 50 * NS_PER_MS);
        assert_true(side->dispatches < IDLE_DISPATCHES);
        close(peer);
        pair_close(&p);
    }
}

static void a_cancel_wakes_who_waits(void **state)
{
    (void)state;
    for (int source = 0; source < 2; source++) {
        struct pair_side *side = get_side(source);
        int peer;

        begin_alone(source, &peer);
        assert_true(side_step(side, 0));
        while (side_step(side, 0))
            assert_true(side->dispatches < IDLE_DISPATCHES);
        vfm_migration_cancel(side->m);
        assert_true(side_step(side, 0));
        close(peer);
        side_run(side);
        assert_int_equal(side->ret, -ECANCELED);
        assert_string_equal(side->err.message, "migration: cancelled");
        pair_close(&p);
    }
}

static void a_cancel_before_the_first_dispatch_is_heeded(void **state)
{
    int peer;

    (void)state;
    begin_alone(true, &peer);
    vfm_migration_cancel(p.source.m);
    vfm_migration_cancel(p.source.m);
    side_run(&p.source);
    assert_int_equal(p.source.ret, -ECANCELED);
    assert_int_equal(p.source.devices[0].num_went, 0);
    close(peer);
    pair_close(&p);
}

/* A source in PRE_COPY whose device has nothing to say and does not converge
 * asks it now and then, and no more. */
static void a_device_with_nothing_to_say_is_asked_now_and_then(void **state)
{
    struct fake_device *f = &p.source.devices[0];

    (void)state;
    pair_init(&p, &full);
    f->lies_precopy = true;
    f->says_precopy.initial_bytes = 4096;
    p.source.options.pre_copy_timeout_ms = 200;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.ret, -ETIME);
    assert_true(p.source.dispatches < 200);
    assert_true(f->calls[FAKE_PEEK] < 60);
    pair_close(&p);
}

static void a_migration_that_is_over_says_the_same_again(void **state)
{
    struct vfm_error err;
    int peer;
    int ret;

    (void)state;
    begin_alone(true, &peer);
    close(peer);
    while (vfm_migration_dispatch(p.source.m, NULL) == 1)
        continue;
    ret = vfm_migration_dispatch(p.source.m, &err);
    assert_true(ret < 0 && ret != -ECANCELED);
    assert_int_equal(err.code, ret);
    assert_int_equal(vfm_migration_run(p.source.m, &err), ret);
    vfm_migration_cancel(p.source.m);
    assert_int_equal(vfm_migration_run(p.source.m, &err), ret);
    assert_int_equal(vfm_migration_get_outcome(p.source.m), VFM_OUTCOME_FAILED);
    pair_close(&p);
}

/* Nobody told a side that waits for its peer that its device is gone. */
static void a_device_that_hangs_up_while_the_peer_is_waited_for(void **state)
{
    static const size_t from_source[] = { 0, 470, 3000 };

    (void)state;
    learn();
    for (size_t i = 0; i < 2 * sizeof(from_source) / sizeof(from_source[0]);
         i++) {
        struct fake_device *f = &get_side(i % 2 != 0)->devices[0];

        pair_init(&p, &full);
        snprintf(p.title, sizeof(p.title), "%s's device hung up, frozen at %zu",
                 i % 2 != 0 ? "source" : "target", from_source[i / 2]);
        pair_use_relay(&p, from_source[i / 2], SIZE_MAX);
        p.relay.freezes = true;
        p.source.options.peer_timeout_ms = 20;
        p.target.options.peer_timeout_ms = 20;
        f->gone = true;
        pair_run(&p);
        pair_check(&p);
        expect_few(p.title, IDLE_DISPATCHES);
        pair_close(&p);
    }
}

/* Up to the moment when all is loaded and YOURS does not come. */
static void wait_for_yours(void)
{
    size_t all;

    pair_init(&p, &full);
    pair_use_relay(&p, SIZE_MAX, SIZE_MAX);
    pair_succeeds(&p);
    all = p.relay.done[0];
    pair_close(&p);

    pair_init(&p, &full);
    pair_use_relay(&p, all - 5, SIZE_MAX);
    p.relay.freezes = true;
    pair_begin(&p);
    while (vfm_migration_get_stage(p.target.m) != VFM_STAGE_YOURS)
        pair_step(&p);
}

static void a_target_that_waits_for_yours_can_be_cancelled(void **state)
{
    (void)state;
    wait_for_yours();
    while (side_step(&p.target, 0))
        continue;
    vfm_migration_cancel(p.target.m);
    while (!p.target.over)
        pair_step(&p);
    assert_int_equal(p.target.ret, -ECANCELED);
    pair_end(&p);
    pair_check(&p);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    pair_close(&p);
}

static void a_target_whose_device_is_gone_takes_nothing_over(void **state)
{
    (void)state;
    wait_for_yours();
    p.target.devices[0].dead = p.target.devices[0].gone = true;
    while (!p.target.over)
        pair_step(&p);
    assert_int_equal(p.target.ret, -ENOTCONN);
    pair_end(&p);
    pair_check(&p);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    assert_true(fake_runs(&p.source.devices[0], FAKE_ORIGINAL));
    pair_close(&p);
}

/* Too late, and more than once: the wait for the peer goes on in peace. */
static void being_cancelled_again_costs_nothing(void **state)
{
    struct pair_side *side = &p.source;
    unsigned int before;

    (void)state;
    pair_init(&p, &full);
    side->options.peer = VFM_PEER_QEMU;
    side->cancel_in = VFM_STAGE_LOADED;
    side_begin_uri(side, "exec:cat >/dev/null; sleep 0.1");
    while (vfm_migration_get_stage(side->m) < VFM_STAGE_LOADED)
        assert_true(side_step(side, 5000));
    before = side->dispatches;
    for (unsigned int n = 0; n < 3 && side_step(side, 5000) && !side->over; n++)
        vfm_migration_cancel(side->m);
    side_run(side);
    assert_int_equal(side->outcome, VFM_OUTCOME_DONE);
    assert_in_range(side->dispatches, 1, before + IDLE_DISPATCHES);
    pair_close(&p);
}

/* Whoever embeds us may keep the channel: the target is not left waiting. */
static void a_source_that_gives_up_hangs_up(void **state)
{
    (void)state;
    for (unsigned int n = 2; n < 40; n++) {
        pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                            .num_devices = 2,
                                            .size = 30000,
                                            .pre_copy_size = 20000 });
        p.keeps_channels = true;
        p.source.cancel_before = n;
        p.target.options.peer_timeout_ms = 60000;
        pair_run(&p);
        pair_check(&p);
        pair_close(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_that_gives_up_hangs_up),
        cmocka_unit_test(a_device_that_stops_answering_is_waited_for_in_peace),
        cmocka_unit_test(a_device_that_is_slow_is_no_peer_that_is_gone),
        cmocka_unit_test(a_link_that_freezes_is_given_up),
        cmocka_unit_test(a_peer_that_says_nothing_is_given_up),
        cmocka_unit_test(a_cancel_wakes_who_waits),
        cmocka_unit_test(a_cancel_before_the_first_dispatch_is_heeded),
        cmocka_unit_test(a_device_with_nothing_to_say_is_asked_now_and_then),
        cmocka_unit_test(a_migration_that_is_over_says_the_same_again),
        cmocka_unit_test(a_device_that_hangs_up_while_the_peer_is_waited_for),
        cmocka_unit_test(a_target_that_waits_for_yours_can_be_cancelled),
        cmocka_unit_test(a_target_whose_device_is_gone_takes_nothing_over),
        cmocka_unit_test(being_cancelled_again_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
