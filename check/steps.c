/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moves that many checks make.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vfmig/device.h>

#include "check/model.h"
#include "check/steps.h"
#include "util/clock.h"

/* What is good for devices: more brings nothing, and some refuse it. */
#define PIECE          (1u << 20)
/* Reads that bring nothing and are not the end, one after the other. */
#define EMPTY_MAX      1000
/* What comes may be more than the device has announced, for that is a rule of
 * its own, and may come slowly; it comes to an end all the same.  Who has shown
 * once that it has none is not believed as long the next time. */
#define ALLOWED_TIMES  4
#define ALLOWED_MORE   ((size_t)64 << 20)
#define ALLOWED_MS     10000
#define ALLOWED_RATE   4096 /* bytes per millisecond */
#define DISTRUST_TIMES 2
#define DISTRUST_MORE  ((size_t)8 << 20)
#define DISTRUST_MS    100

const char *step_errno(int error)
{
    const char *name = strerrorname_np(error < 0 ? -error : error);

    return name != NULL ? name : "an error without a name";
}

const char *step_state_name(uint32_t state)
{
    static const char *const names[] = {
        "ERROR",    "STOP",        "RUNNING",  "STOP_COPY",
        "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P",
    };

    return state < UAPI_NUM_STATES ? names[state] : "a state without a name";
}

static bool has_session(uint32_t state)
{
    return state == UAPI_STATE_RESUMING || model_saves((enum vfm_state)state);
}

/* The descriptor of a session that is over is kept for a while: what it does
 * then is worth a check. */
static void take_fd(struct run *r, uint32_t state, int fd)
{
    if (fd < 0 && has_session(state))
        return;
    if (r->fd >= 0) {
        if (r->old_fd >= 0)
            close(r->old_fd);
        r->old_fd = r->fd;
    }
    r->fd = fd;
}

int step_try(struct run *r, uint32_t state)
{
    int fd = -1;
    int ret = raw_set_state(r->raw, state, &fd);

    if (ret == 0)
        take_fd(r, state, fd);
    return ret;
}

int step_expect_state(struct run *r, uint32_t state)
{
    uint32_t now;
    int ret = raw_get_state(r->raw, &now);

    if (ret < 0)
        return check_break(r,
                           "the device does not say in which state it is: %s",
                           step_errno(ret));
    if (now != state)
        return check_break(r, "the device is in %s and should be in %s",
                           step_state_name(now), step_state_name(state));
    return 0;
}

int step_set(struct run *r, uint32_t state)
{
    uint32_t from;
    int ret = raw_get_state(r->raw, &from);

    if (ret < 0)
        return check_break(r,
                           "the device does not say in which state it is: %s",
                           step_errno(ret));
    ret = step_try(r, state);
    if (ret < 0)
        return check_break(r, "%s -> %s: the device says %s",
                           step_state_name(from), step_state_name(state),
                           step_errno(ret));
    return step_expect_state(r, state);
}

int step_go(struct run *r, uint32_t state)
{
    struct model_path path;
    uint32_t from;
    int ret = raw_get_state(r->raw, &from);

    if (ret < 0)
        return check_break(r,
                           "the device does not say in which state it is: %s",
                           step_errno(ret));
    if (!model_find_path((enum vfm_state)from, (enum vfm_state)state,
                         r->migration, &path))
        return check_break(r, "no path leads from %s to %s",
                           step_state_name(from), step_state_name(state));
    /* What leads out of RESUMING everywhere: see run.c. */
    if (state == UAPI_STATE_RESUMING && from == UAPI_STATE_RUNNING &&
        step_have_image(r) != 0)
        return CHECK_OVER;
    for (unsigned int i = 0; i < path.len; i++)
        if (step_set(r, path.steps[i]) != 0)
            return CHECK_OVER;
    return 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Reads once.  Returns as raw_read(), with an error for what no device may
 * answer. */
static ssize_t read_piece(struct run *r, struct image *image, size_t piece)
{
    int ret = image_reserve(image, piece);
    ssize_t n;

    if (ret < 0)
        return ret;
    n = raw_read(r->raw, r->fd, image->data + image->size, piece);
    if (n > 0)
        image->size += (size_t)n;
    return n;
}

/* How much may come, and how long it may take. */
struct bound {
    size_t bytes;
    int64_t deadline; /* of the check */
    int64_t patience; /* the end has to come until then */
    size_t rate;      /* bytes that earn a millisecond more; 0: none do */
};

/* The state of a device that announces nothing is as large as it likes, and
 * time is what bounds it.  @is_known: that it does not end. */
static struct bound find_bound(const struct run *r, bool is_known)
{
    size_t times = is_known ? DISTRUST_TIMES : ALLOWED_TIMES;
    size_t more = is_known ? DISTRUST_MORE : ALLOWED_MORE;
    struct bound bound = {
        .bytes = IMAGE_MAX,
        .deadline = r->raw->deadline,
        .patience = clock_deadline(is_known ? DISTRUST_MS : ALLOWED_MS),
        .rate = is_known ? 0 : ALLOWED_RATE,
    };

    if ((r->announced > 0 || is_known) &&
        r->announced < (IMAGE_MAX - more) / times)
        bound.bytes = (size_t)r->announced * times + more;
    return bound;
}

static bool is_beyond(const struct bound *bound, size_t got)
{
    int64_t earned =
        bound->rate > 0 ? (int64_t)(got / bound->rate) * NS_PER_MS : 0;

    return got > bound->bytes ||
           clock_now() > clock_min(bound->deadline, bound->patience + earned);
}

static int fail_endless(struct run *r, const struct bound *bound, size_t got)
{
    if (r->is_endless)
        return check_break(r, "the state does not end, as it did not before");
    r->is_endless = true;
    if (got <= bound->bytes)
        return check_break(r,
                           "the state does not end: %zu bytes came, and when "
                           "the time was over reads still brought more",
                           got);
    return check_break(r,
                       "the state does not end: %zu bytes came, %" PRIu64
                       " had been announced in RUNNING, and reads still bring "
                       "more",
                       got, r->announced);
}

int step_read_all(struct run *r, struct image *image, size_t piece)
{
    struct bound bound = find_bound(r, r->is_endless);
    size_t start = image->size;
    ssize_t n;

    piece = smaller(piece != 0 ? piece : PIECE, r->raw->max_read);
    do {
        n = read_piece(r, image, piece);
        if (n > 0 && is_beyond(&bound, image->size - start))
            return fail_endless(r, &bound, image->size - start);
    } while (n > 0);
    if (n < 0)
        return check_break(r, "after %zu bytes of state a read gave %s",
                           image->size - start, step_errno((int)n));
    return 0;
}

int step_read_precopy(struct run *r, struct image *image, size_t max)
{
    size_t piece = smaller(PIECE, r->raw->max_read);
    struct bound bound = find_bound(r, r->is_never_done);
    size_t start = image->size;
    ssize_t n;

    do {
        n = read_piece(r, image, smaller(piece, max - (image->size - start)));
        if (n > 0 && is_beyond(&bound, image->size - start)) {
            r->is_never_done = true;
            return 0;
        }
    } while (n > 0 && image->size - start < max);
    /* Whether 0 is a word for that is a check of its own. */
    if (n < 0 && n != -ENOMSG)
        return check_break(r, "after %zu bytes a read in PRE_COPY gave %s",
                           image->size - start, step_errno((int)n));
    return 0;
}

int step_write(struct run *r, const void *data, size_t size, size_t piece)
{
    unsigned int empty = 0;
    size_t done = 0;

    piece = smaller(piece != 0 ? piece : PIECE, r->raw->max_write);
    while (done < size) {
        ssize_t n = raw_write(r->raw, r->fd, (const uint8_t *)data + done,
                              smaller(piece, size - done));

        if (n < 0)
            return check_break(r, "a write at byte %zu of %zu gave %s", done,
                               size, step_errno((int)n));
        empty = n == 0 ? empty + 1 : 0;
        if (empty == EMPTY_MAX)
            return check_break(r, "writes at byte %zu of %zu take nothing",
                               done, size);
        done += (size_t)n;
    }
    return 0;
}

int step_save(struct run *r, struct image *image)
{
    if (step_go(r, UAPI_STATE_STOP_COPY) != 0 ||
        step_read_all(r, image, 0) != 0 || step_go(r, UAPI_STATE_STOP) != 0)
        return CHECK_OVER;
    return 0;
}

int step_load_open(struct run *r, const struct image *image)
{
    if (step_go(r, UAPI_STATE_RESUMING) != 0 ||
        step_write(r, image->data, image->size, 0) != 0)
        return CHECK_OVER;
    return 0;
}

int step_load(struct run *r, const struct image *image)
{
    if (step_load_open(r, image) != 0)
        return CHECK_OVER;
    return step_set(r, UAPI_STATE_STOP);
}

int step_have_image(struct run *r)
{
    struct image image = { .data = NULL };
    int ret;

    if (r->image.size > 0)
        return 0;
    ret = step_save(r, &image);
    if (ret == 0 && image.size == 0)
        ret = check_break(r, "the state has 0 bytes");
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_RUNNING);
    if (ret == 0)
        r->image = image;
    else
        image_free(&image);
    return ret;
}

int step_hang_up(struct run *r)
{
    struct vfm_error err = { 0 };

    if (r->raw->has_descriptors) {
        close(r->fd);
        r->fd = -1;
        return 0;
    }
    if (raw_reopen(r->raw, &err) < 0)
        return check_break(r, "after the client hung up: %.200s", err.message);
    return 0;
}
