/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every pair of states, against the model: who can go from where to where in
 * one request, where he is afterwards, and whether a session came of it.
 *
 * What is in a session is sessions.c's.
 */
#include <errno.h>

#include <vfmig/device.h>

#include "check/groups.h"
#include "check/model.h"
#include "check/steps.h"

struct pair {
    uint32_t from;
    uint32_t to;
};

static bool has_session(uint32_t state)
{
    return state == UAPI_STATE_RESUMING || model_saves((enum vfm_state)state);
}

/* "A data fd comes back on entering a session's states from one without", and
 * a saving session is one, from PRE_COPY to the end of STOP_COPY. */
static bool opens_session(const struct pair *p)
{
    if (p->from == p->to || !has_session(p->to))
        return false;
    return !(model_saves((enum vfm_state)p->from) &&
             model_saves((enum vfm_state)p->to));
}

/* RESUMING is only left well with a state that is whole. */
static int go_to_start(struct run *r, const struct pair *p)
{
    if (p->from != UAPI_STATE_RESUMING && p->to != UAPI_STATE_RESUMING)
        return step_go(r, p->from);
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    return p->from == UAPI_STATE_RESUMING ? step_load_open(r, &r->image)
                                          : step_go(r, p->from);
}

static int check_descriptor(struct run *r, const struct pair *p, int fd)
{
    bool wanted = opens_session(p);

    if (!r->raw->has_descriptors || wanted == (fd >= 0))
        return 0;
    return check_fail(r, "%s -> %s gave %s", step_state_name(p->from),
                      step_state_name(p->to),
                      wanted ? "no descriptor for the session that it opens"
                             : "a descriptor although it opens no session");
}

/* A refusal: the device says so and stays where it was. */
static int check_refused(struct run *r, const struct pair *p, int ret)
{
    if (ret == 0)
        return check_fail(r,
                          "%s -> %s went well and has to be refused with "
                          "EINVAL",
                          step_state_name(p->from), step_state_name(p->to));
    if (ret != -EINVAL && r->raw->has_descriptors)
        return check_fail(r, "%s -> %s is refused with %s and not EINVAL",
                          step_state_name(p->from), step_state_name(p->to),
                          step_errno(ret));
    return step_expect_state(r, p->from);
}

static int check_done(struct run *r, const struct pair *p, int ret, int fd)
{
    if (ret < 0)
        return check_fail(r, "%s -> %s: the device says %s",
                          step_state_name(p->from), step_state_name(p->to),
                          step_errno(ret));
    if (check_descriptor(r, p, fd) != 0)
        return CHECK_OVER;
    return step_expect_state(r, p->to);
}

static int run_pair(struct run *r, const void *arg)
{
    const struct pair *p = arg;
    struct model_path path;
    int before;
    int ret;

    if (!model_has((enum vfm_state)p->from, r->migration))
        return check_skip(r, "the device has no %s", step_state_name(p->from));
    if (p->from == UAPI_STATE_ERROR)
        return check_skip(r, "no device goes to ERROR on request");
    if (go_to_start(r, p) != 0)
        return CHECK_OVER;
    before = r->fd;
    ret = step_try(r, p->to);
    if (!model_find_path((enum vfm_state)p->from, (enum vfm_state)p->to,
                         r->migration, &path))
        return check_refused(r, p, ret);
    return check_done(r, p, ret, r->fd != before ? r->fd : -1);
}

/* Numbers that stand for no state. */
static int run_no_state(struct run *r, const void *arg)
{
    static const uint32_t none[] = { 8, 9, 255, 0x10002, UINT32_MAX };

    (void)arg;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        int ret = step_try(r, none[i]);

        if (ret == 0)
            return check_fail(r, "state %u was accepted", none[i]);
        if (step_expect_state(r, UAPI_STATE_RUNNING) != 0)
            return CHECK_OVER;
    }
    return 0;
}

/* Nothing is asked of it, and it stays. */
static int run_stays(struct run *r, const void *arg)
{
    static const uint32_t states[] = { UAPI_STATE_STOP, UAPI_STATE_STOP_COPY,
                                       UAPI_STATE_STOP, UAPI_STATE_RESUMING };

    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (step_go(r, states[i]) != 0)
            return CHECK_OVER;
        for (int n = 0; n < 10; n++)
            if (step_expect_state(r, states[i]) != 0)
                return CHECK_OVER;
    }
    return 0;
}

/* Once around, many times over, as a device is moved from host to host. */
static int run_round(struct run *r, const void *arg)
{
    (void)arg;
    for (int n = 0; n < 20; n++)
        if (step_set(r, UAPI_STATE_STOP) != 0 ||
            step_set(r, UAPI_STATE_RUNNING) != 0)
            return CHECK_OVER;
    return 0;
}

#define PAIR_LOOK                                                          \
    "the driver's state function: every arc of the table in linux/vfio.h " \
    "has to be there, and what vfio_mig_get_next_state() refuses has to "  \
    "fail before anything is changed"

#define PAIR(from_, to_)                                                     \
    {                                                                        \
        .name = "state-" #from_ "-to-" #to_, .severity = CHECK_MUST,         \
        .rule = "A device goes from one state to any other that it has, by " \
                "the shortest path that passes through no saving state; "    \
                "STOP_COPY to PRE_COPY, anything to ERROR and states that "  \
                "it has not are refused, and it stays (linux/vfio.h, "       \
                "vfio_device_mig_state)",                                    \
        .look = PAIR_LOOK, .run = run_pair, .arg = &(const struct pair)      \
        {                                                                    \
            UAPI_STATE_##from_, UAPI_STATE_##to_                             \
        }                                                                    \
    }

#define PAIRS(from)                                                           \
    PAIR(from, ERROR), PAIR(from, STOP), PAIR(from, RUNNING),                 \
        PAIR(from, STOP_COPY), PAIR(from, RESUMING), PAIR(from, RUNNING_P2P), \
        PAIR(from, PRE_COPY), PAIR(from, PRE_COPY_P2P)

const struct check checks_states[] = {
    PAIRS(ERROR),
    PAIRS(STOP),
    PAIRS(RUNNING),
    PAIRS(STOP_COPY),
    PAIRS(RESUMING),
    PAIRS(RUNNING_P2P),
    PAIRS(PRE_COPY),
    PAIRS(PRE_COPY_P2P),
    { .name = "state-number-unknown",
      .severity = CHECK_MUST,
      .rule = "There are eight states; a number that stands for none is "
              "refused, and the device stays (linux/vfio.h, "
              "vfio_device_mig_state)",
      .look = "the range check of device_state, before it is an index",
      .run = run_no_state },
    { .name = "state-stays-without-a-request",
      .severity = CHECK_MUST,
      .rule = "The driver never changes the state on its own, except into "
              "ERROR (linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)",
      .look = "timers and completions that write the state",
      .run = run_stays },
    { .name = "state-STOP-and-RUNNING-repeated",
      .severity = CHECK_MUST,
      .rule = "A device that was stopped runs again (linux/vfio.h: RUNNING "
              "to STOP and back are transitions like others)",
      .look = "what stopping frees and running needs",
      .run = run_round },
    { .name = NULL },
};
