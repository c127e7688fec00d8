/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long things take.  Figures, more than checks: what counts as too long is
 * only what no migration would stand.
 */
#include <stdlib.h>

#include <vfmig/device.h>

#include "check/groups.h"
#include "check/model.h"
#include "check/steps.h"
#include "util/clock.h"

#define ROUNDS   7
/* What nobody stands while his machine is stopped. */
#define TOO_LONG (2 * NS_PER_SEC)

struct arc {
    uint32_t from;
    uint32_t to;
};

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int tell(struct run *r, int64_t ns[ROUNDS])
{
    qsort(ns, ROUNDS, sizeof(ns[0]), by_size);
    check_add_figure(r, "median", (uint64_t)ns[ROUNDS / 2]);
    check_add_figure(r, "worst", (uint64_t)ns[ROUNDS - 1]);
    if (ns[ROUNDS - 1] > TOO_LONG)
        return check_fail(r, "it took up to %.1f s",
                          (double)ns[ROUNDS - 1] / (double)NS_PER_SEC);
    return 0;
}

static int go_to_start(struct run *r, const struct arc *arc)
{
    if (arc->from != UAPI_STATE_RESUMING)
        return step_go(r, arc->from);
    /* From STOP: what was loaded before may be the end of a round. */
    return step_go(r, UAPI_STATE_STOP) != 0 ? CHECK_OVER
                                            : step_load_open(r, &r->image);
}

/* Only the request: what is asked before and after it is not. */
static int time_arc(struct run *r, const struct arc *arc, int64_t *ns)
{
    int64_t start;
    int ret;

    if (go_to_start(r, arc) != 0)
        return CHECK_OVER;
    start = clock_now();
    ret = step_try(r, arc->to);
    *ns = clock_now() - start;
    if (ret < 0)
        return check_fail(r, "%s -> %s: the device says %s",
                          step_state_name(arc->from), step_state_name(arc->to),
                          step_errno(ret));
    if (step_expect_state(r, arc->to) != 0)
        return CHECK_OVER;
    return run_bring_back(r) != 0 ? check_fail(r, "%s", r->lost) : 0;
}

static int run_arc(struct run *r, const void *arg)
{
    const struct arc *arc = arg;
    int64_t ns[ROUNDS];

    if (!model_is_arc((enum vfm_state)arc->from, (enum vfm_state)arc->to,
                      r->migration))
        return check_skip(r, "the device has no such step");
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    for (int i = 0; i < ROUNDS; i++)
        if (time_arc(r, arc, &ns[i]) != 0)
            return CHECK_OVER;
    return tell(r, ns);
}

static int run_reset(struct run *r, const void *arg)
{
    int64_t ns[ROUNDS];

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = clock_now();
        int ret = raw_reset(r->raw);

        if (ret < 0)
            return check_fail(r, "a reset in RUNNING gives %s",
                              step_errno(ret));
        ns[i] = clock_now() - start;
    }
    return tell(r, ns);
}

static int run_get(struct run *r, const void *arg)
{
    int64_t ns[ROUNDS];

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = clock_now();

        if (step_expect_state(r, UAPI_STATE_RUNNING) != 0)
            return CHECK_OVER;
        ns[i] = clock_now() - start;
    }
    return tell(r, ns);
}

/* From RUNNING to RUNNING: what a machine would stand still for, were there no
 * network and no other host. */
static int run_whole(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int64_t start = clock_now();
    int64_t saved;
    int64_t loaded;
    int ret = step_save(r, &image);

    (void)arg;
    saved = clock_now();
    if (ret == 0)
        ret = step_load(r, &image);
    loaded = clock_now();
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_RUNNING);
    if (ret == 0) {
        check_add_figure(r, "save", (uint64_t)(saved - start));
        check_add_figure(r, "load", (uint64_t)(loaded - saved));
        check_add_figure(r, "both", (uint64_t)(clock_now() - start));
    }
    image_free(&image);
    return ret;
}

#define ARC(from_, to_)                                                   \
    {                                                                     \
        .name = "time-" #from_ "-to-" #to_, .severity = CHECK_QUIRK,      \
        .rule = "A machine stands still while its devices go from one "   \
                "state to another",                                       \
        .look = "what the driver waits for on this step", .run = run_arc, \
        .timeout_ms = 120000, .arg = &(const struct arc)                  \
        {                                                                 \
            UAPI_STATE_##from_, UAPI_STATE_##to_                          \
        }                                                                 \
    }

const struct check checks_timing[] = {
    ARC(RUNNING, RUNNING_P2P),
    ARC(RUNNING_P2P, RUNNING),
    ARC(RUNNING_P2P, STOP),
    ARC(STOP, RUNNING_P2P),
    ARC(RUNNING, STOP),
    ARC(STOP, RUNNING),
    ARC(STOP, STOP_COPY),
    ARC(STOP_COPY, STOP),
    ARC(STOP, RESUMING),
    ARC(RESUMING, STOP),
    ARC(RUNNING, PRE_COPY),
    ARC(PRE_COPY, RUNNING),
    ARC(RUNNING_P2P, PRE_COPY_P2P),
    ARC(PRE_COPY_P2P, RUNNING_P2P),
    ARC(PRE_COPY, PRE_COPY_P2P),
    ARC(PRE_COPY_P2P, PRE_COPY),
    ARC(PRE_COPY_P2P, STOP_COPY),
    ARC(PRE_COPY, STOP_COPY),
    { .name = "time-GET-of-the-state",
      .severity = CHECK_QUIRK,
      .rule = "The state is asked for again and again",
      .look = "what the answer waits for",
      .run = run_get },
    { .name = "time-reset",
      .severity = CHECK_QUIRK,
      .rule = "A machine stands still while its device is reset",
      .look = "what a reset waits for",
      .needs = NEEDS_RESET,
      .run = run_reset,
      .timeout_ms = 120000 },
    { .name = "time-save-and-load",
      .severity = CHECK_QUIRK,
      .rule = "What is saved in STOP_COPY is downtime",
      .look = "how much of the state can be given in PRE_COPY",
      .run = run_whole,
      .timeout_ms = 600000 },
    { .name = NULL },
};
