/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the other side says: a peer that never stops talking leaves the caller's
 * loop its turn, cancel and deadlines, and one that gives up says why.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "channel/channel.h"
#include "pair.h"
#include "util/bytes.h"
#include "util/clock.h"

static struct pair p;

static const struct pair_setup setup = { .migration = PAIR_ALL,
                                         .num_devices = 1,
                                         .size = 6000 };

/* What comes again and again, and how often it came in this turn. */
static uint8_t drop[1024];
static size_t drop_len;
static unsigned int times;

static ssize_t recv_again(struct vfm_channel *ch, const struct iovec *iov,
                          int n)
{
    (void)ch;
    assert_true(n > 0 && iov->iov_len >= drop_len);
    assert_true(++times < 10000);
    memcpy(iov->iov_base, drop, drop_len);
    return (ssize_t)drop_len;
}

static struct channel_ops flood_ops;

/* From here on @side hears nothing but the flood. */
static void flood(struct pair_side *side)
{
    flood_ops = *side->ch->ops;
    flood_ops.recv = recv_again;
    side->ch->ops = &flood_ops;
    times = 0;
}

static void flood_with_progress(struct pair_side *side)
{
    memset(drop, 0, sizeof(drop));
    put_be16(drop, 0x8001);
    put_be16(drop + 2, 16);
    drop_len = 20;
    flood(side);
}

static void begin_at(struct pair_side *side, enum vfm_stage stage)
{
    pair_init(&p, &setup);
    pair_begin(&p);
    while (vfm_migration_get_stage(side->m) < stage)
        pair_step(&p);
}

static void a_source_gets_its_turn_while_its_target_talks(void **state)
{
    (void)state;
    begin_at(&p.source, VFM_STAGE_PRE_COPY);
    p.source.devices[0].lies_precopy = true;
    p.source.devices[0].says_precopy.initial_bytes = 100;
    flood_with_progress(&p.source);
    for (int i = 0; i < 20; i++) {
        times = 0;
        assert_true(side_step(&p.source, 1000));
    }
    assert_false(p.source.over);
    vfm_migration_cancel(p.source.m);
    times = 0;
    side_run(&p.source);
    assert_int_equal(p.source.ret, -ECANCELED);
    pair_end(&p);
    pair_check(&p);
    pair_close(&p);
}

static ssize_t send_nothing(struct vfm_channel *ch, const struct iovec *iov,
                            int n)
{
    (void)ch;
    (void)iov;
    (void)n;
    return -EAGAIN;
}

/* That it talks is no reason to wait for it for ever. */
static void expect_given_up(enum vfm_stage stage, bool takes)
{
    int64_t began;

    pair_init(&p, &setup);
    p.source.options.peer_timeout_ms = 50;
    pair_begin(&p);
    while (vfm_migration_get_stage(p.source.m) < stage)
        pair_step(&p);
    flood_with_progress(&p.source);
    if (!takes)
        flood_ops.send = send_nothing;
    began = clock_now();
    while (!p.source.over && clock_now() - began < 10 * NS_PER_SEC) {
        times = 0;
        side_step(&p.source, 100);
    }
    assert_int_equal(p.source.ret, -ETIMEDOUT);
    pair_end(&p);
    pair_check(&p);
    pair_close(&p);
}

static void a_target_that_talks_and_takes_nothing_is_given_up(void **state)
{
    (void)state;
    expect_given_up(VFM_STAGE_PRE_COPY, false);
}

static void a_target_that_is_busy_for_ever_is_given_up(void **state)
{
    (void)state;
    expect_given_up(VFM_STAGE_LOADED, true);
}

/* A target whose source goes on and on after the failure. */
static void a_target_that_failed_gets_its_turn_while_its_source_talks(
    void **state)
{
    unsigned int turns = 0;
    int64_t began;

    (void)state;
    memset(drop, 0, sizeof(drop));
    drop_len = sizeof(drop);
    begin_at(&p.target, VFM_STAGE_PRE_COPY);
    flood(&p.target);
    vfm_migration_cancel(p.target.m);
    began = clock_now();
    while (!p.target.over) {
        times = 0;
        assert_true(side_step(&p.target, 1000));
        turns++;
    }
    assert_true(turns > 3);
    assert_true(clock_now() - began < 3 * NS_PER_SEC);
    assert_int_equal(p.target.ret, -ECANCELED);
    pair_end(&p);
    pair_check(&p);
    pair_close(&p);
}

/* Once its stream is over a source can speak. */
static void a_target_hears_why_its_source_gave_up(void **state)
{
    (void)state;
    pair_init(&p, &setup);
    p.source.cancel_in = VFM_STAGE_LOADED;
    pair_run(&p);
    assert_int_equal(p.source.ret, -ECANCELED);
    assert_int_equal(p.target.ret, -EREMOTEIO);
    assert_non_null(strstr(p.target.err.message,
                           "the source failed: migration: cancelled"));
    pair_check(&p);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_gets_its_turn_while_its_target_talks),
        cmocka_unit_test(a_target_that_talks_and_takes_nothing_is_given_up),
        cmocka_unit_test(a_target_that_is_busy_for_ever_is_given_up),
        cmocka_unit_test(
            a_target_that_failed_gets_its_turn_while_its_source_talks),
        cmocka_unit_test(a_target_hears_why_its_source_gave_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
