/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model against sentences of the uAPI, written down by hand.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "check/model.h"

#define STOP_COPY VFM_MIGRATION_STOP_COPY
#define P2P       VFM_MIGRATION_P2P
#define PRE_COPY  VFM_MIGRATION_PRE_COPY
#define ALL       (STOP_COPY | P2P | PRE_COPY)

static void is_path(enum vfm_state from, uint64_t features, unsigned int len,
                    const enum vfm_state *want)
{
    struct model_path path;

    assert_true(model_find_path(from, want[len - 1], features, &path));
    assert_int_equal(path.len, len);
    for (unsigned int i = 0; i < len; i++)
        assert_int_equal(path.steps[i], want[i]);
    assert_int_equal(path.ways, 1);
}

#define IS_PATH(from, features, ...)                          \
    is_path(from, features,                                   \
            sizeof((const enum vfm_state[]){ __VA_ARGS__ }) / \
                sizeof(enum vfm_state),                       \
            (const enum vfm_state[]){ __VA_ARGS__ })

static void combined_transitions_go_by_p2p_where_there_is_some(void **state)
{
    (void)state;
    IS_PATH(VFM_STATE_RUNNING, ALL, VFM_STATE_RUNNING_P2P, VFM_STATE_STOP,
            VFM_STATE_STOP_COPY);
    IS_PATH(VFM_STATE_RUNNING, STOP_COPY, VFM_STATE_STOP, VFM_STATE_STOP_COPY);
    IS_PATH(VFM_STATE_RESUMING, ALL, VFM_STATE_STOP, VFM_STATE_RUNNING_P2P,
            VFM_STATE_RUNNING);
}

static void pre_copy_goes_on_to_stop_copy_within_its_session(void **state)
{
    (void)state;
    IS_PATH(VFM_STATE_PRE_COPY, ALL, VFM_STATE_PRE_COPY_P2P,
            VFM_STATE_STOP_COPY);
    IS_PATH(VFM_STATE_PRE_COPY, STOP_COPY | PRE_COPY, VFM_STATE_STOP_COPY);
}

static void pre_copy_is_left_before_the_device_stops(void **state)
{
    (void)state;
    IS_PATH(VFM_STATE_PRE_COPY, ALL, VFM_STATE_RUNNING, VFM_STATE_RUNNING_P2P,
            VFM_STATE_STOP);
}

static void the_uapi_refuses_what_it_refuses(void **state)
{
    struct model_path path;

    (void)state;
    for (int s = 0; s < MODEL_STATES; s++) {
        enum vfm_state other = (enum vfm_state)s;

        assert_false(model_find_path(VFM_STATE_ERROR, other, ALL, &path));
        assert_false(model_find_path(other, VFM_STATE_ERROR, ALL, &path));
    }
    assert_false(
        model_find_path(VFM_STATE_STOP_COPY, VFM_STATE_PRE_COPY, ALL, &path));
    assert_false(model_find_path(VFM_STATE_STOP_COPY, VFM_STATE_PRE_COPY_P2P,
                                 ALL, &path));
    assert_false(model_find_path(VFM_STATE_RUNNING, VFM_STATE_RUNNING_P2P,
                                 STOP_COPY, &path));
}

/* All features, and every pair that is not refused above. */
static void every_other_pair_has_exactly_one_shortest_path(void **state)
{
    unsigned int paths = 0;

    (void)state;
    for (int f = 1; f < MODEL_STATES; f++)
        for (int t = 1; t < MODEL_STATES; t++) {
            struct model_path path;

            if (!model_find_path((enum vfm_state)f, (enum vfm_state)t, ALL,
                                 &path))
                continue;
            assert_true(f == t || path.ways == 1);
            paths++;
        }
    assert_int_equal(paths, 7 * 7 - 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(combined_transitions_go_by_p2p_where_there_is_some),
        cmocka_unit_test(pre_copy_goes_on_to_stop_copy_within_its_session),
        cmocka_unit_test(pre_copy_is_left_before_the_device_stops),
        cmocka_unit_test(the_uapi_refuses_what_it_refuses),
        cmocka_unit_test(every_other_pair_has_exactly_one_shortest_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
