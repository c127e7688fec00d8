/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The link dies after every byte, in either direction, and each of the two
 * sides is cancelled before each of its dispatches and in each of its stages.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pair.h"

static struct pair p;

/* As few bytes as there can be. */
static const struct pair_setup plain = { .migration = PAIR_SC,
                                         .num_devices = 1,
                                         .size = 16 };

/* With everything that a stream can hold. */
static const struct pair_setup full = { .migration = PAIR_ALL,
                                        .num_devices = 2,
                                        .size = 40,
                                        .pre_copy_size = 20,
                                        .initial_size = 10,
                                        .piece = 10,
                                        .config_size = 256 };

/* At the target the data goes where its devices have room for it. */
static const struct pair_setup landing = { .migration = PAIR_ALL,
                                           .num_devices = 2,
                                           .size = 40,
                                           .pre_copy_size = 20,
                                           .piece = 15,
                                           .room = 7 };

static void cut_after(const struct pair_setup *setup, size_t from_source,
                      size_t from_target)
{
    pair_init(&p, setup);
    snprintf(p.title, sizeof(p.title), "cut after %zd and %zd bytes",
             (ssize_t)from_source, (ssize_t)from_target);
    pair_use_relay(&p, from_source, from_target);
    pair_run(&p);
    pair_check(&p);
    pair_close(&p);
}

static void measure(const struct pair_setup *setup, size_t done[2])
{
    pair_init(&p, setup);
    pair_use_relay(&p, SIZE_MAX, SIZE_MAX);
    pair_succeeds(&p);
    memcpy(done, p.relay.done, sizeof(p.relay.done));
    pair_close(&p);
}

/* What a sanitizer looks for is in every fourth of them too. */
#ifdef __SANITIZE_ADDRESS__
#define CUT_EVERY 4
#else
#define CUT_EVERY 1
#endif

static void cut_everywhere(const struct pair_setup *setup, size_t step)
{
    size_t done[2];

    measure(setup, done);
    for (size_t n = 0; n <= done[0]; n += step * CUT_EVERY)
        cut_after(setup, n, SIZE_MAX);
    for (size_t n = 0; n <= done[1]; n += CUT_EVERY)
        cut_after(setup, SIZE_MAX, n);
}

static void the_link_dies_after_every_byte(void **state)
{
    (void)state;
    cut_everywhere(&plain, 1);
}

static void the_link_dies_while_data_lands_in_a_device(void **state)
{
    (void)state;
    cut_everywhere(&landing, 3);
}

static void the_link_of_everything_dies_after_many_a_byte(void **state)
{
    (void)state;
    cut_everywhere(&full, 17);
}

/* The window that no protocol closes: what was said around YOURS. */
static void only_a_link_that_dies_around_yours_hands_over(void **state)
{
    size_t done[2];
    unsigned int handed_over = 0;

    (void)state;
    measure(&plain, done);
    for (size_t n = 0; n <= done[0]; n++) {
        pair_init(&p, &plain);
        pair_use_relay(&p, n, SIZE_MAX);
        pair_run(&p);
        if (p.source.outcome == VFM_OUTCOME_HANDED_OVER)
            handed_over++;
        else if (n < done[0])
            assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
        pair_close(&p);
    }
    /* YOURS has 5 bytes: a frame of 4, and whether to run. */
    assert_in_range(handed_over, 1, 6);
}

static void cancel_before(const struct pair_setup *setup, bool source,
                          unsigned int dispatch)
{
    pair_init(&p, setup);
    snprintf(p.title, sizeof(p.title), "%s cancelled before dispatch %u",
             source ? "source" : "target", dispatch);
    (source ? &p.source : &p.target)->cancel_before = dispatch;
    pair_run(&p);
    pair_check(&p);
    assert_int_not_equal(p.source.outcome, VFM_OUTCOME_LOST);
    assert_int_not_equal(p.target.outcome, VFM_OUTCOME_LOST);
    pair_close(&p);
}

static void cancel_everywhere(const struct pair_setup *setup)
{
    unsigned int source;
    unsigned int target;

    pair_init(&p, setup);
    pair_succeeds(&p);
    source = p.source.dispatches;
    target = p.target.dispatches;
    pair_close(&p);
    for (unsigned int n = 0; n <= source; n++)
        cancel_before(setup, true, n);
    for (unsigned int n = 0; n <= target; n++)
        cancel_before(setup, false, n);
}

static void either_side_can_be_cancelled_before_every_dispatch(void **state)
{
    struct pair_setup s = full;

    (void)state;
    cancel_everywhere(&plain);
    cancel_everywhere(&full);
    s.target_first = true;
    cancel_everywhere(&s);
    s.delay = 2;
    s.io_delay = 1;
    cancel_everywhere(&s);
}

static void cancel_in(enum vfm_stage stage, bool source)
{
    struct pair_side *side = source ? &p.source : &p.target;
    bool too_late = stage > VFM_STAGE_YOURS;

    pair_init(&p, &full);
    snprintf(p.title, sizeof(p.title), "%s cancelled in %s",
             source ? "source" : "target", vfm_stage_name(stage));
    side->cancel_in = stage;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(side->outcome,
                     too_late ? VFM_OUTCOME_DONE : VFM_OUTCOME_FAILED);
    if (!too_late)
        assert_int_equal(side->ret, -ECANCELED);
    assert_int_equal(p.source.outcome,
                     too_late ? VFM_OUTCOME_DONE : VFM_OUTCOME_FAILED);
    assert_int_equal(p.target.outcome,
                     too_late ? VFM_OUTCOME_DONE : VFM_OUTCOME_FAILED);
    pair_close(&p);
}

static void a_cancelled_migration_fails_until_the_devices_are_given(
    void **state)
{
    (void)state;
    for (unsigned int s = 0; s <= VFM_STAGE_DONE; s++) {
        cancel_in((enum vfm_stage)s, true);
        cancel_in((enum vfm_stage)s, false);
    }
}

/* The target gives up while YOURS is on its way: it has not read it and never
 * will, so the devices are the source's. */
static void a_target_that_gives_up_before_it_reads_yours_gives_back(
    void **state)
{
    (void)state;
    pair_init(&p, &plain);
    p.target.cancel_in = VFM_STAGE_YOURS;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    assert_true(fake_runs(&p.source.devices[0], FAKE_ORIGINAL));
    pair_close(&p);
}

static void a_vm_that_does_not_stop_ends_the_migration(void **state)
{
    (void)state;
    pair_init(&p, &full);
    p.source.stop_error = -EBUSY;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.ret, -EBUSY);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    assert_non_null(strstr(p.source.err.message, "machine: does not stop"));
    assert_int_equal(p.source.vm_starts, 0);
    pair_close(&p);
}

static void a_vm_that_does_not_start_at_the_target_goes_back(void **state)
{
    (void)state;
    pair_init(&p, &full);
    p.target.start_error = -EBUSY;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.target.ret, -EBUSY);
    assert_int_equal(p.target.outcome, VFM_OUTCOME_FAILED);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    assert_int_equal(p.source.ret, -EREMOTEIO);
    assert_non_null(strstr(p.source.err.message, "gave the devices back"));
    assert_true(p.source.vm_runs);
    assert_int_equal(p.source.vm_starts, 1);
    pair_close(&p);
}

static void several_devices_come_back_quietly(void **state)
{
    (void)state;
    pair_init(&p, &full);
    p.target.start_error = -EBUSY;
    pair_run(&p);
    pair_check(&p);
    for (unsigned int i = 0; i < full.num_devices; i++) {
        const struct fake_device *f = &p.source.devices[i];

        assert_int_equal(f->went[f->num_went - 2], VFM_STATE_RUNNING_P2P);
        assert_int_equal(f->went[f->num_went - 1], VFM_STATE_RUNNING);
    }
    pair_close(&p);
}

static void a_vm_that_does_not_start_again_is_told(void **state)
{
    (void)state;
    pair_init(&p, &full);
    p.source.start_error = -EBUSY;
    p.target.start_error = -EBUSY;
    pair_run(&p);
    pair_check(&p);
    assert_non_null(strstr(p.source.err.message, "VM: cannot be started"));
    pair_close(&p);
}

/* It would be called again, and never be heard of. */
static void a_vm_that_is_busy_has_failed(void **state)
{
    (void)state;
    pair_init(&p, &full);
    p.source.stop_error = -EAGAIN;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.ret, -EBUSY);
    assert_non_null(strstr(p.source.err.message,
                           "VM: cannot be stopped: machine: does not stop"));
    pair_close(&p);

    pair_init(&p, &full);
    p.target.start_error = -EAGAIN;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.target.ret, -EBUSY);
    assert_int_equal(p.target.vm_starts, 1);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_link_dies_after_every_byte),
        cmocka_unit_test(the_link_dies_while_data_lands_in_a_device),
        cmocka_unit_test(the_link_of_everything_dies_after_many_a_byte),
        cmocka_unit_test(only_a_link_that_dies_around_yours_hands_over),
        cmocka_unit_test(either_side_can_be_cancelled_before_every_dispatch),
        cmocka_unit_test(
            a_cancelled_migration_fails_until_the_devices_are_given),
        cmocka_unit_test(
            a_target_that_gives_up_before_it_reads_yours_gives_back),
        cmocka_unit_test(a_vm_that_does_not_stop_ends_the_migration),
        cmocka_unit_test(a_vm_that_does_not_start_at_the_target_goes_back),
        cmocka_unit_test(several_devices_come_back_quietly),
        cmocka_unit_test(a_vm_that_does_not_start_again_is_told),
        cmocka_unit_test(a_vm_that_is_busy_has_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
