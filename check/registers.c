/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a driver of the device finds in it: its registers and memory, after a
 * stop, a save, a load and a reset.
 */
#include <errno.h>

#include "check/rig.h"
#include "check/driver.h"
#include "check/groups.h"
#include "check/loading.h"
#include "check/steps.h"

#define SEED_A   UINT64_C(0x0123456789abcdef)
#define SEED_B   UINT64_C(0xf00dfacecafebeef)
/* How long a counter is watched. */
#define WATCH_MS 5

static int mark(struct run *r, uint64_t seed)
{
    int ret;

    if (r->driver->mark == NULL || r->driver->find == NULL)
        return check_skip(r, "the driver of %s knows no registers",
                          r->driver->name);
    ret = r->driver->mark(r->raw, seed);
    return ret < 0 ? rig_driver_failed(r, ret, "write registers") : 0;
}

static int find(struct run *r, uint64_t seed, const char *after)
{
    const char *what = "";
    int ret = r->driver->find(r->raw, seed, &what);

    if (ret == -EILSEQ)
        return check_fail(r, "after %s %s is not what it was", after, what);
    return ret < 0 ? rig_driver_failed(r, ret, "read registers") : 0;
}

/* There and back, without a word about state. */
static int run_round(struct run *r, const void *arg)
{
    uint32_t state = *(const uint32_t *)arg;

    if (mark(r, SEED_A) != 0 || step_go(r, state) != 0 ||
        step_go(r, UAPI_STATE_RUNNING) != 0)
        return CHECK_OVER;
    return find(r, SEED_A, "a stop");
}

static int run_saved(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (mark(r, SEED_A) == 0 && step_save(r, &image) == 0 &&
        step_go(r, UAPI_STATE_RUNNING) == 0)
        ret = find(r, SEED_A, "a save");
    image_free(&image);
    return ret;
}

/* Who has lost its client is still in the middle of a save. */
static int run_client_lost(struct run *r, const void *arg)
{
    (void)arg;
    if (mark(r, SEED_A) != 0 || step_go(r, UAPI_STATE_STOP_COPY) != 0 ||
        step_hang_up(r) != 0 || step_set(r, UAPI_STATE_RUNNING) != 0)
        return CHECK_OVER;
    return find(r, SEED_A, "the loss of a client");
}

static int run_precopy_given_up(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (mark(r, SEED_A) == 0 && step_go(r, UAPI_STATE_PRE_COPY) == 0 &&
        step_read_precopy(r, &image, 1u << 20) == 0 &&
        step_go(r, UAPI_STATE_RUNNING) == 0)
        ret = find(r, SEED_A, "a PRE_COPY that was given up");
    image_free(&image);
    return ret;
}

static int reset(struct run *r)
{
    int ret = raw_reset(r->raw);

    if (ret < 0)
        return check_fail(r, "a reset in RUNNING gives %s", step_errno(ret));
    return step_expect_state(r, UAPI_STATE_RUNNING);
}

static int load_and_find(struct run *r, const struct image *image,
                         uint64_t seed)
{
    if (step_load(r, image) != 0 || step_go(r, UAPI_STATE_RUNNING) != 0)
        return CHECK_OVER;
    return find(r, seed, "a load");
}

static int run_loaded(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (mark(r, SEED_A) == 0 && step_save(r, &image) == 0 &&
        step_go(r, UAPI_STATE_RUNNING) == 0 && reset(r) == 0)
        ret = load_and_find(r, &image, SEED_A);
    image_free(&image);
    return ret;
}

/* As PRE_COPY moves it: marked after a part of the state has been read. */
static int run_loaded_late(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (mark(r, SEED_B) == 0 && step_go(r, UAPI_STATE_PRE_COPY) == 0 &&
        step_read_precopy(r, &image, SIZE_MAX / 2) == 0 &&
        mark(r, SEED_A) == 0 && step_go(r, UAPI_STATE_STOP_COPY) == 0 &&
        step_read_all(r, &image, 0) == 0 &&
        step_go(r, UAPI_STATE_RUNNING) == 0 && mark(r, SEED_B) == 0)
        ret = load_and_find(r, &image, SEED_A);
    image_free(&image);
    return ret;
}

static int save_marked(struct run *r, uint64_t seed, struct image *image)
{
    if (mark(r, seed) != 0 || step_save(r, image) != 0)
        return CHECK_OVER;
    return step_go(r, UAPI_STATE_RUNNING);
}

/* Two states in turn, each over the other, without a reset. */
static int run_loaded_over(struct run *r, const void *arg)
{
    struct image a = { .data = NULL };
    struct image b = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (save_marked(r, SEED_A, &a) == 0 && save_marked(r, SEED_B, &b) == 0 &&
        load_and_find(r, &a, SEED_A) == 0 && load_and_find(r, &b, SEED_B) == 0)
        ret = load_and_find(r, &a, SEED_A);
    image_free(&a);
    image_free(&b);
    return ret;
}

/* Other devices still run, and write to this one: its driver stands in for
 * them. */
static int mark_as_peer(struct run *r)
{
    if (mark(r, SEED_B) != 0 || step_go(r, UAPI_STATE_RUNNING_P2P) != 0)
        return CHECK_OVER;
    return mark(r, SEED_A);
}

static int run_peer_kept(struct run *r, const void *arg)
{
    (void)arg;
    if (mark_as_peer(r) != 0 || step_go(r, UAPI_STATE_STOP) != 0 ||
        step_go(r, UAPI_STATE_RUNNING) != 0)
        return CHECK_OVER;
    return find(r, SEED_A, "writes in RUNNING_P2P and a stop");
}

static int run_peer_loaded(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (mark_as_peer(r) == 0 && step_save(r, &image) == 0 &&
        step_go(r, UAPI_STATE_RUNNING) == 0 && mark(r, SEED_B) == 0)
        ret = load_and_find(r, &image, SEED_A);
    image_free(&image);
    return ret;
}

static int run_reset_clears(struct run *r, const void *arg)
{
    const char *what = "";
    int ret;

    (void)arg;
    if (r->driver->find_none == NULL)
        return check_skip(r, "the driver of %s does not say what a reset makes",
                          r->driver->name);
    if (mark(r, SEED_A) != 0 || reset(r) != 0)
        return CHECK_OVER;
    ret = r->driver->find_none(r->raw, &what);
    if (ret == -EILSEQ)
        return check_fail(r, "%s is not cleared by a reset", what);
    return ret < 0 ? rig_driver_failed(r, ret, "read registers") : 0;
}

static int count(struct run *r, uint64_t *ticks)
{
    int ret;

    if (r->driver->count == NULL)
        return check_skip(r, "the driver of %s knows no counter",
                          r->driver->name);
    ret = r->driver->count(r->raw, ticks);
    return ret < 0 ? rig_driver_failed(r, ret, "read the counter") : 0;
}

/* The counter after a while. */
static int count_later(struct run *r, uint64_t *ticks)
{
    rig_sleep_ms(WATCH_MS);
    return count(r, ticks);
}

static int run_counter_stands(struct run *r, const void *arg)
{
    uint64_t first = 0, second = 0;

    (void)arg;
    if (step_go(r, UAPI_STATE_STOP) != 0 || count(r, &first) != 0 ||
        count_later(r, &second) != 0)
        return CHECK_OVER;
    if (first != second)
        return check_fail(r, "in STOP the counter went from %llu to %llu",
                          (unsigned long long)first,
                          (unsigned long long)second);
    return 0;
}

static int run_counter_goes_on(struct run *r, const void *arg)
{
    uint64_t before = 0, stopped = 0, later = 0;

    (void)arg;
    if (count_later(r, &before) != 0 || step_go(r, UAPI_STATE_STOP) != 0 ||
        count(r, &stopped) != 0 || step_go(r, UAPI_STATE_RUNNING) != 0 ||
        count_later(r, &later) != 0)
        return CHECK_OVER;
    if (stopped < before || later <= stopped)
        return check_fail(r,
                          "the counter was %llu, in STOP %llu, and %llu when "
                          "the device ran again",
                          (unsigned long long)before,
                          (unsigned long long)stopped,
                          (unsigned long long)later);
    return 0;
}

/* Loads what was saved, and reads the counter in STOP. */
static int run_counter_loaded(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    uint64_t saved = 0, loaded = 0;
    int ret = CHECK_OVER;

    (void)arg;
    if (count_later(r, &saved) == 0 && step_save(r, &image) == 0 &&
        count(r, &saved) == 0 && step_go(r, UAPI_STATE_RUNNING) == 0 &&
        count_later(r, &loaded) == 0 && step_load(r, &image) == 0 &&
        count(r, &loaded) == 0)
        ret = loaded == saved
                  ? 0
                  : check_fail(r,
                               "the counter was %llu when the state was saved, "
                               "and is %llu where it was loaded",
                               (unsigned long long)saved,
                               (unsigned long long)loaded);
    image_free(&image);
    return ret;
}

/* The device changes its memory for a while, of its own accord. */
static int let_rewrite(struct run *r)
{
    int ret = r->driver->rewrite(r->raw, UINT64_C(64) << 20);

    rig_sleep_ms(WATCH_MS);
    if (ret == 0)
        ret = r->driver->rewrite(r->raw, 0);
    return ret < 0 ? rig_driver_failed(r, ret,
                                       "let the device rewrite its "
                                       "memory")
                   : 0;
}

static int run_rewritten_loaded(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    (void)arg;
    if (r->driver->rewrite == NULL)
        return check_skip(r, "the driver of %s changes no memory",
                          r->driver->name);
    if (loading_need_repeats(r) == 0 && let_rewrite(r) == 0 &&
        step_save(r, &image) == 0 && step_go(r, UAPI_STATE_RUNNING) == 0 &&
        let_rewrite(r) == 0 && step_load(r, &image) == 0)
        ret = loading_expect(r, &image,
                             "a load over memory that was rewritten since");
    image_free(&image);
    return ret;
}

static const uint32_t in_stop = UAPI_STATE_STOP;
static const uint32_t in_stop_copy = UAPI_STATE_STOP_COPY;
static const uint32_t in_running_p2p = UAPI_STATE_RUNNING_P2P;

#define STOP_RULE                                                          \
    "A stop and a save change nothing that a driver in the guest can see " \
    "(linux/vfio.h, VFIO_DEVICE_STATE_STOP)"
#define LOAD_RULE                                                          \
    "What a driver in the guest wrote is there after a load, and nothing " \
    "of what the device was before (linux/vfio.h, "                        \
    "VFIO_DEVICE_STATE_RESUMING)"
#define PEER_RULE                                                           \
    "In RUNNING_P2P a device takes what others write to it, as in RUNNING " \
    "(linux/vfio.h, VFIO_DEVICE_STATE_RUNNING_P2P)"
#define PEER_LOOK                                                            \
    "what is saved too early, or is no longer taken, when others may still " \
    "write"
#define COUNT_RULE                                           \
    "A device that is stopped does not work (linux/vfio.h, " \
    "VFIO_DEVICE_STATE_STOP)"
#define LOAD_LOOK                                                      \
    "the register that is named: whether it is in what is saved, and " \
    "whether loading writes all of it"
#define STOP_LOOK  "what stopping and saving write to the register"
#define COUNT_LOOK "what stops the clock of the device"
#define LONG_MS    120000

const struct check checks_registers[] = {
    { .name = "register-kept-over-STOP",
      .severity = CHECK_MUST,
      .rule = STOP_RULE,
      .look = STOP_LOOK,
      .needs = NEEDS_DRIVER,
      .run = run_round,
      .arg = &in_stop },
    { .name = "register-kept-over-STOP_COPY",
      .severity = CHECK_MUST,
      .rule = STOP_RULE,
      .look = STOP_LOOK,
      .needs = NEEDS_DRIVER,
      .run = run_round,
      .arg = &in_stop_copy },
    { .name = "register-kept-over-RUNNING_P2P",
      .severity = CHECK_MUST,
      .rule = STOP_RULE,
      .look = STOP_LOOK,
      .needs = NEEDS_DRIVER | NEEDS_P2P,
      .run = run_round,
      .arg = &in_running_p2p },
    { .name = "register-kept-over-a-save",
      .severity = CHECK_MUST,
      .rule = STOP_RULE,
      .look = STOP_LOOK,
      .needs = NEEDS_DRIVER,
      .run = run_saved,
      .timeout_ms = LONG_MS },
    { .name = "register-kept-over-a-lost-client",
      .severity = CHECK_MUST,
      .rule = "Closing a session, or the connection that has it, leaves the "
              "device as it is (docs/vfio-user.md, sessions)",
      .look = "what is reset when the last descriptor, or the client, goes",
      .needs = NEEDS_DRIVER,
      .run = run_client_lost },
    { .name = "register-kept-over-PRE_COPY-given-up",
      .severity = CHECK_MUST,
      .rule = STOP_RULE,
      .look = STOP_LOOK,
      .needs = NEEDS_DRIVER | NEEDS_PRE_COPY,
      .run = run_precopy_given_up },
    { .name = "register-loaded",
      .severity = CHECK_MUST,
      .rule = LOAD_RULE,
      .look = LOAD_LOOK,
      .needs = NEEDS_DRIVER | NEEDS_RESET,
      .run = run_loaded,
      .timeout_ms = LONG_MS },
    { .name = "register-loaded-over-others",
      .severity = CHECK_MUST,
      .rule = LOAD_RULE,
      .look = LOAD_LOOK,
      .needs = NEEDS_DRIVER,
      .run = run_loaded_over,
      .timeout_ms = LONG_MS },
    { .name = "register-written-in-PRE_COPY-loaded",
      .severity = CHECK_MUST,
      .rule = "What changes after it was read in PRE_COPY is read again "
              "(linux/vfio.h, VFIO_DEVICE_STATE_PRE_COPY)",
      .look = "what of the state is saved in STOP_COPY in any case",
      .needs = NEEDS_DRIVER | NEEDS_PRE_COPY,
      .run = run_loaded_late,
      .timeout_ms = LONG_MS },
    { .name = "register-written-in-RUNNING_P2P-kept",
      .severity = CHECK_MUST,
      .rule = PEER_RULE,
      .look = PEER_LOOK,
      .needs = NEEDS_DRIVER | NEEDS_P2P,
      .run = run_peer_kept },
    { .name = "register-written-in-RUNNING_P2P-loaded",
      .severity = CHECK_MUST,
      .rule = PEER_RULE,
      .look = PEER_LOOK,
      .needs = NEEDS_DRIVER | NEEDS_P2P,
      .run = run_peer_loaded,
      .timeout_ms = LONG_MS },
    { .name = "register-memory-loaded-over-newer",
      .severity = CHECK_SHOULD,
      .rule = LOAD_RULE,
      .look = "pages that are loaded only if they look older",
      .needs = NEEDS_DRIVER,
      .run = run_rewritten_loaded,
      .timeout_ms = LONG_MS },
    { .name = "register-cleared-by-reset",
      .severity = CHECK_SHOULD,
      .rule = "A reset brings the device to what it is at power-on "
              "(linux/vfio.h, VFIO_DEVICE_RESET)",
      .look = "what the driver's reset handler leaves as it is",
      .needs = NEEDS_DRIVER | NEEDS_RESET,
      .run = run_reset_clears },
    { .name = "register-counter-stands-in-STOP",
      .severity = CHECK_MUST,
      .rule = COUNT_RULE,
      .look = COUNT_LOOK,
      .needs = NEEDS_DRIVER,
      .run = run_counter_stands },
    { .name = "register-counter-goes-on",
      .severity = CHECK_MUST,
      .rule = STOP_RULE,
      .look = COUNT_LOOK,
      .needs = NEEDS_DRIVER,
      .run = run_counter_goes_on },
    { .name = "register-counter-loaded",
      .severity = CHECK_MUST,
      .rule = LOAD_RULE,
      .look = LOAD_LOOK,
      .needs = NEEDS_DRIVER,
      .run = run_counter_loaded,
      .timeout_ms = LONG_MS },
    { .name = NULL },
};
