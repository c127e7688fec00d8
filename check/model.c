/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every simple path is walked, and the shortest of those that the rules allow
 * is taken: slow, and nothing like what the library does.
 */
#include <stddef.h>

#include "check/model.h"

#define ERROR   VFM_STATE_ERROR
#define STOP    VFM_STATE_STOP
#define RUN     VFM_STATE_RUNNING
#define COPY    VFM_STATE_STOP_COPY
#define RESUME  VFM_STATE_RESUMING
#define RUN_P2P VFM_STATE_RUNNING_P2P
#define PRE     VFM_STATE_PRE_COPY
#define PRE_P2P VFM_STATE_PRE_COPY_P2P

struct arc {
    enum vfm_state from;
    enum vfm_state to;
};

/* The uAPI's list, in its order. */
static const struct arc direct[] = {
    { RUN_P2P, STOP },    { COPY, STOP },    { RESUME, STOP },
    { PRE, RUN },         { RUN_P2P, RUN },  { PRE_P2P, RUN_P2P },
    { RUN, RUN_P2P },     { STOP, RUN_P2P }, { RUN, PRE },
    { RUN_P2P, PRE_P2P }, { STOP, COPY },    { PRE, PRE_P2P },
    { PRE_P2P, PRE },     { PRE_P2P, COPY }, { STOP, RESUME },
};

/* "P2P states skipped where the device has none." */
static const struct arc without_p2p[] = {
    { RUN, STOP },
    { STOP, RUN },
    { PRE, COPY },
};

bool model_saves(enum vfm_state state)
{
    return state == COPY || state == PRE || state == PRE_P2P;
}

bool model_runs(enum vfm_state state)
{
    return state == RUN || state == RUN_P2P || state == PRE || state == PRE_P2P;
}

bool model_has(enum vfm_state state, uint64_t migration)
{
    bool p2p = (migration & VFM_MIGRATION_P2P) != 0;
    bool pre_copy = (migration & VFM_MIGRATION_PRE_COPY) != 0;

    if (state == RUN_P2P)
        return p2p;
    if (state == PRE)
        return pre_copy;
    return state != PRE_P2P || (p2p && pre_copy);
}

static bool is_among(const struct arc *arcs, size_t n, enum vfm_state from,
                     enum vfm_state to)
{
    for (size_t i = 0; i < n; i++)
        if (arcs[i].from == from && arcs[i].to == to)
            return true;
    return false;
}

bool model_is_arc(enum vfm_state from, enum vfm_state to, uint64_t migration)
{
    if (!model_has(from, migration) || !model_has(to, migration))
        return false;
    if (is_among(direct, sizeof(direct) / sizeof(direct[0]), from, to))
        return true;
    return (migration & VFM_MIGRATION_P2P) == 0 &&
           is_among(without_p2p, sizeof(without_p2p) / sizeof(without_p2p[0]),
                    from, to);
}

/* A saving state is no interior step, unless the path stays within them. */
static bool is_allowed(enum vfm_state from, const struct model_path *path)
{
    bool inside = false;
    bool all = model_saves(from);

    for (unsigned int i = 0; i < path->len; i++) {
        all = all && model_saves(path->steps[i]);
        if (i + 1 < path->len && model_saves(path->steps[i]))
            inside = true;
    }
    return all || !inside;
}

static bool was_passed(enum vfm_state from, const struct model_path *path,
                       enum vfm_state state)
{
    for (unsigned int i = 0; i < path->len; i++)
        if (path->steps[i] == state)
            return true;
    return from == state;
}

static void keep_shorter(const struct model_path *walked,
                         struct model_path *best)
{
    unsigned int ways = 1;

    if (best->len > 0 && walked->len > best->len)
        return;
    if (best->len == walked->len)
        ways = best->ways + 1;
    *best = *walked;
    best->ways = ways;
}

static void walk(enum vfm_state from, enum vfm_state at, enum vfm_state to,
                 uint64_t migration, struct model_path *walked,
                 struct model_path *best)
{
    for (unsigned int s = 0; s < MODEL_STATES; s++) {
        enum vfm_state next = (enum vfm_state)s;

        if (!model_is_arc(at, next, migration) ||
            was_passed(from, walked, next))
            continue;
        walked->steps[walked->len++] = next;
        if (next != to)
            walk(from, next, to, migration, walked, best);
        else if (is_allowed(from, walked))
            keep_shorter(walked, best);
        walked->len--;
    }
}

bool model_find_path(enum vfm_state from, enum vfm_state to, uint64_t migration,
                     struct model_path *path)
{
    struct model_path walked = { .len = 0 };

    *path = (struct model_path){ .len = 0 };
    if (from == ERROR || to == ERROR || !model_has(from, migration) ||
        !model_has(to, migration))
        return false;
    if (from == COPY && (to == PRE || to == PRE_P2P))
        return false;
    if (from == to)
        return true;
    walk(from, from, to, migration, &walked, path);
    return path->len > 0;
}
