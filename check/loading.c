/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loads that may be refused, and what a device is after one that was not.
 */
#include <errno.h>

#include "check/habits.h"
#include "check/loading.h"
#include "check/steps.h"

#define PIECE     (1u << 20)
#define EMPTY_MAX 1000
/* Bytes that all loads of one check may have together, but for a few loads. */
#define BYTES_MAX (UINT64_C(256) << 20)
#define LOADS_MIN 4

/* Writes until a write is refused.  Returns 0, or what the device said. */
static int write_part(struct run *r, const struct load_part *part)
{
    size_t piece = r->raw->max_write < PIECE ? r->raw->max_write : PIECE;
    unsigned int empty = 0;
    size_t done = 0;

    while (done < part->size) {
        size_t left = part->size - done;
        ssize_t n = raw_write(r->raw, r->fd, (const uint8_t *)part->data + done,
                              left < piece ? left : piece);

        if (n < 0)
            return (int)n;
        empty = n == 0 ? empty + 1 : 0;
        if (empty == EMPTY_MAX)
            return -ENOSPC;
        done += (size_t)n;
    }
    return 0;
}

#define GOES_ON                                                    \
    "a write was refused with %s, and then RESUMING -> STOP went " \
    "well: who goes on after the first error runs a device that was not loaded"

/* The kernel's own sample driver does so: it is a habit there. */
static int goes_on(struct run *r, int refusal)
{
    return r->raw->has_descriptors
               ? check_found(r, GOES_ON, step_errno(refusal))
               : check_fail(r, GOES_ON, step_errno(refusal));
}

/* A refused load is RESUMING still, or ERROR. */
static int expect_refusal(struct run *r)
{
    uint32_t state;
    int ret = raw_get_state(r->raw, &state);

    if (ret < 0)
        return check_fail(r,
                          "after a load that was refused the device does not "
                          "say in which state it is: %s",
                          step_errno(ret));
    if (state != UAPI_STATE_RESUMING && state != UAPI_STATE_ERROR)
        return check_fail(r,
                          "after a load that was refused the device is in %s, "
                          "and not in RESUMING or ERROR",
                          step_state_name(state));
    return 0;
}

int loading_offer(struct run *r, const struct load_part *parts, size_t count,
                  bool *taken)
{
    int refusal = 0;
    int ret;

    *taken = false;
    if (step_go(r, UAPI_STATE_RESUMING) != 0)
        return CHECK_OVER;
    for (size_t i = 0; i < count && refusal == 0; i++)
        refusal = write_part(r, &parts[i]);
    if (raw_is_broken(r->raw))
        return CHECK_OVER; /* which is told for every check */
    ret = step_try(r, UAPI_STATE_STOP);
    if (ret < 0)
        return expect_refusal(r);
    if (refusal < 0)
        return goes_on(r, refusal);
    *taken = true;
    return step_expect_state(r, UAPI_STATE_STOP);
}

int loading_refused(struct run *r, const struct load_part *parts, size_t count,
                    const char *what)
{
    bool taken;

    if (loading_offer(r, parts, count, &taken) != 0)
        return CHECK_OVER;
    if (taken)
        return check_fail(r, "%s was taken as a state", what);
    return 0;
}

/* A server that keeps the state over a reset has begun the session anew. */
static int load_back(struct run *r)
{
    if (step_write(r, r->image.data, r->image.size, 0) != 0 ||
        step_set(r, UAPI_STATE_STOP) != 0)
        return CHECK_OVER;
    return step_go(r, UAPI_STATE_RUNNING);
}

int loading_recover(struct run *r)
{
    uint32_t state;
    int ret;

    if ((r->has & NEEDS_RESET) == 0)
        return run_bring_back(r) < 0 ? check_fail(r, "%s", r->lost) : 0;
    ret = raw_reset(r->raw);
    if (ret < 0)
        return check_fail(r, "a reset after a load is refused: %s",
                          step_errno(ret));
    ret = raw_get_state(r->raw, &state);
    if (ret == 0 && state == UAPI_STATE_RESUMING && r->image.size > 0 &&
        habit_is_libvfio_user(r))
        return load_back(r);
    return step_expect_state(r, UAPI_STATE_RUNNING);
}

/* Reads what STOP_COPY gives, from STOP and back to it. */
static int save_again(struct run *r, struct image *image)
{
    if (step_set(r, UAPI_STATE_STOP_COPY) != 0 ||
        step_read_all(r, image, 0) != 0)
        return CHECK_OVER;
    return step_set(r, UAPI_STATE_STOP);
}

static int find_out_repeats(struct run *r)
{
    struct image first = { .data = NULL };
    struct image second = { .data = NULL };
    int ret = CHECK_OVER;

    if (step_save(r, &first) == 0 && save_again(r, &second) == 0)
        ret = step_go(r, UAPI_STATE_RUNNING);
    r->repeats = image_equals(&first, &second) ? 1 : -1;
    image_free(&first);
    image_free(&second);
    return ret;
}

int loading_need_repeats(struct run *r)
{
    if (r->repeats == 0 && find_out_repeats(r) != 0) {
        r->repeats = 0;
        return CHECK_OVER;
    }
    if (r->repeats < 0)
        return check_skip(r, "two saves of one state differ, so that nothing "
                             "can be compared");
    return 0;
}

int loading_expect(struct run *r, const struct image *image, const char *after)
{
    struct image now = { .data = NULL };
    int ret = save_again(r, &now);

    if (ret == 0 && !image_equals(&now, image))
        ret = check_fail(r,
                         "after %s the device saves %zu bytes, of which number "
                         "%zu is the first that differs from the %zu that it "
                         "should save",
                         after, now.size, image_difference(&now, image),
                         image->size);
    image_free(&now);
    return ret;
}

size_t loading_bound(const struct run *r, size_t wanted)
{
    uint64_t bound = BYTES_MAX / (r->image.size + 1);

    if (bound < LOADS_MIN)
        bound = LOADS_MIN;
    return wanted < bound ? wanted : (size_t)bound;
}
