/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fault matrix: of every kind of call, each one that a migration makes
 * fails once, on either side, and leaves the device in every state it could be
 * in.  What must be true afterwards is pair_check()'s.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/model.h"
#include "pair.h"

static struct pair p;

/* What the matrix is made of: small states, every kind of device. */
static const struct pair_setup setups[] = {
    { .migration = PAIR_SC, .num_devices = 1, .size = 3000 },
    { .migration = PAIR_ALL,
      .room = 2000,
      .num_devices = 1,
      .size = 9000,
      .pre_copy_size = 6000,
      .initial_size = 3000,
      .config_size = 256 },
    { .migration = PAIR_ALL,
      .room = 2000,
      .num_devices = 2,
      .size = 6000,
      .pre_copy_size = 5000,
      .delay = 1 },
    { .migration = PAIR_P2P,
      .room = 2000,
      .num_devices = 2,
      .size = 3000,
      .config_size = 4096 },
    { .migration = PAIR_PRE,
      .room = 2000,
      .num_devices = 1,
      .size = 5000,
      .pre_copy_size = 5000,
      .paused = true,
      .config_size = 4096 },
};
#define NUM_SETUPS (sizeof(setups) / sizeof(setups[0]))

static struct pair_side *get_side(bool source)
{
    return source ? &p.source : &p.target;
}

/* Each device as it is after a migration in which nothing fails. */
static struct fake_device fine[PAIR_DEVICES_MAX];

static void learn(const struct pair_setup *setup, bool source)
{
    pair_init(&p, setup);
    pair_succeeds(&p);
    memcpy(fine, get_side(source)->devices, sizeof(fine));
    pair_close(&p);
}

struct fault_case {
    const struct pair_setup *setup;
    bool source;
    unsigned int device;
    struct fake_fault fault;
    bool silent; /* the device does not even say where it is */
    bool stuck;  /* and refuses the first reset */
};

static unsigned int num_cases;

static void run_case(const struct fault_case *c)
{
    struct fake_device *f;
    struct fake_fault *fault;

    pair_init(&p, c->setup);
    snprintf(p.title, sizeof(p.title),
             "%u devices of features %x: %s no. %u of %s's device %u fails%s, "
             "left in %s%s%s",
             c->setup->num_devices, (unsigned int)c->setup->migration,
             fake_op_name(c->fault.op), c->fault.from,
             c->source ? "source" : "target", c->device,
             c->fault.at_start ? " at once" : "",
             vfm_state_name(c->fault.state), c->silent ? ", silent" : "",
             c->stuck ? ", stuck" : "");
    f = &get_side(c->source)->devices[c->device];
    fault = fake_fail(f, c->fault.op, c->fault.from, c->fault.error);
    fault->state = c->fault.state;
    fault->at_start = c->fault.at_start;
    if (c->silent)
        fake_fail(f, FAKE_GET_STATE, 0, -EIO);
    if (c->stuck)
        fake_fail(f, FAKE_RESET, 0, -EBUSY);
    pair_run(&p);
    pair_check(&p);
    if (c->fault.op >= FAKE_PEEK && p.source.outcome == VFM_OUTCOME_DONE)
        fail_msg("%s: and nobody minds", p.title);
    pair_close(&p);
    num_cases++;
}

static void leave_in(struct fault_case *c, enum vfm_state state)
{
    c->fault.state = state;
    for (int i = 0; i < 4; i++) {
        c->silent = (i & 1) != 0;
        c->stuck = (i & 2) != 0;
        run_case(c);
    }
    c->silent = c->stuck = false;
}

/* It stops at any state of the way, or gets into ERROR. */
static void fail_on_the_way(struct fault_case *c)
{
    const struct fake_device *f = &fine[c->device];
    struct model_path path;

    assert_true(c->fault.from < FAKE_WENT);
    assert_true(model_find_path(f->came_from[c->fault.from],
                                f->went[c->fault.from], c->setup->migration,
                                &path));
    for (unsigned int i = 0; i < path.len; i++)
        leave_in(c, path.steps[i]);
    leave_in(c, VFM_STATE_ERROR);
}

static void run_call(struct fault_case *c)
{
    c->fault.state = FAKE_STAY;
    run_case(c);
    c->stuck = true;
    run_case(c);
    c->stuck = false;
    c->fault.at_start = c->fault.op < FAKE_PEEK;
    if (c->fault.at_start)
        run_case(c);
    c->fault.at_start = false;
    if (c->fault.op == FAKE_SET_STATE)
        fail_on_the_way(c);
}

/* Every call of @op of every device fails once. */
static void fail_each(bool source, enum fake_op op)
{
    num_cases = 0;
    for (size_t i = 0; i < NUM_SETUPS; i++) {
        learn(&setups[i], source);
        for (unsigned int d = 0; d < setups[i].num_devices; d++) {
            for (unsigned int n = 0; n < fine[d].calls[op]; n++) {
                struct fault_case c = {
                    .setup = &setups[i],
                    .source = source,
                    .device = d,
                    .fault = { .op = op, .from = n, .error = -EIO },
                };

                run_call(&c);
            }
        }
    }
    assert_true(num_cases >= 2 * NUM_SETUPS);
}

static void every_transition_of_the_source_fails_once(void **state)
{
    (void)state;
    fail_each(true, FAKE_SET_STATE);
}

static void every_transition_of_the_target_fails_once(void **state)
{
    (void)state;
    fail_each(false, FAKE_SET_STATE);
}

static void every_read_of_the_source_fails_once(void **state)
{
    (void)state;
    fail_each(true, FAKE_PEEK);
}

static void every_question_for_sizes_fails_once(void **state)
{
    (void)state;
    fail_each(true, FAKE_DATA_SIZE);
    fail_each(true, FAKE_PRECOPY_INFO);
}

static void every_access_to_regions_fails_once(void **state)
{
    (void)state;
    fail_each(true, FAKE_REGION_READ);
    fail_each(false, FAKE_REGION_READ);
    fail_each(false, FAKE_REGION_WRITE);
}

static void every_write_to_the_target_fails_once(void **state)
{
    (void)state;
    fail_each(false, FAKE_WRITE);
    fail_each(false, FAKE_ROOM);
    fail_each(false, FAKE_FLUSH);
}

static void die_at_each_call(bool source)
{
    for (size_t i = 0; i < NUM_SETUPS; i++) {
        learn(&setups[i], source);
        for (unsigned int d = 0; d < setups[i].num_devices; d++) {
            for (unsigned int n = 1; n <= fine[d].all_calls; n++) {
                pair_init(&p, &setups[i]);
                snprintf(p.title, sizeof(p.title),
                         "set-up %zu: %s's device %u dies at call %u", i,
                         source ? "source" : "target", d, n);
                get_side(source)->devices[d].dies_at = n;
                pair_run(&p);
                pair_check(&p);
                pair_close(&p);
            }
        }
    }
}

static void a_device_of_the_source_dies_at_any_call(void **state)
{
    (void)state;
    die_at_each_call(true);
}

static void a_device_of_the_target_dies_at_any_call(void **state)
{
    (void)state;
    die_at_each_call(false);
}

/* The target's device will not be reset, and its last transition left it in
 * @left. */
static void start_badly(enum vfm_state left, enum vfm_outcome at_source)
{
    struct fake_device *f = &p.target.devices[0];

    pair_init(&p, &setups[0]);
    fake_fail(f, FAKE_SET_STATE, 2, -EIO)->state = left;
    fake_fail(f, FAKE_RESET, 0, -EINVAL)->count = FAKE_FOR_EVER;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.target.outcome, VFM_OUTCOME_LOST);
    assert_int_equal(p.source.outcome, at_source);
    pair_close(&p);
}

static void a_target_that_stands_still_gives_back_what_it_cannot_reset(
    void **state)
{
    (void)state;
    start_badly(VFM_STATE_STOP, VFM_OUTCOME_FAILED);
    start_badly(VFM_STATE_RUNNING, VFM_OUTCOME_HANDED_OVER);
    start_badly(VFM_STATE_ERROR, VFM_OUTCOME_HANDED_OVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transition_of_the_source_fails_once),
        cmocka_unit_test(every_transition_of_the_target_fails_once),
        cmocka_unit_test(every_read_of_the_source_fails_once),
        cmocka_unit_test(every_question_for_sizes_fails_once),
        cmocka_unit_test(every_access_to_regions_fails_once),
        cmocka_unit_test(every_write_to_the_target_fails_once),
        cmocka_unit_test(a_device_of_the_source_dies_at_any_call),
        cmocka_unit_test(a_device_of_the_target_dies_at_any_call),
        cmocka_unit_test(
            a_target_that_stands_still_gives_back_what_it_cannot_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
