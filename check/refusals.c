/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * States that are none, and have to be refused: cut, damaged, foreign, doubled,
 * empty; and what a device is worth after it has refused one.
 *
 * Nobody but the device knows what is in a state.  So it is cut and damaged
 * everywhere, not only where it would hurt.
 */
#include <stdio.h>
#include <string.h>

#include "check/groups.h"
#include "check/loading.h"
#include "check/steps.h"

/* The same sequence at every run. */
#define SEED UINT64_C(0x9e3779b97f4a7c15)

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Offers the first @size bytes of the state. */
static int run_cut_at(struct run *r, size_t size)
{
    struct load_part part = { r->image.data, size };
    char what[96];

    snprintf(what, sizeof(what), "%zu of %zu bytes", size, r->image.size);
    if (loading_refused(r, &part, 1, what) != 0)
        return CHECK_OVER;
    return loading_recover(r);
}

static int run_empty(struct run *r, const void *arg)
{
    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    return run_cut_at(r, 0);
}

static int run_cut_early(struct run *r, const void *arg)
{
    static const size_t sizes[] = { 1, 2, 4, 8, 16, 31, 32, 64, 100, 1000 };

    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (sizes[i] < r->image.size && run_cut_at(r, sizes[i]) != 0)
            return CHECK_OVER;
    return 0;
}

static int run_cut_quarters(struct run *r, const void *arg)
{
    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    for (size_t i = 1; i < 4; i++)
        if (run_cut_at(r, r->image.size / 4 * i) != 0)
            return CHECK_OVER;
    return 0;
}

/* The last record is short: it is lost as a whole, or in part. */
static int run_cut_late(struct run *r, const void *arg)
{
    size_t count;

    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    count = loading_bound(r, 72);
    for (size_t i = 1; i <= count && i <= r->image.size; i++)
        if (run_cut_at(r, r->image.size - i) != 0)
            return CHECK_OVER;
    return 0;
}

static int run_cut_anywhere(struct run *r, const void *arg)
{
    uint64_t x = SEED;
    size_t count;

    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    count = loading_bound(r, 24);
    for (size_t i = 0; i < count; i++)
        if (run_cut_at(r, (size_t)(next_random(&x) % r->image.size)) != 0)
            return CHECK_OVER;
    return 0;
}

/* Offers the state with one bit of byte @at changed. */
static int run_flip(struct run *r, size_t at, unsigned int bit)
{
    struct load_part part = { r->image.data, r->image.size };
    uint8_t mask = (uint8_t)(1u << bit);
    char what[96];
    int ret;

    snprintf(what, sizeof(what),
             "a state with bit %u of byte %zu of %zu "
             "changed",
             bit, at, r->image.size);
    r->image.data[at] ^= mask;
    ret = loading_refused(r, &part, 1, what);
    r->image.data[at] ^= mask;
    return ret != 0 ? ret : loading_recover(r);
}

/* A stretch of the state, and how many bytes of it are damaged. */
struct stretch {
    size_t begin;    /* from the beginning, or from the end: */
    bool is_the_end; /* the last @length bytes */
    size_t length;   /* 0: all of it */
    size_t count;
};

static int run_flips(struct run *r, const void *arg)
{
    const struct stretch *s = arg;
    uint64_t x = SEED;
    size_t begin = 0;
    size_t length;
    size_t count;

    if (step_have_image(r) != 0)
        return CHECK_OVER;
    length =
        s->length == 0 || s->length > r->image.size ? r->image.size : s->length;
    if (s->is_the_end)
        begin = r->image.size - length;
    count = loading_bound(r, s->count);
    for (size_t i = 0; i < count; i++) {
        size_t at = count >= length ? i : (size_t)(next_random(&x) % length);

        if (at >= length)
            break;
        if (run_flip(r, begin + at, (unsigned int)(next_random(&x) % 8)) != 0)
            return CHECK_OVER;
    }
    return 0;
}

static int run_first_byte(struct run *r, const void *arg)
{
    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    for (unsigned int bit = 0; bit < 8; bit++)
        if (run_flip(r, 0, bit) != 0)
            return CHECK_OVER;
    return 0;
}

/* As many bytes as the state has, of another kind: @arg's function makes
 * them. */
static void fill_zeros(struct image *image)
{
    memset(image->data, 0, image->size);
}

static void fill_random(struct image *image)
{
    uint64_t x = SEED;

    for (size_t i = 0; i < image->size; i++)
        image->data[i] = (uint8_t)(next_random(&x) >> 32);
}

struct foreign {
    void (*fill)(struct image *image);
    const char *what;
};

static int run_foreign(struct run *r, const void *arg)
{
    const struct foreign *f = arg;
    struct image other = { .data = NULL };
    int ret;

    if (step_have_image(r) != 0)
        return CHECK_OVER;
    if (image_copy(&other, &r->image) < 0)
        return check_skip(r, "there is no room for a second state");
    f->fill(&other);
    ret = loading_refused(
        r, &(const struct load_part){ other.data, other.size }, 1, f->what);
    image_free(&other);
    return ret != 0 ? ret : loading_recover(r);
}

static int run_doubled(struct run *r, const void *arg)
{
    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    const struct load_part parts[] = { { r->image.data, r->image.size },
                                       { r->image.data, r->image.size } };

    if (loading_refused(r, parts, 2, "a state twice in one session") != 0)
        return CHECK_OVER;
    return loading_recover(r);
}

static int run_trailing(struct run *r, const void *arg)
{
    static const uint8_t garbage[4096] = { 0x5a };
    static const size_t sizes[] = { 1, 8, 100, sizeof(garbage) };

    (void)arg;
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct load_part parts[] = { { r->image.data, r->image.size },
                                           { garbage, sizes[i] } };
        char what[64];

        snprintf(what, sizeof(what), "a state with %zu bytes after its end",
                 sizes[i]);
        if (loading_refused(r, parts, 2, what) != 0 || loading_recover(r) != 0)
            return CHECK_OVER;
    }
    return 0;
}

/* RESUMING is left for RUNNING at once, over STOP, with half of a state. */
static int run_left_for_running(struct run *r, const void *arg)
{
    uint32_t state;
    int ret;

    (void)arg;
    if (step_have_image(r) != 0 || step_go(r, UAPI_STATE_RESUMING) != 0 ||
        step_write(r, r->image.data, r->image.size / 2, 0) != 0)
        return CHECK_OVER;
    ret = step_try(r, UAPI_STATE_RUNNING);
    if (ret == 0)
        return check_fail(r, "RESUMING -> RUNNING went well with half of a "
                             "state");
    ret = raw_get_state(r->raw, &state);
    if (ret < 0)
        return check_fail(r, "the device does not say in which state it is: %s",
                          step_errno(ret));
    if (state != UAPI_STATE_RESUMING && state != UAPI_STATE_ERROR)
        return check_fail(r, "a load that was refused left the device in %s",
                          step_state_name(state));
    return loading_recover(r);
}

static int refuse_half(struct run *r)
{
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    return loading_refused(
        r, &(const struct load_part){ r->image.data, r->image.size / 2 }, 1,
        "half of a state");
}

/* However often it is asked for. */
static int run_stays_refused(struct run *r, const void *arg)
{
    static const uint32_t states[] = { UAPI_STATE_STOP, UAPI_STATE_RUNNING,
                                       UAPI_STATE_STOP_COPY };

    (void)arg;
    if (refuse_half(r) != 0)
        return CHECK_OVER;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (step_try(r, states[i]) == 0)
            return check_fail(r,
                              "a load was refused, and then %s was reached "
                              "without a reset",
                              step_state_name(states[i]));
    return loading_recover(r);
}

static int run_error_stays(struct run *r, const void *arg)
{
    uint32_t state;

    (void)arg;
    if (refuse_half(r) != 0)
        return CHECK_OVER;
    if (raw_get_state(r->raw, &state) < 0 || state != UAPI_STATE_ERROR)
        return loading_recover(r) != 0
                   ? CHECK_OVER
                   : check_skip(r, "a load that is refused leaves it in "
                                   "RESUMING, not in ERROR");
    for (uint32_t to = UAPI_STATE_STOP; to < UAPI_NUM_STATES; to++) {
        if (step_try(r, to) == 0)
            return check_fail(r, "ERROR was left for %s without a reset",
                              step_state_name(to));
        if (step_expect_state(r, UAPI_STATE_ERROR) != 0)
            return CHECK_OVER;
    }
    return loading_recover(r);
}

/* After a refusal and a reset the device is as good as ever. */
static int run_refused_then_load(struct run *r, const void *arg)
{
    (void)arg;
    if (refuse_half(r) != 0 || loading_recover(r) != 0 ||
        step_load(r, &r->image) != 0)
        return CHECK_OVER;
    return step_go(r, UAPI_STATE_RUNNING);
}

static int run_refused_then_save(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (refuse_half(r) == 0 && loading_recover(r) == 0 &&
        step_save(r, &image) == 0)
        ret = image.size > 0 ? 0
                             : check_fail(r, "after a load that was refused "
                                             "and a reset the state is empty");
    image_free(&image);
    return ret;
}

#define REFUSAL_RULE(text)                                                 \
    text " (linux/vfio.h, VFIO_DEVICE_STATE_RESUMING to STOP: the driver " \
         "does a final check, and fails on what is incomplete or invalid)"
#define LENGTH_LOOK                                                        \
    "what the driver does when RESUMING is left: it has to know how much " \
    "there must be, and compare it with how much came"
#define DAMAGE_LOOK                                                       \
    "what is checked of a state before it is taken: its identity, every " \
    "length and index, a checksum over everything"
#define AFTER_LOOK                                                           \
    "what a refused load leaves behind: buffers, positions, the error that " \
    "the next session finds"
#define LONG_MS 120000

const struct check checks_refusals[] = {
    { .name = "refusal-empty",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("No state at all is no state"),
      .look = LENGTH_LOOK,
      .run = run_empty },
    { .name = "refusal-cut-early",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("The first bytes of a state are no state"),
      .look = LENGTH_LOOK,
      .run = run_cut_early },
    { .name = "refusal-cut-at-quarters",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("A part of a state is no state"),
      .look = LENGTH_LOOK,
      .run = run_cut_quarters,
      .timeout_ms = LONG_MS },
    { .name = "refusal-cut-at-the-end",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("A state without its last bytes is no state"),
      .look = LENGTH_LOOK,
      .run = run_cut_late,
      .timeout_ms = LONG_MS },
    { .name = "refusal-cut-anywhere",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("A part of a state is no state, wherever it is cut"),
      .look = LENGTH_LOOK,
      .run = run_cut_anywhere,
      .timeout_ms = LONG_MS },
    { .name = "refusal-damaged-first-byte",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("A state begins with what tells it from anything "
                           "else"),
      .look = DAMAGE_LOOK,
      .run = run_first_byte,
      .timeout_ms = LONG_MS },
    { .name = "refusal-damaged-head",
      .severity = CHECK_SHOULD,
      .rule = REFUSAL_RULE("A state whose first 80 bytes are damaged is "
                           "invalid"),
      .look = DAMAGE_LOOK,
      .run = run_flips,
      .arg = &(const struct stretch){ .length = 80, .count = 80 },
      .timeout_ms = LONG_MS },
    { .name = "refusal-damaged-anywhere",
      .severity = CHECK_SHOULD,
      .rule = REFUSAL_RULE("A state that is damaged somewhere is invalid"),
      .look = DAMAGE_LOOK,
      .run = run_flips,
      .arg = &(const struct stretch){ .count = 64 },
      .timeout_ms = LONG_MS },
    { .name = "refusal-damaged-near-the-end",
      .severity = CHECK_SHOULD,
      .rule = REFUSAL_RULE("A state whose last 68 KiB, which often hold the "
                           "registers, are damaged is invalid"),
      .look = DAMAGE_LOOK,
      .run = run_flips,
      .arg = &(const struct stretch){ .is_the_end = true,
                                      .length = 68u << 10,
                                      .count = 96 },
      .timeout_ms = LONG_MS },
    { .name = "refusal-damaged-tail",
      .severity = CHECK_SHOULD,
      .rule = REFUSAL_RULE("A state whose last 64 bytes are damaged is "
                           "invalid"),
      .look = DAMAGE_LOOK,
      .run = run_flips,
      .arg = &(const struct stretch){ .is_the_end = true,
                                      .length = 64,
                                      .count = 64 },
      .timeout_ms = LONG_MS },
    { .name = "refusal-zeros",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("Zeros are no state"),
      .look = DAMAGE_LOOK,
      .run = run_foreign,
      .arg = &(const struct foreign){ fill_zeros, "zeros" },
      .timeout_ms = LONG_MS },
    { .name = "refusal-foreign",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("What is no state of such a device is refused"),
      .look = DAMAGE_LOOK,
      .run = run_foreign,
      .arg = &(const struct foreign){ fill_random, "random bytes" },
      .timeout_ms = LONG_MS },
    { .name = "refusal-doubled",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("Two states in one session are not one"),
      .look = LENGTH_LOOK,
      .run = run_doubled,
      .timeout_ms = LONG_MS },
    { .name = "refusal-bytes-after-the-end",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("What follows the end of a state does not belong "
                           "to it"),
      .look = LENGTH_LOOK,
      .run = run_trailing,
      .timeout_ms = LONG_MS },
    { .name = "refusal-left-for-RUNNING",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("RESUMING to RUNNING goes over STOP, and its final "
                           "check"),
      .look = LENGTH_LOOK,
      .run = run_left_for_running },
    { .name = "refusal-stays",
      .severity = CHECK_MUST,
      .rule = REFUSAL_RULE("What was refused once does not become good by "
                           "asking again"),
      .look = AFTER_LOOK,
      .run = run_stays_refused },
    { .name = "refusal-ERROR-is-left-by-reset-only",
      .severity = CHECK_MUST,
      .rule = "From ERROR no transition leads anywhere; a reset does "
              "(linux/vfio.h, VFIO_DEVICE_STATE_ERROR)",
      .look = "whether the state function refuses ERROR as a start",
      .needs = NEEDS_RESET,
      .run = run_error_stays },
    { .name = "refusal-then-a-load",
      .severity = CHECK_MUST,
      .rule = "After a load that was refused and a reset, a good state is "
              "taken (linux/vfio.h, VFIO_DEVICE_STATE_ERROR: a reset gives "
              "a device that works)",
      .look = AFTER_LOOK,
      .needs = NEEDS_RESET,
      .run = run_refused_then_load,
      .timeout_ms = LONG_MS },
    { .name = "refusal-then-a-save",
      .severity = CHECK_MUST,
      .rule = "After a load that was refused and a reset, the device can be "
              "saved (linux/vfio.h, VFIO_DEVICE_STATE_ERROR: a reset gives a "
              "device that works)",
      .look = AFTER_LOOK,
      .needs = NEEDS_RESET,
      .run = run_refused_then_save,
      .timeout_ms = LONG_MS },
    { .name = NULL },
};
