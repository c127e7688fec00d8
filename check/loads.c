/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * States that are loaded, in pieces of any size and on any way, and what the
 * device is then: what was saved, and nothing of what it was before.
 *
 * What is compared are the bytes of a second save.  What a driver of the
 * device finds in it is registers.c's, and what is refused is refusals.c's.
 */

#include "check/groups.h"
#include "check/loading.h"
#include "check/steps.h"

static int prepare(struct run *r)
{
    if (loading_need_repeats(r) != 0)
        return CHECK_OVER;
    return step_have_image(r);
}

static int run_save_again(struct run *r, const void *arg)
{
    (void)arg;
    if (prepare(r) != 0 || step_load(r, &r->image) != 0)
        return CHECK_OVER;
    return loading_expect(r, &r->image, "a load");
}

static int run_save_twice(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (step_save(r, &image) == 0)
        ret = loading_expect(r, &image, "a save");
    image_free(&image);
    return ret;
}

/* Two states of the same device, loaded in turn. */
static int load_in_turn(struct run *r, struct image states[2])
{
    for (unsigned int i = 0; i < 4; i++)
        if (step_load(r, &states[i % 2]) != 0 ||
            loading_expect(r, &states[i % 2],
                           i == 0 ? "a load" : "a load over another state") !=
                0)
            return CHECK_OVER;
    return 0;
}

static int run_in_turn(struct run *r, const void *arg)
{
    struct image states[2] = { { .data = NULL }, { .data = NULL } };
    int ret = CHECK_OVER;

    (void)arg;
    if (loading_need_repeats(r) == 0 && step_save(r, &states[0]) == 0 &&
        step_go(r, UAPI_STATE_RUNNING) == 0 && step_save(r, &states[1]) == 0)
        ret = load_in_turn(r, states);
    image_free(&states[0]);
    image_free(&states[1]);
    return ret;
}

/* How a load is cut into writes. */
struct cut {
    size_t piece;
    size_t ends; /* that many bytes at both ends are cut so, the rest into
                  * larger ones; 0: all */
};

static int write_cut(struct run *r, const struct cut *cut)
{
    const struct image *image = &r->image;
    size_t end = cut->ends != 0 ? cut->ends : image->size;
    size_t rest;

    if (end > image->size / 2) {
        return step_write(r, image->data, image->size, cut->piece);
    }
    rest = image->size - 2 * end;
    if (step_write(r, image->data, end, cut->piece) != 0 ||
        step_write(r, image->data + end, rest, 0) != 0)
        return CHECK_OVER;
    return step_write(r, image->data + end + rest, end, cut->piece);
}

static int run_cut(struct run *r, const void *arg)
{
    const struct cut *cut = arg;

    if (step_have_image(r) != 0 || step_go(r, UAPI_STATE_RESUMING) != 0 ||
        write_cut(r, cut) != 0 || step_set(r, UAPI_STATE_STOP) != 0)
        return CHECK_OVER;
    return r->repeats > 0 ? loading_expect(r, &r->image, "a load in pieces")
                          : 0;
}

static int run_by_p2p(struct run *r, const void *arg)
{
    (void)arg;
    if (step_have_image(r) != 0 || step_load(r, &r->image) != 0 ||
        step_set(r, UAPI_STATE_RUNNING_P2P) != 0)
        return CHECK_OVER;
    return step_set(r, UAPI_STATE_RUNNING);
}

/* RUNNING to RESUMING and back, in one request each. */
static int run_at_once(struct run *r, const void *arg)
{
    (void)arg;
    if (step_have_image(r) != 0 || step_set(r, UAPI_STATE_RESUMING) != 0 ||
        step_write(r, r->image.data, r->image.size, 0) != 0)
        return CHECK_OVER;
    return step_set(r, UAPI_STATE_RUNNING);
}

static int run_to_stop_copy(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (prepare(r) == 0 && step_load_open(r, &r->image) == 0 &&
        step_set(r, UAPI_STATE_STOP_COPY) == 0 &&
        step_read_all(r, &image, 0) == 0)
        ret = image_equals(&image, &r->image)
                  ? 0
                  : check_fail(r,
                               "RESUMING -> STOP_COPY changed the state: "
                               "%zu bytes were loaded and %zu saved, which "
                               "differ from byte %zu on",
                               r->image.size, image.size,
                               image_difference(&image, &r->image));
    image_free(&image);
    return ret;
}

/* A request for the state that it is in does nothing. */
static int run_resuming_again(struct run *r, const void *arg)
{
    size_t half;

    (void)arg;
    if (step_have_image(r) != 0 || step_go(r, UAPI_STATE_RESUMING) != 0)
        return CHECK_OVER;
    half = r->image.size / 2;
    if (step_write(r, r->image.data, half, 0) != 0 ||
        step_set(r, UAPI_STATE_RESUMING) != 0 ||
        step_write(r, r->image.data + half, r->image.size - half, 0) != 0)
        return CHECK_OVER;
    return step_set(r, UAPI_STATE_STOP);
}

/* A load that was given up leaves nothing to the next. */
static int run_after_abandoned(struct run *r, const void *arg)
{
    static const size_t parts[] = { 2, 3, 7 };

    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (step_go(r, UAPI_STATE_RESUMING) != 0 ||
            step_write(r, r->image.data, r->image.size / parts[i] + 1, 0) !=
                0 ||
            loading_recover(r) != 0 || step_load(r, &r->image) != 0 ||
            step_go(r, UAPI_STATE_RUNNING) != 0)
            return CHECK_OVER;
    return 0;
}

static int run_after_a_lost_client(struct run *r, const void *arg)
{
    struct vfm_error err;

    (void)arg;
    if (step_have_image(r) != 0 || step_go(r, UAPI_STATE_RESUMING) != 0 ||
        step_write(r, r->image.data, r->image.size / 2, 0) != 0)
        return CHECK_OVER;
    run_close_session(r);
    if (raw_reopen(r->raw, &err) < 0)
        return check_fail(r,
                          "after it was closed in RESUMING it cannot be "
                          "opened: %s",
                          err.message);
    if (loading_recover(r) != 0)
        return CHECK_OVER;
    return step_load(r, &r->image);
}

static int expect_refused(struct run *r, ssize_t n, const char *what)
{
    if (n >= 0)
        return check_fail(r, "%s gave %zd and has to be refused", what, n);
    if (raw_is_broken(r->raw))
        return check_fail(r, "%s broke the connection", what);
    return 0;
}

static int run_read_refused(struct run *r, const void *arg)
{
    uint8_t byte[16];

    (void)arg;
    if (step_have_image(r) != 0 || step_go(r, UAPI_STATE_RESUMING) != 0 ||
        expect_refused(r, raw_read(r->raw, r->fd, byte, sizeof(byte)),
                       "a read in RESUMING") != 0 ||
        step_expect_state(r, UAPI_STATE_RESUMING) != 0 ||
        step_write(r, r->image.data, r->image.size, 0) != 0)
        return CHECK_OVER;
    return step_set(r, UAPI_STATE_STOP);
}

static int run_write_refused_saving(struct run *r, const void *arg)
{
    static const uint8_t bytes[16];

    (void)arg;
    if (step_go(r, UAPI_STATE_STOP_COPY) != 0 ||
        expect_refused(r, raw_write(r->raw, r->fd, bytes, sizeof(bytes)),
                       "a write in STOP_COPY") != 0)
        return CHECK_OVER;
    return step_expect_state(r, UAPI_STATE_STOP_COPY);
}

static int run_write_refused_stopped(struct run *r, const void *arg)
{
    static const uint8_t bytes[16];

    (void)arg;
    if (step_have_image(r) != 0 || step_load(r, &r->image) != 0 ||
        expect_refused(r, raw_write(r->raw, r->old_fd, bytes, sizeof(bytes)),
                       "a write in STOP, after the load") != 0)
        return CHECK_OVER;
    return step_expect_state(r, UAPI_STATE_STOP);
}

#define LOAD_RULE                                                     \
    " (linux/vfio.h, VFIO_DEVICE_STATE_RESUMING: the device's state " \
    "becomes the one that is written)"
#define CUT_RULE                                                         \
    "The state is a stream of bytes: where it is cut into writes means " \
    "nothing (linux/vfio.h, vfio_device_mig_state: an opaque stream)"
#define CUT_LOOK                                                       \
    "write(): headers that come in parts, positions that count calls " \
    "instead of bytes, the last part of a buffer that was full"
#define SESSION_LOOK                                                    \
    "which of read() and write() the descriptor of a session has, and " \
    "whether the session is asked for at all"
#define LEFT_LOOK \
    "what a load leaves behind when it does not end: buffers, positions"
#define LONG_MS 120000

#define CUT(name_, piece_, ends_)                                \
    {                                                            \
        .name = name_, .severity = CHECK_MUST, .rule = CUT_RULE, \
        .look = CUT_LOOK, .run = run_cut, .timeout_ms = LONG_MS, \
        .arg = &(const struct cut)                               \
        {                                                        \
            piece_, ends_                                        \
        }                                                        \
    }

const struct check checks_loads[] = {
    { .name = "load-save-is-repeatable",
      .severity = CHECK_QUIRK,
      .rule = "Two saves of a device that stays stopped are the same bytes; "
              "not a rule of the uAPI, but only then can loads be compared",
      .look = "times, addresses and padding in the state",
      .run = run_save_twice,
      .timeout_ms = LONG_MS },
    { .name = "load-then-save-again",
      .severity = CHECK_SHOULD,
      .rule = "What was loaded is what is saved again" LOAD_RULE,
      .look = "registers and memory that are saved and not loaded",
      .run = run_save_again,
      .timeout_ms = LONG_MS },
    { .name = "load-in-turn",
      .severity = CHECK_SHOULD,
      .rule = "Of two states that are loaded in turn it is always the last "
              "one" LOAD_RULE,
      .look = "what a load adds to the state that was there, and what it "
              "does only once",
      .run = run_in_turn,
      .timeout_ms = LONG_MS },
    CUT("load-by-single-bytes", 1, 2048),
    CUT("load-by-7-bytes", 7, 16384),
    CUT("load-by-509-bytes", 509, 1u << 20),
    CUT("load-by-4-KiB", 4096, 0),
    CUT("load-by-1-MiB", 1u << 20, 0),
    CUT("load-by-16-MiB", 16u << 20, 0),
    { .name = "load-by-RUNNING_P2P",
      .severity = CHECK_MUST,
      .rule = "After a load the device goes to RUNNING_P2P, and from there to "
              "RUNNING, as many devices do together (linux/vfio.h, "
              "VFIO_DEVICE_STATE_RUNNING_P2P)",
      .look = "the arc from STOP to RUNNING_P2P after a load",
      .needs = NEEDS_P2P,
      .run = run_by_p2p,
      .timeout_ms = LONG_MS },
    { .name = "load-in-single-requests",
      .severity = CHECK_MUST,
      .rule = "RUNNING to RESUMING, and RESUMING to RUNNING, are one request "
              "each (linux/vfio.h, vfio_device_mig_state: combined "
              "transitions)",
      .look = "what happens in STOP on the way",
      .run = run_at_once,
      .timeout_ms = LONG_MS },
    { .name = "load-to-STOP_COPY",
      .severity = CHECK_SHOULD,
      .rule = "RESUMING to STOP_COPY goes over STOP, and never over RUNNING, "
              "so that what is saved is what was loaded (linux/vfio.h, "
              "vfio_device_mig_state: combined transitions)",
      .look = "the path of that transition",
      .run = run_to_stop_copy,
      .timeout_ms = LONG_MS },
    { .name = "load-RESUMING-asked-again",
      .severity = CHECK_MUST,
      .rule = "A request for the state that the device is in changes nothing "
              "(linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)",
      .look = "whether entering RESUMING begins a session without looking "
              "where it comes from",
      .run = run_resuming_again,
      .timeout_ms = LONG_MS },
    { .name = "load-after-an-abandoned-load",
      .severity = CHECK_MUST,
      .rule = "Every session begins at the beginning" LOAD_RULE,
      .look = LEFT_LOOK,
      .needs = NEEDS_RESET,
      .run = run_after_abandoned,
      .timeout_ms = LONG_MS },
    { .name = "load-after-a-lost-client",
      .severity = CHECK_MUST,
      .rule = "Whoever opens a device after somebody died in RESUMING can "
              "use it" LOAD_RULE,
      .look = LEFT_LOOK,
      .needs = NEEDS_RESET,
      .run = run_after_a_lost_client,
      .timeout_ms = LONG_MS },
    { .name = "load-read-refused-in-RESUMING",
      .severity = CHECK_MUST,
      .rule = "A session of RESUMING is written and not read (linux/vfio.h, "
              "VFIO_DEVICE_STATE_RESUMING)",
      .look = SESSION_LOOK,
      .run = run_read_refused,
      .timeout_ms = LONG_MS },
    { .name = "load-write-refused-in-STOP_COPY",
      .severity = CHECK_MUST,
      .rule = "A session of STOP_COPY is read and not written (linux/vfio.h, "
              "VFIO_DEVICE_STATE_STOP_COPY)",
      .look = SESSION_LOOK,
      .run = run_write_refused_saving },
    { .name = "load-write-refused-in-STOP",
      .severity = CHECK_MUST,
      .rule = "Leaving RESUMING ends the session: writes fail (linux/vfio.h, "
              "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)",
      .look = SESSION_LOOK,
      .run = run_write_refused_stopped,
      .timeout_ms = LONG_MS },
    { .name = NULL },
};
