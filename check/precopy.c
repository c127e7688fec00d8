/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * PRE_COPY: a session that begins while the device runs and ends after it
 * stopped, and goes to the target as one.
 *
 * What the device says of how much is left is estimates.c's.
 */
#include <errno.h>

#include "check/groups.h"
#include "check/steps.h"

/* What is read of a device that never comes to an end in PRE_COPY. */
#define ENOUGH ((size_t)256 << 20)
#define ALL    SIZE_MAX

/* How much of PRE_COPY is read, and by which states the device then goes. */
struct walk {
    size_t bytes; /* ALL: until nothing comes */
    uint32_t states[4];
    size_t num_states;
};

static int read_some(struct run *r, struct image *image, size_t bytes)
{
    if (bytes == 0)
        return 0;
    return step_read_precopy(r, image, bytes < ENOUGH ? bytes : ENOUGH);
}

/* Reads in each state that saves and runs on the way to STOP_COPY. */
static int walk(struct run *r, const struct walk *w, struct image *image)
{
    if (step_go(r, w->states[0]) != 0 || read_some(r, image, w->bytes) != 0)
        return CHECK_OVER;
    for (size_t i = 1; i < w->num_states; i++)
        if (step_set(r, w->states[i]) != 0 ||
            read_some(r, image, w->bytes) != 0)
            return CHECK_OVER;
    if (step_set(r, UAPI_STATE_STOP_COPY) != 0)
        return CHECK_OVER;
    return step_read_all(r, image, 0);
}

/* The parts make one state, which the device takes back. */
static int run_walk(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = step_have_image(r);

    if (ret == 0)
        ret = walk(r, arg, &image);
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_STOP);
    if (ret == 0)
        ret = step_load(r, &image);
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_RUNNING);
    image_free(&image);
    return ret;
}

/* What is the end for now: ENOMSG; vfio-user's text has no word for it. */
static int judge_end(struct run *r, ssize_t n)
{
    if (n > 0 && r->is_never_done)
        return check_fail(r, "reads in PRE_COPY do not come to an end, and "
                             "nobody changes anything in the device");
    if (n == -ENOMSG || n > 0)
        return 0;
    if (n < 0)
        return check_fail(r, "a read with nothing to give in PRE_COPY gave %s",
                          step_errno((int)n));
    if (r->raw->has_descriptors)
        return check_found(r, "a read with nothing to give in PRE_COPY gave 0 "
                              "and not ENOMSG; clients take 0 for it as long "
                              "as the device is in PRE_COPY, and cannot tell "
                              "it from an end");
    return 0;
}

static int run_end(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    uint8_t buf[4096];
    int ret = step_go(r, *(const uint32_t *)arg);

    if (ret == 0)
        ret = step_read_precopy(r, &image, ENOUGH);
    for (int i = 0; ret == 0 && i < 10; i++)
        ret = judge_end(r, raw_read(r->raw, r->fd, buf, sizeof(buf)));
    if (ret == 0)
        ret = step_expect_state(r, *(const uint32_t *)arg);
    image_free(&image);
    return ret;
}

/* Given up: nothing of it remains, and what is saved afterwards is whole. */
static int run_given_up(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = step_have_image(r);

    if (ret == 0)
        ret = step_go(r, UAPI_STATE_PRE_COPY);
    if (ret == 0)
        ret = read_some(r, &image, *(const size_t *)arg);
    if (ret == 0)
        ret = step_set(r, UAPI_STATE_RUNNING);
    image.size = 0;
    if (ret == 0)
        ret = step_save(r, &image);
    if (ret == 0)
        ret = step_load(r, &image);
    image_free(&image);
    return ret;
}

/* Over and over, as a migration that is tried again. */
static int run_again(struct run *r, const void *arg)
{
    static const struct walk all = { ALL, { UAPI_STATE_PRE_COPY }, 1 };
    int ret = 0;

    (void)arg;
    for (int i = 0; ret == 0 && i < 5; i++) {
        struct image image = { .data = NULL };

        ret = walk(r, &all, &image);
        if (ret == 0)
            ret = step_go(r, UAPI_STATE_RUNNING);
        image_free(&image);
    }
    return ret;
}

/* After an end for now the session goes on with STOP_COPY's. */
static int run_rest_comes(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    size_t early = 0;
    int ret = step_go(r, UAPI_STATE_PRE_COPY);

    (void)arg;
    if (ret == 0)
        ret = step_read_precopy(r, &image, ENOUGH);
    early = image.size;
    if (ret == 0)
        ret = step_set(r, UAPI_STATE_STOP_COPY);
    if (ret == 0)
        ret = step_read_all(r, &image, 0);
    if (ret == 0 && image.size == early && early == 0)
        ret = check_fail(r, "neither PRE_COPY nor STOP_COPY gave a byte");
    image_free(&image);
    return ret;
}

static int run_descriptor_stays(struct run *r, const void *arg)
{
    uint8_t buf[16];
    ssize_t n;
    int fd;

    (void)arg;
    if (step_go(r, UAPI_STATE_PRE_COPY) != 0)
        return CHECK_OVER;
    fd = r->fd;
    if (step_set(r, UAPI_STATE_STOP_COPY) != 0)
        return CHECK_OVER;
    n = raw_read(r->raw, fd, buf, sizeof(buf));
    if (n < 0)
        return check_fail(r,
                          "the descriptor from PRE_COPY gives %s in "
                          "STOP_COPY",
                          step_errno((int)n));
    return 0;
}

static int run_no_write(struct run *r, const void *arg)
{
    uint8_t buf[16] = { 0 };
    ssize_t n;

    (void)arg;
    if (step_go(r, UAPI_STATE_PRE_COPY) != 0)
        return CHECK_OVER;
    n = raw_write(r->raw, r->fd, buf, sizeof(buf));
    if (n >= 0)
        return check_fail(r, "a write in PRE_COPY went well and gave %zd", n);
    return step_expect_state(r, UAPI_STATE_PRE_COPY);
}

static int run_closed(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = step_go(r, UAPI_STATE_PRE_COPY);

    (void)arg;
    if (ret == 0)
        ret = read_some(r, &image, 100);
    if (ret == 0)
        ret = step_hang_up(r);
    if (ret == 0)
        ret = step_set(r, UAPI_STATE_RUNNING);
    image.size = 0;
    if (ret == 0)
        ret = step_save(r, &image);
    if (ret == 0)
        ret = step_load(r, &image);
    image_free(&image);
    return ret;
}

static const uint32_t plain = UAPI_STATE_PRE_COPY;
static const uint32_t p2p = UAPI_STATE_PRE_COPY_P2P;
static const size_t nothing = 0;
static const size_t hundred = 100;
static const size_t everything = ALL;

#define WALK_RULE                                                         \
    "What is read in PRE_COPY and then in STOP_COPY is one stream, "      \
    "whatever part of it is read before the device stops (linux/vfio.h, " \
    "VFIO_DEVICE_STATE_PRE_COPY)"
#define WALK_LOOK                                                       \
    "what is carried over from PRE_COPY to STOP_COPY: the offset, and " \
    "what has changed since it was given"

#define WALK(name_, bytes_, needs_, n, ...)                                \
    {                                                                      \
        .name = name_, .severity = CHECK_MUST, .rule = WALK_RULE,          \
        .look = WALK_LOOK, .needs = NEEDS_PRE_COPY | (needs_),             \
        .run = run_walk, .timeout_ms = 120000, .arg = &(const struct walk) \
        {                                                                  \
            bytes_, { __VA_ARGS__ }, n                                     \
        }                                                                  \
    }

#define PRE     UAPI_STATE_PRE_COPY
#define PRE_P2P UAPI_STATE_PRE_COPY_P2P

#define END_RULE                                                      \
    "In PRE_COPY a read with nothing to give is ENOMSG, for now: no " \
    "end, and no error (linux/vfio.h, VFIO_DEVICE_STATE_PRE_COPY; "   \
    "vfio-user's text says nothing of it, and there 0 is as good)"
#define GIVEN_UP_RULE                                              \
    "PRE_COPY to RUNNING gives the session up, and harms nothing " \
    "(linux/vfio.h, VFIO_DEVICE_STATE_PRE_COPY)"

#define GIVEN_UP(name_, arg_)                                              \
    {                                                                      \
        .name = name_, .severity = CHECK_MUST, .rule = GIVEN_UP_RULE,      \
        .look = "what of the session is freed and forgotten on that step", \
        .needs = NEEDS_PRE_COPY, .run = run_given_up, .arg = arg_          \
    }

const struct check checks_precopy[] = {
    WALK("precopy-nothing-read", 0, 0, 1, PRE),
    WALK("precopy-1-byte-read", 1, 0, 1, PRE),
    WALK("precopy-100-bytes-read", 100, 0, 1, PRE),
    WALK("precopy-4097-bytes-read", 4097, 0, 1, PRE),
    WALK("precopy-all-read", ALL, 0, 1, PRE),
    WALK("precopy-all-read-in-P2P", ALL, NEEDS_P2P, 1, PRE_P2P),
    WALK("precopy-read-on-to-P2P", ALL, NEEDS_P2P, 2, PRE, PRE_P2P),
    WALK("precopy-read-to-P2P-and-back", 100, NEEDS_P2P, 4, PRE, PRE_P2P, PRE,
         PRE_P2P),
    { .name = "precopy-end-is-ENOMSG",
      .severity = CHECK_MUST,
      .rule = END_RULE,
      .look = "the read function, when it has given all and the device runs",
      .needs = NEEDS_PRE_COPY,
      .run = run_end,
      .arg = &plain },
    { .name = "precopy-end-is-ENOMSG-in-P2P",
      .severity = CHECK_MUST,
      .rule = END_RULE,
      .look = "whether PRE_COPY_P2P is treated as PRE_COPY",
      .needs = NEEDS_PRE_COPY | NEEDS_P2P,
      .run = run_end,
      .arg = &p2p },
    { .name = "precopy-rest-comes-in-STOP_COPY",
      .severity = CHECK_MUST,
      .rule = "STOP_COPY gives what PRE_COPY did not (linux/vfio.h, "
              "VFIO_DEVICE_STATE_STOP_COPY)",
      .look = WALK_LOOK,
      .needs = NEEDS_PRE_COPY,
      .run = run_rest_comes },
    { .name = "precopy-descriptor-stays-in-STOP_COPY",
      .severity = CHECK_MUST,
      .rule = "PRE_COPY to STOP_COPY goes on with the same session and its "
              "descriptor (linux/vfio.h, VFIO_DEVICE_STATE_PRE_COPY)",
      .look = "whether that step opens a file",
      .needs = NEEDS_PRE_COPY,
      .run = run_descriptor_stays },
    { .name = "precopy-no-write",
      .severity = CHECK_MUST,
      .rule = "A saving session is read only (linux/vfio.h, "
              "VFIO_DEVICE_STATE_PRE_COPY)",
      .look = "whether the session's direction is looked at",
      .needs = NEEDS_PRE_COPY,
      .run = run_no_write },
    GIVEN_UP("precopy-given-up-before-reading", &nothing),
    GIVEN_UP("precopy-given-up-midway", &hundred),
    GIVEN_UP("precopy-given-up-at-the-end", &everything),
    { .name = "precopy-again-and-again",
      .severity = CHECK_MUST,
      .rule = "A migration that was not finished is tried again (linux/vfio.h, "
              "VFIO_DEVICE_STATE_PRE_COPY)",
      .look = "what a session leaves behind for the next",
      .needs = NEEDS_PRE_COPY,
      .run = run_again,
      .timeout_ms = 120000 },
    { .name = "precopy-closed-midway",
      .severity = CHECK_MUST,
      .rule = "Closing the data descriptor, or the client's death, ends the "
              "session and harms nothing (linux/vfio.h, "
              "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: data_fd)",
      .look = "release() of the session's file while the device runs",
      .needs = NEEDS_PRE_COPY,
      .run = run_closed },
    { .name = NULL },
};
