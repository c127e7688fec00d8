/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ways between states, all pairs, against the kernel's model: a table of the
 * next step for every pair, in which unsupported states are skipped.
 */
#include <errno.h>

#include "test.h"

#include "emulator/state.h"
#include "protocol/vfio-uapi.h"

#define ER UAPI_STATE_ERROR
#define ST UAPI_STATE_STOP
#define RU UAPI_STATE_RUNNING
#define SC UAPI_STATE_STOP_COPY
#define RE UAPI_STATE_RESUMING
#define RP UAPI_STATE_RUNNING_P2P
#define PC UAPI_STATE_PRE_COPY
#define PP UAPI_STATE_PRE_COPY_P2P

/* next_step[from][to], in the order of the states' numbers. */
static const uint8_t next_step[8][8] = {
    /*        ER  ST  RU  SC  RE  RP  PC  PP */
    [ER] = { ER, ER, ER, ER, ER, ER, ER, ER },
    [ST] = { ER, ST, RP, SC, RE, RP, RP, RP },
    [RU] = { ER, RP, RU, RP, RP, RP, PC, RP },
    [SC] = { ER, ST, ST, SC, ST, ST, ER, ER },
    [RE] = { ER, ST, ST, ST, RE, ST, ST, ST },
    [RP] = { ER, ST, RU, ST, ST, RP, RU, PP },
    [PC] = { ER, RU, RU, PP, RU, RU, PC, PP },
    [PP] = { ER, RP, RP, SC, RP, RP, PC, PP },
};

static uint32_t model_step(uint32_t from, uint32_t to, bool p2p)
{
    uint32_t step = next_step[from][to];

    while (!p2p && (step == RP || step == PP))
        step = next_step[step][to];
    return step;
}

/* Compares one way with the model's, step by step. */
static void check_way(uint32_t from, uint32_t to, bool p2p)
{
    uint32_t path[STATE_PATH_MAX];
    int length = state_path(from, to, p2p, path);
    uint32_t at = from;

    if (from != to && model_step(from, to, p2p) == ER) {
        assert_int_equal(length, -EINVAL);
        return;
    }
    assert_true(length >= 0 && length <= STATE_PATH_MAX);
    for (int i = 0; i < length; i++) {
        at = model_step(at, to, p2p);
        assert_int_equal(path[i], at);
    }
    assert_int_equal(at, to);
}

static void every_way_is_the_kernels(void **state)
{
    (void)state;
    for (uint32_t from = 0; from < UAPI_NUM_STATES; from++)
        for (uint32_t to = 0; to < UAPI_NUM_STATES; to++)
            for (int p2p = 0; p2p < 2; p2p++)
                if (state_exists(from, true, p2p) &&
                    state_exists(to, true, p2p))
                    check_way(from, to, p2p);
}

static void optional_states_exist_only_with_their_ability(void **state)
{
    (void)state;
    for (uint32_t s = 0; s < UAPI_NUM_STATES; s++) {
        assert_true(state_exists(s, true, true));
        assert_int_equal(state_exists(s, false, true), s != PC && s != PP);
        assert_int_equal(state_exists(s, true, false), s != RP && s != PP);
    }
    assert_false(state_exists(UAPI_NUM_STATES, true, true));
}

static void dma_happens_only_where_the_device_runs(void **state)
{
    (void)state;
    for (uint32_t s = 0; s < UAPI_NUM_STATES; s++) {
        assert_int_equal(state_runs(s),
                         s == RU || s == RP || s == PC || s == PP);
        assert_int_equal(state_does_dma(s), s == RU || s == PC);
        assert_int_equal(state_saves(s), s == SC || s == PC || s == PP);
    }
}

static void names_are_parsed_back(void **state)
{
    (void)state;
    for (uint32_t s = 0; s < UAPI_NUM_STATES; s++)
        assert_int_equal(state_parse(state_name(s)), s);
    assert_string_equal(state_name(UAPI_NUM_STATES), "?");
    assert_int_equal(state_parse("?"), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_is_the_kernels),
        cmocka_unit_test(optional_states_exist_only_with_their_ability),
        cmocka_unit_test(dma_happens_only_where_the_device_runs),
        cmocka_unit_test(names_are_parsed_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
