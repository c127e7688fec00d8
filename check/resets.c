/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reset in every state: what a migration that failed does to both devices.
 *
 * What a reset makes of registers and memory is registers.c's, who asks a
 * driver.
 */
#include <errno.h>

#include <vfmig/device.h>

#include "check/groups.h"
#include "check/habits.h"
#include "check/model.h"
#include "check/steps.h"

/* The beginning of a session: enough to be in the middle of it. */
#define SOME 1000

/* Uses the session of the state that the device is in. */
static int use_session(struct run *r, uint32_t state)
{
    uint8_t buf[SOME];
    ssize_t n;

    if (state == UAPI_STATE_RESUMING)
        return step_write(r, r->image.data, r->image.size / 2 + 1, 0);
    if (!model_saves((enum vfm_state)state))
        return 0;
    n = raw_read(r->raw, r->fd, buf, sizeof(buf));
    if (n < 0 && n != -ENOMSG)
        return check_fail(r, "a read in %s gave %s", step_state_name(state),
                          step_errno((int)n));
    return 0;
}

static int go_and_use(struct run *r, uint32_t state)
{
    if (!model_has((enum vfm_state)state, r->migration))
        return check_skip(r, "the device has no %s", step_state_name(state));
    if (step_have_image(r) != 0 || step_go(r, state) != 0)
        return CHECK_OVER;
    return use_session(r, state);
}

/* Resets, and expects RUNNING. */
static int reset(struct run *r, uint32_t from)
{
    uint32_t now;
    int ret = raw_reset(r->raw);

    if (ret < 0 && habit_is_libvfio_user(r))
        return check_found(r,
                           "the server refuses to reset in %s, so that whoever "
                           "moves the device has to load it to get it back",
                           step_state_name(from));
    if (ret < 0)
        return check_fail(r, "a reset in %s gives %s", step_state_name(from),
                          step_errno(ret));
    if (from != UAPI_STATE_RUNNING && raw_get_state(r->raw, &now) == 0 &&
        now == from && habit_is_libvfio_user(r))
        return check_found(r, "the server keeps the state %s over a reset",
                           step_state_name(from));
    return step_expect_state(r, UAPI_STATE_RUNNING);
}

static int run_reset(struct run *r, const void *arg)
{
    uint32_t state = *(const uint32_t *)arg;

    if (go_and_use(r, state) != 0)
        return CHECK_OVER;
    return reset(r, state);
}

/* A load that is cut off is how a device gets into ERROR. */
static int run_reset_in_error(struct run *r, const void *arg)
{
    uint32_t state;

    (void)arg;
    if (go_and_use(r, UAPI_STATE_RESUMING) != 0)
        return CHECK_OVER;
    step_try(r, UAPI_STATE_STOP);
    if (raw_get_state(r->raw, &state) < 0 || state != UAPI_STATE_ERROR)
        return check_skip(r, "half a state does not lead to ERROR");
    return reset(r, UAPI_STATE_ERROR);
}

/* The session's descriptor, or where there is none the command, is refused. */
static int run_session_ends(struct run *r, const void *arg)
{
    uint32_t state = *(const uint32_t *)arg;
    uint8_t buf[SOME] = { 0 };
    ssize_t n;

    if (go_and_use(r, state) != 0 || reset(r, state) != 0)
        return CHECK_OVER;
    n = state == UAPI_STATE_RESUMING
            ? raw_write(r->raw, r->fd, buf, sizeof(buf))
            : raw_read(r->raw, r->fd, buf, sizeof(buf));
    if (n >= 0)
        return check_fail(r,
                          "after a reset in %s the session goes on: a %s gave "
                          "%zd bytes",
                          step_state_name(state),
                          state == UAPI_STATE_RESUMING ? "write" : "read", n);
    return step_expect_state(r, UAPI_STATE_RUNNING);
}

/* The next save begins at the beginning and ends at the end. */
static int run_save_after(struct run *r, const void *arg)
{
    uint32_t state = *(const uint32_t *)arg;
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    if (go_and_use(r, state) != 0 || reset(r, state) != 0)
        return CHECK_OVER;
    run_close_session(r);
    if (step_save(r, &image) == 0 && step_load(r, &image) == 0)
        ret = step_go(r, UAPI_STATE_RUNNING);
    image_free(&image);
    return ret;
}

/* Saves, loads, and is reset, without RUNNING in between. */
static int run_many(struct run *r, const void *arg)
{
    static const uint32_t states[] = { UAPI_STATE_STOP_COPY,
                                       UAPI_STATE_RESUMING, UAPI_STATE_STOP };

    (void)arg;
    for (unsigned int i = 0; i < 30; i++) {
        uint32_t state = states[i % 3];

        if (go_and_use(r, state) != 0 || reset(r, state) != 0)
            return CHECK_OVER;
        run_close_session(r);
    }
    return 0;
}

static const uint32_t in_stop = UAPI_STATE_STOP;
static const uint32_t in_running = UAPI_STATE_RUNNING;
static const uint32_t in_stop_copy = UAPI_STATE_STOP_COPY;
static const uint32_t in_resuming = UAPI_STATE_RESUMING;
static const uint32_t in_running_p2p = UAPI_STATE_RUNNING_P2P;
static const uint32_t in_pre_copy = UAPI_STATE_PRE_COPY;
static const uint32_t in_pre_copy_p2p = UAPI_STATE_PRE_COPY_P2P;

#define RESET_RULE \
    " (linux/vfio.h, VFIO_DEVICE_RESET and VFIO_DEVICE_STATE_ERROR)"
#define RESET_LOOK                                                        \
    "the driver's reset handler: it has to set the state to RUNNING and " \
    "to end the sessions, under the lock of the state"

#define RESET(name_, what_, run_, state_)                                \
    {                                                                    \
        .name = name_, .severity = CHECK_MUST, .rule = what_ RESET_RULE, \
        .look = RESET_LOOK, .needs = NEEDS_RESET, .run = run_,           \
        .arg = &(state_)                                                 \
    }

#define RUNS "A reset leads to RUNNING from every state"
#define ENDS "A reset ends the session; its descriptor is dead"
#define SAVE "After a reset the device can be saved and loaded"

const struct check checks_resets[] = {
    RESET("reset-in-RUNNING", RUNS, run_reset, in_running),
    RESET("reset-in-STOP", RUNS, run_reset, in_stop),
    RESET("reset-in-STOP_COPY", RUNS, run_reset, in_stop_copy),
    RESET("reset-in-RESUMING", RUNS, run_reset, in_resuming),
    RESET("reset-in-RUNNING_P2P", RUNS, run_reset, in_running_p2p),
    RESET("reset-in-PRE_COPY", RUNS, run_reset, in_pre_copy),
    RESET("reset-in-PRE_COPY_P2P", RUNS, run_reset, in_pre_copy_p2p),
    { .name = "reset-in-ERROR",
      .severity = CHECK_MUST,
      .rule = RUNS ", from ERROR too, which nothing else leaves" RESET_RULE,
      .look = RESET_LOOK,
      .needs = NEEDS_RESET,
      .run = run_reset_in_error },
    RESET("reset-ends-STOP_COPY", ENDS, run_session_ends, in_stop_copy),
    RESET("reset-ends-RESUMING", ENDS, run_session_ends, in_resuming),
    RESET("reset-ends-PRE_COPY", ENDS, run_session_ends, in_pre_copy),
    RESET("reset-ends-PRE_COPY_P2P", ENDS, run_session_ends, in_pre_copy_p2p),
    RESET("reset-then-save-after-RUNNING", SAVE, run_save_after, in_running),
    RESET("reset-then-save-after-STOP_COPY", SAVE, run_save_after,
          in_stop_copy),
    RESET("reset-then-save-after-RESUMING", SAVE, run_save_after, in_resuming),
    RESET("reset-then-save-after-PRE_COPY", SAVE, run_save_after, in_pre_copy),
    { .name = "reset-many-times",
      .severity = CHECK_MUST,
      .rule = RUNS ", however often" RESET_RULE,
      .look = RESET_LOOK,
      .needs = NEEDS_RESET,
      .run = run_many,
      .timeout_ms = 60000 },
    { .name = NULL },
};
