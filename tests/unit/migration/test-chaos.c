/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several things go wrong at once, drawn from numbered lots: the same number is
 * the same misfortune again.
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

#define LOTS 2500

static struct pair p;
static uint32_t lot;

/* A number below @n. */
static unsigned int draw(unsigned int n)
{
    lot = lot * 1664525 + 1013904223;
    return (unsigned int)(((uint64_t)(lot >> 8) * n) >> 24);
}

static struct pair_setup draw_setup(void)
{
    static const uint64_t features[] = { PAIR_P2P, PAIR_ALL, PAIR_SC,
                                         PAIR_PRE };
    unsigned int num_devices = 1 + draw(PAIR_DEVICES_MAX);
    struct pair_setup s = {
        .migration = features[draw(num_devices > 1 ? 2 : 4)],
        .num_devices = num_devices,
        .size = draw(9000),
        .config_size = draw(2) * 256,
        .delay = draw(2),
        .io_delay = draw(2),
        .paused = draw(6) == 0,
        .no_data_size = draw(3) == 0,
        .no_precopy_info = draw(2) == 0,
        .target_first = draw(2) == 0,
    };

    s.pre_copy_size = draw((unsigned int)s.size + 1);
    s.initial_size = draw((unsigned int)s.pre_copy_size + 1);
    return s;
}

/* A state in which @f could be left by a transition that fails. */
static enum vfm_state draw_state(bool source)
{
    static const enum vfm_state at_source[] = {
        FAKE_STAY,
        VFM_STATE_ERROR,
        VFM_STATE_STOP,
        VFM_STATE_STOP_COPY,
    };
    static const enum vfm_state at_target[] = { FAKE_STAY, VFM_STATE_ERROR };

    return source ? at_source[draw(4)] : at_target[draw(2)];
}

static void draw_fault(struct pair_side *side)
{
    static const int errors[] = { -EIO, -EBUSY, -EINVAL, -ENOTCONN,
                                  -ETIMEDOUT };
    struct fake_device *f = &side->devices[draw(p.setup.num_devices)];
    struct fake_fault *fault;

    if (draw(8) == 0) {
        f->dies_at = 1 + draw(40);
        return;
    }
    fault = fake_fail(f, (enum fake_op)draw(FAKE_NUM_OPS), draw(5),
                      errors[draw(5)]);
    fault->count = 1 + draw(2);
    fault->at_start = fault->op < FAKE_PEEK && draw(4) == 0;
    fault->state = draw_state(side->is_source);
    if (fault->op == FAKE_GET_STATE)
        fault->state = FAKE_STAY;
}

static void draw_misfortune(void)
{
    unsigned int faults = draw(4);

    for (unsigned int i = 0; i < faults; i++)
        draw_fault(draw(2) ? &p.source : &p.target);
    if (draw(4) == 0)
        p.source.cancel_before = draw(30);
    if (draw(4) == 0)
        p.target.cancel_before = draw(20);
    if (draw(8) == 0)
        p.source.start_error = -EBUSY;
    if (draw(8) == 0)
        p.target.start_error = -EBUSY;
    if (draw(8) == 0)
        p.source.stop_error = -EBUSY;
    if (draw(3) == 0)
        pair_use_relay(&p, draw(2) ? SIZE_MAX : draw(30000),
                       draw(2) ? SIZE_MAX : draw(150));
}

static void there_is_never_more_than_one_owner(void **state)
{
    unsigned int outcomes[5] = { 0 };

    (void)state;
    for (uint32_t n = 1; n <= LOTS; n++) {
        struct pair_setup setup;

        lot = n * 2654435761U;
        setup = draw_setup();
        pair_init(&p, &setup);
        snprintf(p.title, sizeof(p.title), "lot %u", n);
        draw_misfortune();
        pair_run(&p);
        pair_check(&p);
        outcomes[p.source.outcome]++;
        pair_close(&p);
    }
    /* The lots are no blanks. */
    assert_true(outcomes[VFM_OUTCOME_DONE] > LOTS / 50);
    assert_true(outcomes[VFM_OUTCOME_FAILED] > LOTS / 50);
    assert_true(outcomes[VFM_OUTCOME_LOST] > LOTS / 50);
    assert_true(outcomes[VFM_OUTCOME_HANDED_OVER] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_never_more_than_one_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
