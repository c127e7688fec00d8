/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is true of each migration state, and which moves there are.
 *
 * The two tables below are the only place in the library that says so: names,
 * sessions, which optional feature a state needs, and the arcs.  Combined
 * transitions are not written down anywhere; they are walked.
 */
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "device/state.h"

static const struct {
    const char *name;
    enum session session;
    bool runs;
    uint64_t needs; /* VFM_MIGRATION_*: all of them */
} states[] = {
    [VFM_STATE_ERROR] = { "ERROR", SESSION_NONE, false, 0 },
    [VFM_STATE_STOP] = { "STOP", SESSION_NONE, false, 0 },
    [VFM_STATE_RUNNING] = { "RUNNING", SESSION_NONE, true, 0 },
    [VFM_STATE_STOP_COPY] = { "STOP_COPY", SESSION_SAVE, false,
                              VFM_MIGRATION_STOP_COPY },
    [VFM_STATE_RESUMING] = { "RESUMING", SESSION_LOAD, false,
                             VFM_MIGRATION_STOP_COPY },
    [VFM_STATE_RUNNING_P2P] = { "RUNNING_P2P", SESSION_NONE, true,
                                VFM_MIGRATION_P2P },
    [VFM_STATE_PRE_COPY] = { "PRE_COPY", SESSION_SAVE, true,
                             VFM_MIGRATION_PRE_COPY },
    [VFM_STATE_PRE_COPY_P2P] = { "PRE_COPY_P2P", SESSION_SAVE, true,
                                 VFM_MIGRATION_P2P | VFM_MIGRATION_PRE_COPY },
};
_Static_assert(sizeof(states) / sizeof(states[0]) == NUM_STATES,
               "states[] must have a row for every state");

/* The uAPI's direct arcs; those in the second half exist only where the
 * device has no P2P, so that the P2P state between is left out. */
static const struct {
    enum vfm_state from;
    enum vfm_state to;
    bool without_p2p;
} arcs[] = {
    { VFM_STATE_RUNNING_P2P, VFM_STATE_STOP, false },
    { VFM_STATE_STOP_COPY, VFM_STATE_STOP, false },
    { VFM_STATE_RESUMING, VFM_STATE_STOP, false },
    { VFM_STATE_PRE_COPY, VFM_STATE_RUNNING, false },
    { VFM_STATE_RUNNING_P2P, VFM_STATE_RUNNING, false },
    { VFM_STATE_PRE_COPY_P2P, VFM_STATE_RUNNING_P2P, false },
    { VFM_STATE_RUNNING, VFM_STATE_RUNNING_P2P, false },
    { VFM_STATE_STOP, VFM_STATE_RUNNING_P2P, false },
    { VFM_STATE_RUNNING, VFM_STATE_PRE_COPY, false },
    { VFM_STATE_RUNNING_P2P, VFM_STATE_PRE_COPY_P2P, false },
    { VFM_STATE_STOP, VFM_STATE_STOP_COPY, false },
    { VFM_STATE_PRE_COPY, VFM_STATE_PRE_COPY_P2P, false },
    { VFM_STATE_PRE_COPY_P2P, VFM_STATE_PRE_COPY, false },
    { VFM_STATE_PRE_COPY_P2P, VFM_STATE_STOP_COPY, false },
    { VFM_STATE_STOP, VFM_STATE_RESUMING, false },

    { VFM_STATE_RUNNING, VFM_STATE_STOP, true },
    { VFM_STATE_STOP, VFM_STATE_RUNNING, true },
    { VFM_STATE_PRE_COPY, VFM_STATE_STOP_COPY, true },
};
#define NUM_ARCS (sizeof(arcs) / sizeof(arcs[0]))

static bool is_state(enum vfm_state state)
{
    return (unsigned int)state < NUM_STATES;
}

const char *vfm_state_name(enum vfm_state state)
{
    return is_state(state) ? states[state].name : "?";
}

static bool same_name(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        char c = *a == '-' ? '_' : (char)toupper((unsigned char)*a);

        if (c != *b)
            return false;
    }
    return *a == *b;
}

int vfm_state_from_name(const char *name, enum vfm_state *state)
{
    for (unsigned int s = 0; s < NUM_STATES; s++) {
        if (same_name(name, states[s].name)) {
            *state = (enum vfm_state)s;
            return 0;
        }
    }
    return -EINVAL;
}

enum session state_session(enum vfm_state state)
{
    return is_state(state) ? states[state].session : SESSION_NONE;
}

bool state_is_running(enum vfm_state state)
{
    return is_state(state) && states[state].runs;
}

bool state_exists(enum vfm_state state, uint64_t migration)
{
    return is_state(state) && migration != 0 &&
           (migration & states[state].needs) == states[state].needs;
}

static bool arc_exists(size_t arc, uint64_t migration)
{
    if (arcs[arc].without_p2p && (migration & VFM_MIGRATION_P2P) != 0)
        return false;
    return state_exists(arcs[arc].from, migration) &&
           state_exists(arcs[arc].to, migration);
}

/* Whether a path to @to may go through @state, coming from @from.  A saving
 * state inside a path would open a session for nothing; on the way from one
 * saving state to another it continues the one there is. */
static bool may_pass(enum vfm_state from, enum vfm_state state,
                     enum vfm_state to)
{
    if (state == to || state_session(state) != SESSION_SAVE)
        return true;
    return state_session(from) == SESSION_SAVE &&
           state_session(to) == SESSION_SAVE;
}

/* Stores in @distance how many arcs each state is away from @to, NUM_STATES
 * for those that cannot get there. */
static void measure(enum vfm_state to, uint64_t migration,
                    unsigned int distance[NUM_STATES])
{
    for (unsigned int s = 0; s < NUM_STATES; s++)
        distance[s] = NUM_STATES;
    distance[to] = 0;

    for (unsigned int round = 0; round < NUM_STATES; round++) {
        for (size_t arc = 0; arc < NUM_ARCS; arc++) {
            enum vfm_state from = arcs[arc].from;

            if (arc_exists(arc, migration) && distance[arcs[arc].to] == round &&
                distance[from] > round + 1 && may_pass(from, arcs[arc].to, to))
                distance[from] = round + 1;
        }
    }
}

/* "STOP_COPY to PRE_COPY would start saving anew, and is refused." */
static bool is_refused(enum vfm_state from, enum vfm_state to)
{
    if (from == VFM_STATE_ERROR || to == VFM_STATE_ERROR)
        return true;
    return from == VFM_STATE_STOP_COPY &&
           (to == VFM_STATE_PRE_COPY || to == VFM_STATE_PRE_COPY_P2P);
}

enum vfm_state state_next(enum vfm_state from, enum vfm_state to,
                          uint64_t migration)
{
    unsigned int distance[NUM_STATES];

    if (!state_exists(from, migration) || !state_exists(to, migration) ||
        is_refused(from, to))
        return VFM_STATE_ERROR;
    if (from == to)
        return to;

    measure(to, migration, distance);
    for (size_t arc = 0; arc < NUM_ARCS; arc++) {
        if (arcs[arc].from == from && arc_exists(arc, migration) &&
            distance[from] < NUM_STATES &&
            distance[arcs[arc].to] + 1 == distance[from] &&
            may_pass(from, arcs[arc].to, to))
            return arcs[arc].to;
    }
    return VFM_STATE_ERROR;
}
