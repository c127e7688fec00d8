/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same again and again: a device that is moved every day for years.
 *
 * Each check does something many times, and looks at what it costs: descriptors
 * and memory of whoever serves the device, if that is a process that we may
 * look at; and our own descriptors in any case, which a driver of the kernel
 * gives us.
 */
#include <errno.h>
#include <unistd.h>

#include "check/groups.h"
#include "check/loading.h"
#include "check/process.h"
#include "check/steps.h"

#define TIMES              1000
#define LESS               250 /* of what is slow */
/* What is large is done less often: so many bytes are enough. */
#define BYTES_MAX          (UINT64_C(32) << 20)
#define TIMES_MIN          24
/* Until everybody has what he keeps for later. */
#define WARM_UP            8
/* What may be lost at each time, on average, and by chance. */
#define LOST_EACH          512
#define LOST_ANYHOW        (UINT64_C(1) << 20)
/* A single lost one is noise: somebody opened a file. */
#define DESCRIPTORS_ANYHOW 2

typedef int once_fn(struct run *r);

struct repeat {
    once_fn *once;
    unsigned int times;
    bool moves_state; /* each time costs as much as the state is large */
};

struct both {
    struct process_usage own;
    struct process_usage server;
    bool has_server;
};

static void measure(struct run *r, struct both *b)
{
    pid_t pid = raw_peer(r->raw);

    *b = (struct both){ .has_server = false };
    process_measure(getpid(), &b->own);
    if (pid > 0 && pid != getpid())
        b->has_server = process_measure(pid, &b->server) == 0;
}

static int compare(struct run *r, const char *whose,
                   const struct process_usage *before,
                   const struct process_usage *after, unsigned int times)
{
    uint64_t allowed = LOST_ANYHOW + (uint64_t)times * LOST_EACH;

    if (after->descriptors > before->descriptors + DESCRIPTORS_ANYHOW)
        return check_fail(r,
                          "%s has %llu descriptors after %u times, and had "
                          "%llu before",
                          whose, (unsigned long long)after->descriptors, times,
                          (unsigned long long)before->descriptors);
    if (!after->hoards && after->memory > before->memory + allowed)
        return check_fail(r,
                          "%s has %llu KiB of memory after %u times, and "
                          "had %llu before",
                          whose, (unsigned long long)after->memory >> 10, times,
                          (unsigned long long)before->memory >> 10);
    return 0;
}

static unsigned int how_often(const struct run *r, const struct repeat *repeat)
{
    uint64_t times = BYTES_MAX / (r->image.size + 1);

    if (!repeat->moves_state || times > repeat->times)
        return repeat->times;
    return times < TIMES_MIN ? TIMES_MIN : (unsigned int)times;
}

static int again(struct run *r, const struct repeat *repeat, unsigned int times)
{
    for (unsigned int i = 0; i < times; i++) {
        if (repeat->once(r) != 0)
            return CHECK_OVER;
        run_close_session(r);
    }
    return 0;
}

static int run_repeat(struct run *r, const void *arg)
{
    const struct repeat *repeat = arg;
    struct both before, after;
    unsigned int times;

    if (step_have_image(r) != 0)
        return CHECK_OVER;
    times = how_often(r, repeat);
    if (again(r, repeat, WARM_UP) != 0)
        return CHECK_OVER;
    measure(r, &before);
    if (again(r, repeat, times) != 0)
        return CHECK_OVER;
    measure(r, &after);
    if (compare(r, "vfmig", &before.own, &after.own, times) != 0)
        return CHECK_OVER;
    if (!before.has_server || !after.has_server)
        return 0;
    return compare(r, "the server", &before.server, &after.server, times);
}

static int save(struct run *r)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    if (step_set(r, UAPI_STATE_STOP_COPY) == 0 &&
        step_read_all(r, &image, 0) == 0)
        ret = step_set(r, UAPI_STATE_RUNNING);
    image_free(&image);
    return ret;
}

static int load(struct run *r)
{
    if (step_set(r, UAPI_STATE_RESUMING) != 0 ||
        step_write(r, r->image.data, r->image.size, 0) != 0)
        return CHECK_OVER;
    return step_set(r, UAPI_STATE_RUNNING);
}

static int save_and_load(struct run *r)
{
    return save(r) != 0 ? CHECK_OVER : load(r);
}

/* The session is left with little or nothing of it read. */
static int give_up_save(struct run *r)
{
    uint8_t buf[512];

    if (step_set(r, UAPI_STATE_STOP_COPY) != 0)
        return CHECK_OVER;
    if (raw_read(r->raw, r->fd, buf, sizeof(buf)) < 0)
        return check_fail(r, "a read in STOP_COPY is refused");
    return step_set(r, UAPI_STATE_RUNNING);
}

static int give_up_precopy(struct run *r)
{
    uint8_t buf[512];
    ssize_t n;

    if (step_set(r, UAPI_STATE_PRE_COPY) != 0)
        return CHECK_OVER;
    n = raw_read(r->raw, r->fd, buf, sizeof(buf));
    if (n < 0 && n != -ENOMSG)
        return check_fail(r, "a read in PRE_COPY gives %s", step_errno((int)n));
    return step_set(r, UAPI_STATE_RUNNING);
}

static int fail_to_load(struct run *r)
{
    const size_t some = r->image.size < 2048 ? r->image.size / 2 : 1024;

    if (loading_refused(r, &(const struct load_part){ r->image.data, some }, 1,
                        "the beginning of a state") != 0)
        return CHECK_OVER;
    return loading_recover(r);
}

static int reset(struct run *r)
{
    int ret = raw_reset(r->raw);

    return ret < 0
               ? check_fail(r, "a reset in RUNNING gives %s", step_errno(ret))
               : 0;
}

static int stop_and_go(struct run *r)
{
    if (step_set(r, UAPI_STATE_STOP) != 0)
        return CHECK_OVER;
    return step_set(r, UAPI_STATE_RUNNING);
}

static int come_back(struct run *r)
{
    struct vfm_error err;

    if (raw_reopen(r->raw, &err) < 0)
        return check_fail(r, "it cannot be opened again: %s", err.message);
    return 0;
}

/* In the middle of a save, as a program that dies. */
static int come_back_saving(struct run *r)
{
    uint32_t state;

    if (give_up_save(r) != 0 || step_set(r, UAPI_STATE_STOP_COPY) != 0)
        return CHECK_OVER;
    run_close_session(r);
    if (come_back(r) != 0)
        return CHECK_OVER;
    if (raw_get_state(r->raw, &state) < 0)
        return check_fail(r, "a device that was opened again does not say in "
                             "which state it is");
    return state == UAPI_STATE_RUNNING ? 0 : step_set(r, UAPI_STATE_RUNNING);
}

#define LEAK_RULE                                                         \
    " costs nothing that is not given back (docs/vfio-uapi.md: closing, " \
    "leaving and ending a session harm nothing)"
#define LEAK_LOOK                                                            \
    "what is allocated or opened when a session begins: each way out of it " \
    "has to give it back, those after an error too"

#define REPEAT(name_, what_, needs_, once_, times_, moves_)             \
    {                                                                   \
        .name = name_, .severity = CHECK_MUST, .rule = what_ LEAK_RULE, \
        .look = LEAK_LOOK, .needs = needs_, .run = run_repeat,          \
        .timeout_ms = 120000, .arg = &(const struct repeat)             \
        {                                                               \
            once_, times_, moves_                                       \
        }                                                               \
    }

const struct check checks_repeats[] = {
    REPEAT("repeat-save", "A save", 0, save, TIMES, true),
    REPEAT("repeat-load", "A load", 0, load, TIMES, true),
    REPEAT("repeat-save-and-load", "A save and a load", 0, save_and_load, LESS,
           true),
    REPEAT("repeat-save-given-up", "A save that is given up", 0, give_up_save,
           TIMES, false),
    REPEAT("repeat-PRE_COPY-given-up", "A PRE_COPY that is given up",
           NEEDS_PRE_COPY, give_up_precopy, LESS, false),
    REPEAT("repeat-load-refused", "A load that is refused", NEEDS_RESET,
           fail_to_load, LESS, false),
    REPEAT("repeat-reset", "A reset", NEEDS_RESET, reset, LESS, false),
    REPEAT("repeat-STOP-and-RUNNING", "A stop", 0, stop_and_go, LESS, false),
    REPEAT("repeat-opening", "A client that comes and goes", 0, come_back, LESS,
           false),
    REPEAT("repeat-opening-while-saving", "A client that dies in STOP_COPY", 0,
           come_back_saving, LESS, false),
    { .name = NULL },
};
