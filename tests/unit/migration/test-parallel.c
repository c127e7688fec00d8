/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several devices: what each has to do, all do at once, unless the user wants
 * fewer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "migration/migration.h"
#include "pair.h"

static struct pair p;

static unsigned int most_under_way;

static void count_moves(struct pair *pair)
{
    const struct vfm_migration *both[] = { pair->source.m, pair->target.m };

    for (int i = 0; i < 2; i++) {
        unsigned int n = 0;

        for (unsigned int d = 0; both[i] && d < both[i]->num_members; d++)
            n += both[i]->members[d]->move.under_way;
        if (n > most_under_way)
            most_under_way = n;
    }
}

/* All of them, unless it is said otherwise. */
static void so_many_devices_move_at_once(void **state)
{
    (void)state;
    for (unsigned int parallel = 0; parallel <= 4; parallel++) {
        pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                            .num_devices = 3,
                                            .size = 5000,
                                            .delay = 3 });
        p.source.options.parallel = p.target.options.parallel = parallel;
        p.meanwhile = count_moves;
        most_under_way = 0;
        pair_succeeds(&p);
        pair_close(&p);
        assert_int_equal(most_under_way,
                         parallel == 1 || parallel == 2 ? parallel : 3);
    }
}

static unsigned int most_configured[2];

static unsigned int count_busy(const struct vfm_migration *m)
{
    unsigned int n = 0;

    for (unsigned int d = 0; d < m->num_members; d++)
        n += device_is_busy(m->members[d]->dev);
    return n;
}

/* A source's devices that are asked for no data any more. */
static bool is_told_of(const struct vfm_migration *m)
{
    if (m == NULL || m->moving)
        return false;
    if (m->options.role == VFM_ROLE_TARGET)
        return m->stage == VFM_STAGE_CHECK;
    return m->stage == VFM_STAGE_COMPLETE;
}

static void count_configured(struct pair *pair)
{
    const struct vfm_migration *both[] = { pair->source.m, pair->target.m };

    for (int i = 0; i < 2; i++) {
        unsigned int n = is_told_of(both[i]) ? count_busy(both[i]) : 0;

        if (n > most_configured[i])
            most_configured[i] = n;
    }
}

static void all_devices_are_configured_at_once(void **state)
{
    (void)state;
    pair_init(&p, &(struct pair_setup){ .migration = PAIR_ALL,
                                        .num_devices = 3,
                                        .size = 5000,
                                        .config_size = 256,
                                        .delay = 3 });
    p.meanwhile = count_configured;
    most_configured[0] = most_configured[1] = 0;
    pair_succeeds(&p);
    pair_close(&p);
    assert_int_equal(most_configured[0], 3);
    assert_int_equal(most_configured[1], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_devices_move_at_once),
        cmocka_unit_test(all_devices_are_configured_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
