/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of states against the uAPI's rules, for every pair of states and
 * every combination of features.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device/state.h"
#include "check/model.h"

#define STOP_COPY VFM_MIGRATION_STOP_COPY
#define P2P       VFM_MIGRATION_P2P
#define PRE_COPY  VFM_MIGRATION_PRE_COPY

static const uint64_t features[] = {
    STOP_COPY,
    STOP_COPY | PRE_COPY,
    STOP_COPY | P2P,
    STOP_COPY | P2P | PRE_COPY,
};
#define NUM_FEATURES (sizeof(features) / sizeof(features[0]))

/* Walks the library's table; false if it refuses or does not arrive. */
static bool walk(enum vfm_state from, enum vfm_state to, uint64_t migration,
                 struct model_path *path)
{
    path->len = 0;
    while (from != to || path->len == 0) {
        from = state_next(from, to, migration);
        if (from == VFM_STATE_ERROR || path->len == MODEL_STATES)
            return false;
        path->steps[path->len++] = from;
    }
    return true;
}

static void check_pair(enum vfm_state from, enum vfm_state to,
                       uint64_t migration)
{
    struct model_path right;
    struct model_path ours;
    bool possible = model_find_path(from, to, migration, &right);

    if (possible && from == to) {
        assert_int_equal(state_next(from, to, migration), to);
        return;
    }
    if (walk(from, to, migration, &ours) != possible)
        fail_msg("features %x: %s to %s should be %s", (unsigned)migration,
                 vfm_state_name(from), vfm_state_name(to),
                 possible ? "possible" : "refused");
    if (!possible)
        return;
    /* The uAPI's choice is never between two paths of the same length. */
    assert_int_equal(right.ways, 1);
    assert_int_equal(ours.len, right.len);
    assert_memory_equal(ours.steps, right.steps,
                        right.len * sizeof(right.steps[0]));
}

static void every_pair_takes_the_path_of_the_uapi(void **state)
{
    (void)state;
    for (size_t f = 0; f < NUM_FEATURES; f++)
        for (unsigned int from = 0; from < MODEL_STATES; from++)
            for (unsigned int to = 0; to < MODEL_STATES; to++)
                check_pair((enum vfm_state)from, (enum vfm_state)to,
                           features[f]);
}

static void a_device_has_the_states_of_its_features(void **state)
{
    (void)state;
    for (size_t f = 0; f < NUM_FEATURES; f++)
        for (unsigned int s = 0; s < MODEL_STATES; s++)
            assert_int_equal(state_exists((enum vfm_state)s, features[f]),
                             model_has((enum vfm_state)s, features[f]));
}

static void a_device_without_migration_has_no_states(void **state)
{
    (void)state;
    for (unsigned int s = 0; s < MODEL_STATES; s++)
        assert_false(state_exists((enum vfm_state)s, 0));
    assert_int_equal(state_next(VFM_STATE_RUNNING, VFM_STATE_STOP, 0),
                     VFM_STATE_ERROR);
}

static void features_that_nobody_knows_change_nothing(void **state)
{
    uint64_t unknown = UINT64_C(1) << 40 | 8;

    (void)state;
    for (size_t f = 0; f < NUM_FEATURES; f++)
        for (unsigned int from = 0; from < MODEL_STATES; from++)
            for (unsigned int to = 0; to < MODEL_STATES; to++)
                assert_int_equal(state_next((enum vfm_state)from,
                                            (enum vfm_state)to, features[f]),
                                 state_next((enum vfm_state)from,
                                            (enum vfm_state)to,
                                            features[f] | unknown));
}

static void sessions_and_running_are_what_the_uapi_says(void **state)
{
    (void)state;
    for (unsigned int s = 0; s < MODEL_STATES; s++) {
        enum vfm_state now = (enum vfm_state)s;
        enum session session = model_saves(now) ? SESSION_SAVE : SESSION_NONE;

        if (now == VFM_STATE_RESUMING)
            session = SESSION_LOAD;
        assert_int_equal(state_session(now), session);
        assert_int_equal(state_is_running(now), model_runs(now));
    }
}

static void the_first_value_past_the_last_state_is_no_state(void **state)
{
    enum vfm_state past = (enum vfm_state)NUM_STATES;

    (void)state;
    assert_string_equal(vfm_state_name(past), "?");
    assert_string_equal(vfm_state_name((enum vfm_state) - 1), "?");
    assert_false(state_exists(past, features[3]));
    assert_false(state_is_running(past));
    assert_int_equal(state_session(past), SESSION_NONE);
    assert_int_equal(state_next(VFM_STATE_STOP, past, features[3]),
                     VFM_STATE_ERROR);
    assert_int_equal(state_next(past, VFM_STATE_STOP, features[3]),
                     VFM_STATE_ERROR);
}

static void names_are_the_uapis_and_lead_back_to_their_state(void **state)
{
    static const char *const names[MODEL_STATES] = {
        "ERROR",    "STOP",        "RUNNING",  "STOP_COPY",
        "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P",
    };

    (void)state;
    for (unsigned int s = 0; s < MODEL_STATES; s++) {
        enum vfm_state found = VFM_STATE_ERROR;

        assert_string_equal(vfm_state_name((enum vfm_state)s), names[s]);
        assert_int_equal(vfm_state_from_name(names[s], &found), 0);
        assert_int_equal(found, s);
    }
}

static void names_may_be_written_in_any_case_and_with_dashes(void **state)
{
    enum vfm_state found = VFM_STATE_ERROR;

    (void)state;
    assert_int_equal(vfm_state_from_name("pre-copy-p2p", &found), 0);
    assert_int_equal(found, VFM_STATE_PRE_COPY_P2P);
    assert_int_equal(vfm_state_from_name("Stop_Copy", &found), 0);
    assert_int_equal(found, VFM_STATE_STOP_COPY);
}

static void what_is_no_name_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "STO", "STOPP", "STOP COPY", "?", "PRE__COPY", "-STOP", "STOP_",
    };
    enum vfm_state found = VFM_STATE_RESUMING;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(vfm_state_from_name(bad[i], &found), -EINVAL);
    assert_int_equal(found, VFM_STATE_RESUMING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_takes_the_path_of_the_uapi),
        cmocka_unit_test(a_device_has_the_states_of_its_features),
        cmocka_unit_test(a_device_without_migration_has_no_states),
        cmocka_unit_test(features_that_nobody_knows_change_nothing),
        cmocka_unit_test(sessions_and_running_are_what_the_uapi_says),
        cmocka_unit_test(the_first_value_past_the_last_state_is_no_state),
        cmocka_unit_test(names_are_the_uapis_and_lead_back_to_their_state),
        cmocka_unit_test(names_may_be_written_in_any_case_and_with_dashes),
        cmocka_unit_test(what_is_no_name_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
