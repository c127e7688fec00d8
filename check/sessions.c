/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions: where there is one, how it begins and ends, and that nothing else
 * gives or takes a state.
 *
 * How it is cut is pieces.c's; what PRE_COPY adds is precopy.c's.
 */
#include <poll.h>
#include <unistd.h>

#include "check/groups.h"
#include "check/steps.h"

/* How often an end is asked for again. */
#define ENDS         10
/* There are devices with 24 bytes of state. */
#define MIDWAY_BYTES 16

static int run_gives_data(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = step_save(r, &image);

    (void)arg;
    if (ret == 0 && image.size == 0)
        ret = check_fail(r, "the state has 0 bytes");
    image_free(&image);
    return ret;
}

/* The end is 0, again and again, and no error. */
static int run_end_stays(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = step_go(r, UAPI_STATE_STOP_COPY);
    uint8_t buf[64];

    (void)arg;
    if (ret == 0)
        ret = step_read_all(r, &image, 0);
    for (int i = 0; ret == 0 && i < ENDS; i++) {
        ssize_t n = raw_read(r->raw, r->fd, buf, sizeof(buf));

        if (n > 0)
            ret = check_fail(r, "%zd more bytes came after the end", n);
        else if (n < 0)
            ret = check_fail(r, "after the end, which was 0, a read gave %s",
                             step_errno((int)n));
    }
    if (ret == 0)
        ret = step_expect_state(r, UAPI_STATE_STOP_COPY);
    image_free(&image);
    return ret;
}

/* Where there is nothing to read or write. */
struct place {
    uint32_t state;
    bool is_write;
};

/* The descriptor that could be misused there: that of the state's own session,
 * which goes the other way, or of one that is over. */
static int run_refuses_data(struct run *r, const void *arg)
{
    const struct place *p = arg;
    uint8_t buf[64] = { 0 };
    ssize_t n;
    int fd;

    if (step_have_image(r) != 0 || step_go(r, UAPI_STATE_STOP_COPY) != 0 ||
        step_go(r, p->state) != 0)
        return CHECK_OVER;
    fd = r->fd >= 0 ? r->fd : r->old_fd;
    n = p->is_write ? raw_write(r->raw, fd, buf, sizeof(buf))
                    : raw_read(r->raw, fd, buf, sizeof(buf));
    if (n >= 0)
        return check_fail(r, "in %s a %s of 64 bytes went well and gave %zd",
                          step_state_name(p->state),
                          p->is_write ? "write" : "read", n);
    return step_expect_state(r, p->state);
}

/* The one before must not read what belongs to the one now. */
static int run_old_in_new(struct run *r, const void *arg)
{
    uint8_t buf[64];
    ssize_t n;

    (void)arg;
    if (step_go(r, UAPI_STATE_STOP_COPY) != 0 ||
        step_go(r, UAPI_STATE_STOP) != 0 ||
        step_go(r, UAPI_STATE_STOP_COPY) != 0)
        return CHECK_OVER;
    n = raw_read(r->raw, r->old_fd, buf, sizeof(buf));
    if (n > 0)
        return check_fail(r,
                          "the descriptor of the session before gave %zd "
                          "bytes",
                          n);
    return 0;
}

/* A session that was left begins anew, and is whole. */
static int run_begins_anew(struct run *r, const void *arg)
{
    struct image first = { .data = NULL };
    struct image second = { .data = NULL };
    uint8_t buf[100];
    int ret = step_save(r, &first);

    (void)arg;
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_STOP_COPY);
    if (ret == 0 && raw_read(r->raw, r->fd, buf, sizeof(buf)) < 0)
        ret = check_fail(r, "the first read of a session failed");
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_STOP);
    if (ret == 0)
        ret = step_save(r, &second);
    if (ret == 0 && first.size != second.size)
        ret = check_fail(r,
                         "the state had %zu bytes, and %zu after a session "
                         "that was left early",
                         first.size, second.size);
    if (ret == 0 && !image_equals(&first, &second))
        ret = step_load(r, &second);
    image_free(&first);
    image_free(&second);
    return ret;
}

/* Nothing has run in between. */
static int run_same_twice(struct run *r, const void *arg)
{
    struct image first = { .data = NULL };
    struct image second = { .data = NULL };
    int ret = step_save(r, &first);

    (void)arg;
    if (ret == 0)
        ret = step_save(r, &second);
    if (ret == 0 && first.size == 0 && r->announced > 0)
        ret = check_fail(r, "a save gave nothing where there was something");
    if (ret == 0 && !image_equals(&first, &second))
        ret = check_fail(r,
                         "saved twice while it stood still, the state "
                         "differs from byte %zu on (%zu and %zu bytes)",
                         image_difference(&first, &second), first.size,
                         second.size);
    image_free(&first);
    image_free(&second);
    return ret;
}

/* A request that changes nothing, or is refused, half-way. */
static int run_undisturbed(struct run *r, const void *arg)
{
    uint32_t request = *(const uint32_t *)arg;
    struct image first = { .data = NULL };
    struct image second = { .data = NULL };
    int ret = step_save(r, &first);

    if (ret == 0)
        ret = step_go(r, UAPI_STATE_STOP_COPY);
    if (ret == 0 && image_reserve(&second, 100) == 0) {
        ssize_t n = raw_read(r->raw, r->fd, second.data, 100);

        second.size = n > 0 ? (size_t)n : 0;
        step_try(r, request);
        ret = step_expect_state(r, UAPI_STATE_STOP_COPY);
    }
    if (ret == 0)
        ret = step_read_all(r, &second, 0);
    if (ret == 0 && first.size != second.size)
        ret = check_fail(r,
                         "a request for %s after 100 bytes makes %zu bytes "
                         "of a state that has %zu",
                         step_state_name(request), second.size, first.size);
    if (ret == 0 && !image_equals(&first, &second))
        ret = step_go(r, UAPI_STATE_STOP) != 0 ? CHECK_OVER
                                               : step_load(r, &second);
    image_free(&first);
    image_free(&second);
    return ret;
}

/* When a session is closed. */
enum moment { AT_ONCE, MIDWAY, AT_THE_END };

static int save_until(struct run *r, enum moment when, struct image *image)
{
    if (step_go(r, UAPI_STATE_STOP_COPY) != 0)
        return CHECK_OVER;
    if (when == MIDWAY && image_reserve(image, MIDWAY_BYTES) == 0) {
        ssize_t n = raw_read(r->raw, r->fd, image->data, MIDWAY_BYTES);

        image->size = n > 0 ? (size_t)n : 0;
        return n < 0 ? check_fail(r, "the first read of a session gave %s",
                                  step_errno((int)n))
                     : 0;
    }
    return when == AT_THE_END ? step_read_all(r, image, 0) : 0;
}

/* After that the device is as good as before. */
static int run_closed_saving(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = save_until(r, *(const enum moment *)arg, &image);

    if (ret == 0)
        ret = step_hang_up(r);
    if (ret == 0)
        ret = step_set(r, UAPI_STATE_RUNNING);
    image.size = 0;
    if (ret == 0)
        ret = step_save(r, &image);
    if (ret == 0)
        ret = step_load(r, &image);
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_RUNNING);
    image_free(&image);
    return ret;
}

static size_t bytes_until(enum moment when, size_t size)
{
    return when == AT_ONCE ? 0 : when == MIDWAY ? size / 2 : size;
}

/* Whatever becomes of what was loaded so far, the device can be used again. */
static int run_closed_loading(struct run *r, const void *arg)
{
    enum moment when = *(const enum moment *)arg;

    if (step_have_image(r) != 0 || step_go(r, UAPI_STATE_RESUMING) != 0 ||
        step_write(r, r->image.data, bytes_until(when, r->image.size), 0) !=
            0 ||
        step_hang_up(r) != 0)
        return CHECK_OVER;
    if (run_bring_back(r) != 0)
        return check_fail(r, "%s", r->lost);
    if (step_load(r, &r->image) != 0)
        return CHECK_OVER;
    return step_go(r, UAPI_STATE_RUNNING);
}

static int run_open_twice(struct run *r, const void *arg)
{
    int ret = raw_open_twice(r->raw);

    (void)arg;
    if (ret == 0)
        return check_fail(r, "the device was opened a second time while it was "
                             "open: two who drive it do not know of each "
                             "other's sessions");
    return step_expect_state(r, UAPI_STATE_RUNNING);
}

/* Second openers must not end the first one's session. */
static int run_open_twice_saving(struct run *r, const void *arg)
{
    struct image whole = { .data = NULL };
    struct image image = { .data = NULL };
    int ret = step_save(r, &whole);

    (void)arg;
    if (ret == 0)
        ret = save_until(r, MIDWAY, &image);
    if (ret == 0) {
        raw_open_twice(r->raw);
        ret = step_expect_state(r, UAPI_STATE_STOP_COPY);
    }
    if (ret == 0)
        ret = step_read_all(r, &image, 0);
    if (ret == 0 && image.size != whole.size)
        ret = check_fail(r,
                         "the state had %zu bytes, and %zu when somebody "
                         "else tried to open the device meanwhile",
                         whole.size, image.size);
    image_free(&image);
    image_free(&whole);
    return ret;
}

static int run_poll(struct run *r, const void *arg)
{
    struct pollfd p = { .events = POLLIN };

    (void)arg;
    if (step_go(r, UAPI_STATE_STOP_COPY) != 0)
        return CHECK_OVER;
    p.fd = r->fd;
    if (poll(&p, 1, 5000) != 1 || (p.revents & POLLIN) == 0)
        return check_fail(r, "poll() does not say that the first byte can be "
                             "read");
    return 0;
}

static int run_seek(struct run *r, const void *arg)
{
    (void)arg;
    if (step_go(r, UAPI_STATE_STOP_COPY) != 0)
        return CHECK_OVER;
    if (lseek(r->fd, 100, SEEK_SET) >= 0)
        return check_fail(r, "lseek() on a session's descriptor goes well");
    return 0;
}

static const uint32_t same = UAPI_STATE_STOP_COPY;
static const uint32_t back = UAPI_STATE_PRE_COPY;
static const enum moment at_once = AT_ONCE;
static const enum moment midway = MIDWAY;
static const enum moment at_the_end = AT_THE_END;

#define REFUSES(name_, state_, is_write_, needs_)                              \
    {                                                                          \
        .name = name_, .severity = CHECK_MUST,                                 \
        .rule = "Data is read in STOP_COPY and PRE_COPY and written in "       \
                "RESUMING, and nowhere else; leaving the states of a session " \
                "ends it (linux/vfio.h, "                                      \
                "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)",                       \
        .look = "what a session's end does to its descriptor: "                \
                "\"disabled\" has to be looked at under the state's lock",     \
        .needs = needs_, .run = run_refuses_data, .arg = &(const struct place) \
        {                                                                      \
            UAPI_STATE_##state_, is_write_                                     \
        }                                                                      \
    }

#define CLOSED(name_, run_, arg_)                                           \
    {                                                                       \
        .name = name_, .severity = CHECK_MUST,                              \
        .rule = "Closing the data descriptor, or the client's death, ends " \
                "the session and harms nothing (linux/vfio.h, "             \
                "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: data_fd)",           \
        .look = "release() of the session's file, and what of the session " \
                "outlives it",                                              \
        .run = run_, .arg = arg_                                            \
    }

const struct check checks_sessions[] = {
    { .name = "session-gives-a-state",
      .severity = CHECK_MUST,
      .rule = "STOP_COPY's session gives the device's state (linux/vfio.h, "
              "VFIO_DEVICE_STATE_STOP_COPY)",
      .look = "what the session is filled with",
      .run = run_gives_data },
    { .name = "session-end-is-0-for-good",
      .severity = CHECK_MUST,
      .rule = "In STOP_COPY a read at the end gives 0, always, and never "
              "ENOMSG (linux/vfio.h, VFIO_DEVICE_STATE_STOP_COPY)",
      .look = "the read function, after the last byte",
      .run = run_end_stays },
    { .name = "session-same-state-twice",
      .severity = CHECK_SHOULD,
      .rule = "A device in STOP does not change (linux/vfio.h, "
              "VFIO_DEVICE_STATE_STOP)",
      .look = "what of the state is a time or uninitialized memory",
      .run = run_same_twice },
    { .name = "session-left-early-begins-anew",
      .severity = CHECK_MUST,
      .rule = "Each entry into STOP_COPY from STOP is a session of its own "
              "(linux/vfio.h, VFIO_DEVICE_STATE_STOP_COPY)",
      .look = "what is reset when a session begins",
      .run = run_begins_anew },
    { .name = "session-survives-a-request-for-its-state",
      .severity = CHECK_MUST,
      .rule = "A SET of the state that the device is in does nothing "
              "(linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)",
      .look = "whether equal states are tested for first",
      .run = run_undisturbed,
      .arg = &same },
    { .name = "session-survives-a-refused-request",
      .severity = CHECK_MUST,
      .rule = "What is refused changes nothing: STOP_COPY to PRE_COPY "
              "(linux/vfio.h, vfio_device_mig_state)",
      .look = "whether the transition is checked before the session is "
              "touched",
      .run = run_undisturbed,
      .arg = &back },
    REFUSES("session-no-read-in-RUNNING", RUNNING, false, 0),
    REFUSES("session-no-read-in-STOP", STOP, false, 0),
    REFUSES("session-no-read-in-RESUMING", RESUMING, false, 0),
    REFUSES("session-no-read-in-RUNNING_P2P", RUNNING_P2P, false, NEEDS_P2P),
    REFUSES("session-no-write-in-RUNNING", RUNNING, true, 0),
    REFUSES("session-no-write-in-STOP", STOP, true, 0),
    REFUSES("session-no-write-in-STOP_COPY", STOP_COPY, true, 0),
    { .name = "session-old-descriptor-in-a-new-session",
      .severity = CHECK_MUST,
      .rule = "Leaving the states of a session ends it, and its descriptor "
              "(linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)",
      .look = "whether a descriptor finds its session by the device",
      .needs = NEEDS_DESCRIPTORS,
      .run = run_old_in_new },
    CLOSED("session-closed-before-the-first-read", run_closed_saving, &at_once),
    CLOSED("session-closed-midway", run_closed_saving, &midway),
    CLOSED("session-closed-at-the-end", run_closed_saving, &at_the_end),
    CLOSED("session-closed-before-the-first-write", run_closed_loading,
           &at_once),
    CLOSED("session-closed-while-loading", run_closed_loading, &midway),
    CLOSED("session-closed-after-the-last-write", run_closed_loading,
           &at_the_end),
    { .name = "session-one-opener",
      .severity = CHECK_QUIRK,
      .rule = "Who drives a device has it for himself (linux/vfio.h, "
              "VFIO_DEVICE_BIND_IOMMUFD; vfio-user: one client per server)",
      .look = "whether a second client is let in",
      .run = run_open_twice },
    { .name = "session-undisturbed-by-a-second-opener",
      .severity = CHECK_MUST,
      .rule = "Who tries to open a device that is in use changes nothing "
              "(linux/vfio.h, VFIO_DEVICE_BIND_IOMMUFD)",
      .look = "what opening resets",
      .run = run_open_twice_saving },
    { .name = "session-poll-says-readable",
      .severity = CHECK_SHOULD,
      .rule = "poll() tells when a session's data can be read (linux/vfio.h, "
              "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: data_fd)",
      .look = "poll() of the session's file operations",
      .needs = NEEDS_DESCRIPTORS,
      .run = run_poll },
    { .name = "session-cannot-be-sought",
      .severity = CHECK_SHOULD,
      .rule = "A session is a stream (linux/vfio.h, "
              "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: data_fd)",
      .look = "stream_open() and no llseek in the file operations",
      .needs = NEEDS_DESCRIPTORS,
      .run = run_seek },
    { .name = NULL },
};
