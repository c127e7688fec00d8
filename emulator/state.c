/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The migration states: what each allows, and a search for the way from one
 * to another over the arcs that the kernel's interface lists.
 *
 * What happens on an arc is the device's business (device.c).
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "emulator/state.h"
#include "protocol/vfio-uapi.h"

#define RUNS   1u
#define DMA    2u
#define SAVES  4u
#define IS_P2P 8u

static const struct {
    const char *name;
    unsigned traits;
} states[] = {
    [UAPI_STATE_ERROR] = { "ERROR", 0 },
    [UAPI_STATE_STOP] = { "STOP", 0 },
    [UAPI_STATE_RUNNING] = { "RUNNING", RUNS | DMA },
    [UAPI_STATE_STOP_COPY] = { "STOP_COPY", SAVES },
    [UAPI_STATE_RESUMING] = { "RESUMING", 0 },
    [UAPI_STATE_RUNNING_P2P] = { "RUNNING_P2P", RUNS | IS_P2P },
    [UAPI_STATE_PRE_COPY] = { "PRE_COPY", RUNS | DMA | SAVES },
    [UAPI_STATE_PRE_COPY_P2P] = { "PRE_COPY_P2P", RUNS | SAVES | IS_P2P },
};
_Static_assert(sizeof(states) / sizeof(states[0]) == UAPI_NUM_STATES,
               "a row for every state");

enum arc_when { ALWAYS, WITH_P2P, WITHOUT_P2P };

static const struct {
    uint8_t from;
    uint8_t to;
    enum arc_when when;
} arcs[] = {
    { UAPI_STATE_RUNNING_P2P, UAPI_STATE_STOP, WITH_P2P },
    { UAPI_STATE_STOP, UAPI_STATE_RUNNING_P2P, WITH_P2P },
    { UAPI_STATE_RUNNING_P2P, UAPI_STATE_RUNNING, WITH_P2P },
    { UAPI_STATE_RUNNING, UAPI_STATE_RUNNING_P2P, WITH_P2P },
    { UAPI_STATE_RUNNING_P2P, UAPI_STATE_PRE_COPY_P2P, WITH_P2P },
    { UAPI_STATE_PRE_COPY_P2P, UAPI_STATE_RUNNING_P2P, WITH_P2P },
    { UAPI_STATE_PRE_COPY, UAPI_STATE_PRE_COPY_P2P, WITH_P2P },
    { UAPI_STATE_PRE_COPY_P2P, UAPI_STATE_PRE_COPY, WITH_P2P },
    { UAPI_STATE_PRE_COPY_P2P, UAPI_STATE_STOP_COPY, WITH_P2P },
    { UAPI_STATE_RUNNING, UAPI_STATE_STOP, WITHOUT_P2P },
    { UAPI_STATE_STOP, UAPI_STATE_RUNNING, WITHOUT_P2P },
    { UAPI_STATE_PRE_COPY, UAPI_STATE_STOP_COPY, WITHOUT_P2P },
    { UAPI_STATE_RUNNING, UAPI_STATE_PRE_COPY, ALWAYS },
    { UAPI_STATE_PRE_COPY, UAPI_STATE_RUNNING, ALWAYS },
    { UAPI_STATE_STOP, UAPI_STATE_STOP_COPY, ALWAYS },
    { UAPI_STATE_STOP_COPY, UAPI_STATE_STOP, ALWAYS },
    { UAPI_STATE_STOP, UAPI_STATE_RESUMING, ALWAYS },
    { UAPI_STATE_RESUMING, UAPI_STATE_STOP, ALWAYS },
};

static bool has(uint32_t state, unsigned traits)
{
    return state < UAPI_NUM_STATES && (states[state].traits & traits) != 0;
}

const char *state_name(uint32_t state)
{
    return state < UAPI_NUM_STATES ? states[state].name : "?";
}

int state_parse(const char *name)
{
    for (int s = 0; s < UAPI_NUM_STATES; s++)
        if (strcmp(name, states[s].name) == 0)
            return s;
    return -EINVAL;
}

bool state_exists(uint32_t state, bool pre_copy, bool p2p)
{
    if (state >= UAPI_NUM_STATES || (has(state, IS_P2P) && !p2p))
        return false;
    return pre_copy || !has(state, RUNS) || !has(state, SAVES);
}

bool state_runs(uint32_t state)
{
    return has(state, RUNS);
}

bool state_does_dma(uint32_t state)
{
    return has(state, DMA);
}

bool state_saves(uint32_t state)
{
    return has(state, SAVES);
}

/* A session that both ends of a way belong to must go on all along it; else
 * no session may be opened and closed on the way. */
static bool may_step(uint32_t step, uint32_t from, uint32_t to)
{
    if (has(from, SAVES) && has(to, SAVES))
        return has(step, SAVES);
    return step == to || !has(step, SAVES);
}

static bool arc_applies(size_t arc, uint32_t from, bool p2p)
{
    enum arc_when when = arcs[arc].when;

    return arcs[arc].from == from &&
           (when == ALWAYS || (when == WITH_P2P) == p2p);
}

/* Writes the way to @to, found backwards in @before, and its length. */
static int unwind(const uint8_t *before, uint32_t from, uint32_t to,
                  uint32_t path[STATE_PATH_MAX])
{
    int length = 0;
    uint32_t s;

    for (s = to; s != from; s = before[s])
        length++;
    s = to;
    for (int i = length - 1; i >= 0; i--, s = before[s])
        path[i] = s;
    return length;
}

int state_path(uint32_t from, uint32_t to, bool p2p,
               uint32_t path[STATE_PATH_MAX])
{
    uint8_t before[UAPI_NUM_STATES] = { 0 }; /* 0, ERROR: not reached */
    uint32_t queue[UAPI_NUM_STATES] = { from };
    size_t head = 0, tail = 1;

    if (from == to)
        return 0;
    while (head < tail) {
        uint32_t at = queue[head++];

        for (size_t a = 0; a < sizeof(arcs) / sizeof(arcs[0]); a++) {
            uint32_t step = arcs[a].to;

            if (!arc_applies(a, at, p2p) || before[step] != 0 || step == from ||
                !may_step(step, from, to))
                continue;
            before[step] = (uint8_t)at;
            if (step == to)
                return unwind(before, from, to, path);
            queue[tail++] = step;
        }
    }
    return -EINVAL;
}
