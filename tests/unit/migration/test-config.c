/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * When configurations are asked for: what can be done before anybody stops is,
 * and the rest beside the data.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "migration/migration.h"
#include "pair.h"

static struct pair p;

static const struct pair_setup two = {
    .migration = PAIR_ALL,
    .num_devices = 2,
    .size = 40000,
    .config_size = 4096,
    .delay = 3,
    .io_delay = 9,
};

static bool asked_beside_data;

static void watch_source(struct pair *pair)
{
    const struct vfm_migration *m = pair->source.m;

    if (m == NULL || m->stage != VFM_STAGE_COMPLETE || m->moving)
        return;
    for (unsigned int i = 0; i < m->num_members; i++)
        if (device_is_busy(m->members[i]->dev) && !m->members[i]->data_ended)
            asked_beside_data = true;
}

static void a_configuration_is_asked_for_while_data_is_read(void **state)
{
    (void)state;
    asked_beside_data = false;
    pair_init(&p, &two);
    p.meanwhile = watch_source;
    pair_succeeds(&p);
    pair_close(&p);
    assert_true(asked_beside_data);
}

static bool is_provided_for;

static void watch_memory(struct pair *pair)
{
    const struct vfm_migration *m = pair->source.m;

    if (m != NULL && m->stage == VFM_STAGE_PRE_COPY)
        is_provided_for = m->members[0]->config.record != NULL &&
                          m->members[1]->config.record != NULL;
}

static void memory_for_it_is_there_before_anybody_stops(void **state)
{
    (void)state;
    is_provided_for = false;
    pair_init(&p, &two);
    p.meanwhile = watch_memory;
    pair_succeeds(&p);
    pair_close(&p);
    assert_true(is_provided_for);
}

static unsigned int reads_in_setup[2];

static void watch_target(struct pair *pair)
{
    const struct vfm_migration *m = pair->target.m;

    if (m == NULL || m->stage != VFM_STAGE_SETUP)
        return;
    for (unsigned int i = 0; i < 2; i++)
        reads_in_setup[i] = pair->target.devices[i].calls[FAKE_REGION_READ];
}

static void a_target_knows_its_devices_before_it_says_ready(void **state)
{
    (void)state;
    pair_init(&p, &two);
    p.meanwhile = watch_target;
    pair_succeeds(&p);
    for (unsigned int i = 0; i < 2; i++) {
        assert_int_equal(reads_in_setup[i], 1);
        assert_int_equal(p.target.devices[i].calls[FAKE_REGION_READ], 1);
    }
    pair_close(&p);
}

static void expect_same(unsigned int i)
{
    const struct fake_device *from = &p.source.devices[i];
    const struct fake_device *to = &p.target.devices[i];

    assert_memory_equal(to->config, from->config, FAKE_CONFIG_SIZE);
    assert_memory_equal(to->bar + 0x100, from->bar + 0x100, 128);
}

static void set_up_by_driver(struct fake_device *f, uint8_t seed)
{
    f->config[0x04] = 0x06;
    f->config[0x10] = seed;
    fake_pattern(f->bar + 0x100, 128, seed);
}

/* Some servers show no regions while the device is in STOP_COPY, or in
 * RESUMING; with one that does, none keeps another waiting. */
static void devices_that_tell_only_in_stop_arrive(void **state)
{
    (void)state;
    for (unsigned int who = 1; who < 16; who++) {
        pair_init(&p, &two);
        p.source.options.parallel = who % 3;
        for (unsigned int i = 0; i < 2; i++) {
            set_up_by_driver(&p.source.devices[i], (uint8_t)(7 + i));
            if ((who & 1U << i) != 0)
                fake_fail(&p.source.devices[i], FAKE_REGION_READ, 0, -EINVAL);
            if ((who & 4U << i) != 0)
                fake_fail(&p.target.devices[i], FAKE_REGION_READ, 0, -EINVAL);
        }
        pair_succeeds(&p);
        expect_same(0);
        expect_same(1);
        pair_close(&p);
    }
}

static void hang_up(struct pair *pair)
{
    const struct vfm_migration *m = pair->source.m;

    if (m != NULL && m->stage == VFM_STAGE_PRE_COPY)
        pair->source.devices[0].gone = true;
}

/* The others' data is not waited for. */
static void a_device_that_is_lost_meanwhile_is_no_refusal(void **state)
{
    (void)state;
    pair_init(&p, &two);
    fake_fail(&p.source.devices[0], FAKE_REGION_READ, 0, -ENOTCONN);
    p.meanwhile = hang_up;
    pair_run(&p);
    assert_int_equal(p.source.ret, -ENOTCONN);
    assert_non_null(strstr(p.source.err.message, "region read"));
    pair_close(&p);
}

/* Nobody has stopped, and nobody is asked to. */
static void a_space_that_no_device_has_is_refused_at_once(void **state)
{
    (void)state;
    pair_init(&p, &two);
    p.source.devices[1].dev->info.config_size = 8192;
    p.target.devices[1].dev->info.config_size = 8192;
    pair_run(&p);
    assert_int_equal(p.source.ret, -EINVAL);
    assert_non_null(
        strstr(p.source.err.message, "a configuration space of 8192 bytes"));
    assert_int_equal(p.source.vm_stops, 0);
    pair_check(&p);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_is_asked_for_while_data_is_read),
        cmocka_unit_test(memory_for_it_is_there_before_anybody_stops),
        cmocka_unit_test(a_target_knows_its_devices_before_it_says_ready),
        cmocka_unit_test(devices_that_tell_only_in_stop_arrive),
        cmocka_unit_test(a_device_that_is_lost_meanwhile_is_no_refusal),
        cmocka_unit_test(a_space_that_no_device_has_is_refused_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
