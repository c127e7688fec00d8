/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that lie about how much is left, or do not say: they arrive, or are
 * given up in time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pair.h"

static struct pair p;

static void sizes_that_are_lies_do_no_harm(void **state)
{
    static const uint64_t lies[] = { 0, 1, UINT64_C(1) << 50, UINT64_MAX - 1,
                                     UINT64_MAX };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(lies) / sizeof(lies[0]); i++) {
        struct fake_device *f = &p.source.devices[0];
        uint64_t lie = lies[i / 2];

        pair_init(&p, &(struct pair_setup){ .migration = PAIR_PRE,
                                            .num_devices = 1,
                                            .size = 30000,
                                            .pre_copy_size = 20000 });
        f->lies_size = true;
        f->says_size = lie;
        f->lies_precopy = i % 2 == 0;
        f->says_precopy.dirty_bytes = lie;
        p.source.options.pre_copy_timeout_ms = 300;
        p.source.options.force_switchover = true;
        pair_succeeds(&p);
        pair_close(&p);
    }
}

/* No device has that much initial data: it cannot tell, and nobody waits. */
static void initial_data_beyond_belief_is_not_waited_for(void **state)
{
    struct fake_device *f = &p.source.devices[0];

    (void)state;
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_PRE,
                                        .num_devices = 1,
                                        .size = 30000,
                                        .pre_copy_size = 20000 });
    f->lies_precopy = true;
    f->says_precopy.initial_bytes = UINT64_MAX - 1;
    f->says_precopy.dirty_bytes = 3;
    p.source.options.pre_copy_timeout_ms = 2000;
    pair_succeeds(&p);
    pair_close(&p);
}

static void a_device_that_refuses_to_tell_sizes_arrives(void **state)
{
    struct fake_device *f = &p.source.devices[0];

    (void)state;
    for (int i = 0; i < 2; i++) {
        pair_init(&p, &(struct pair_setup){ .migration = PAIR_PRE,
                                            .num_devices = 1,
                                            .size = 30000,
                                            .pre_copy_size = 20000 });
        fake_fail(f, FAKE_DATA_SIZE, 0, -EOPNOTSUPP)->count = FAKE_FOR_EVER;
        fake_fail(f, FAKE_PRECOPY_INFO, 0, -EINVAL)->count = FAKE_FOR_EVER;
        f->faults[0].at_start = f->faults[1].at_start = i != 0;
        p.source.options.pre_copy_timeout_ms = 2000;
        pair_succeeds(&p);
        pair_close(&p);
    }
}

/* One that never comes to an end in PRE_COPY is given up, or forced. */
static void what_does_not_converge_is_given_up_and_goes_on_here(void **state)
{
    struct fake_device *f = &p.source.devices[0];

    (void)state;
    pair_init(&p, &(struct pair_setup){
                      .migration = PAIR_PRE, .num_devices = 1, .size = 3000 });
    f->lies_precopy = true;
    f->says_precopy.initial_bytes = 4096;
    p.source.options.pre_copy_timeout_ms = 80;
    pair_run(&p);
    pair_check(&p);
    assert_int_equal(p.source.ret, -ETIME);
    assert_int_equal(p.source.outcome, VFM_OUTCOME_FAILED);
    assert_non_null(strstr(p.source.err.message, "does not converge"));
    assert_int_equal(p.source.vm_stops, 0);
    pair_close(&p);
}

static void what_does_not_converge_can_be_forced(void **state)
{
    struct fake_device *f = &p.source.devices[0];

    (void)state;
    pair_init(&p, &(struct pair_setup){
                      .migration = PAIR_PRE, .num_devices = 1, .size = 3000 });
    f->lies_precopy = true;
    f->says_precopy.initial_bytes = 4096;
    p.source.options.pre_copy_timeout_ms = 80;
    p.source.options.force_switchover = true;
    pair_succeeds(&p);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_are_lies_do_no_harm),
        cmocka_unit_test(initial_data_beyond_belief_is_not_waited_for),
        cmocka_unit_test(a_device_that_refuses_to_tell_sizes_arrives),
        cmocka_unit_test(what_does_not_converge_is_given_up_and_goes_on_here),
        cmocka_unit_test(what_does_not_converge_can_be_forced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
