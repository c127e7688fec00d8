/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA: none while the device is stopped, none at all from the moment on when
 * the request for it has been answered, and all of it when it runs again.
 */
#include <stdio.h>
#include <string.h>

#include "check/rig.h"
#include "check/groups.h"
#include "check/steps.h"

/* How long somebody is watched who has to be quiet, and how often. */
#define QUIET_MS 25
#define ROUNDS   5
/* Pages of a stream that have to come after it went on. */
#define MORE     8

/* The driver does what it says: else the rest of the group proves nothing. */
static int run_fill(struct run *r, struct rig *rig)
{
    struct raw_range range = rig_pages(3, 5);
    size_t page;

    memset(rig->memory, 0xa5, RIG_SIZE);
    rig_remember(rig);
    if (rig_fill(r, rig, range) != 0)
        return CHECK_OVER;
    for (size_t i = 3; i < 8; i++)
        if (memcmp(rig->memory + i * RIG_PAGE, rig->before + i * RIG_PAGE,
                   RIG_PAGE) == 0)
            return check_fail(r, "page %zu was not written", i);
    memcpy(rig->memory + 3 * RIG_PAGE, rig->before + 3 * RIG_PAGE,
           5 * RIG_PAGE);
    if (!rig_is_as_before(rig, &page))
        return check_fail(r,
                          "pages 3 to 7 were to be written, and page %zu "
                          "was too",
                          page);
    return 0;
}

static int is_p2p(uint32_t state)
{
    return state == UAPI_STATE_RUNNING_P2P || state == UAPI_STATE_PRE_COPY_P2P;
}

static int run_quiet(struct run *r, struct rig *rig)
{
    char when[64];

    if (is_p2p(rig->state) && !rig->driver->is_quiet_in_p2p)
        return check_skip(r, "the driver of %s does no DMA between devices",
                          rig->driver->name);
    if (rig_stream(r, rig) != 0 || step_go(r, rig->state) != 0)
        return CHECK_OVER;
    snprintf(when, sizeof(when), "the device was in %s",
             step_state_name(rig->state));
    return rig_expect_quiet(r, rig, QUIET_MS, when);
}

/* As the answer comes, the last write is in memory. */
static int run_quiet_at_once(struct run *r, struct rig *rig)
{
    if (rig_stream(r, rig) != 0)
        return CHECK_OVER;
    for (unsigned int i = 0; i < ROUNDS; i++) {
        uint64_t highest;

        if (step_try(r, UAPI_STATE_STOP) < 0)
            return check_fail(r, "RUNNING -> STOP is refused");
        if (rig_expect_quiet(r, rig, 10,
                             "the device had just said that it had stopped") !=
            0)
            return CHECK_OVER;
        highest = rig_highest(rig);
        if (step_go(r, UAPI_STATE_RUNNING) != 0 ||
            rig_wait_for(r, rig, highest + MORE) != 0)
            return CHECK_OVER;
    }
    return 0;
}

static int run_goes_on_while_saved(struct run *r, struct rig *rig)
{
    if (rig_stream(r, rig) != 0 || step_go(r, rig->state) != 0)
        return CHECK_OVER;
    return rig_wait_for(r, rig, rig_highest(rig) + MORE);
}

/* Page @i of the memory, in a stream that had got to page @was: what was there
 * before is still that, or what came @RIG_PAGES pages later. */
static int expect_no_repetition(struct run *r, const struct rig *rig, size_t i,
                                const char *after)
{
    const uint8_t *before = rig->before + i * RIG_PAGE;
    const uint8_t *now = rig->memory + i * RIG_PAGE;
    uint64_t was = rig->driver->page_number(before);
    uint64_t is = rig->driver->page_number(now);

    if (was == UINT64_MAX || (is != UINT64_MAX && is > was) ||
        memcmp(before, now, RIG_PAGE) == 0)
        return 0;
    return check_fail(r,
                      "after %s page %llu of the stream was written a second "
                      "time",
                      after, (unsigned long long)was);
}

/* What a stream had written when it was stopped is remembered: from there on
 * it goes, with no page left out and none written twice. */
static int expect_continued(struct run *r, struct rig *rig, const char *after)
{
    uint64_t was = rig_highest(rig);

    if (rig_wait_for(r, rig, was + MORE) != 0)
        return CHECK_OVER;
    for (size_t i = 0; i < RIG_PAGES; i++)
        if (expect_no_repetition(r, rig, i, after) != 0)
            return CHECK_OVER;
    for (uint64_t n = was + 1; n <= was + MORE; n++) {
        uint64_t is =
            rig->driver->page_number(rig->memory + n % RIG_PAGES * RIG_PAGE);

        if (is == UINT64_MAX || is < n)
            return check_fail(r,
                              "after %s page %llu of the stream was left out; "
                              "%llu was the last before",
                              after, (unsigned long long)n,
                              (unsigned long long)was);
    }
    return 0;
}

static int run_goes_on(struct run *r, struct rig *rig)
{
    if (rig_stream(r, rig) != 0 || step_go(r, UAPI_STATE_STOP) != 0)
        return CHECK_OVER;
    rig_remember(rig);
    if (step_go(r, UAPI_STATE_RUNNING) != 0)
        return CHECK_OVER;
    return expect_continued(r, rig, "a stop");
}

/* In STOP, if the device lets itself be reset there: it is another then. */
static int become_another(struct run *r, struct rig *rig)
{
    uint32_t state;

    if ((r->has & NEEDS_RESET) == 0 || raw_reset(r->raw) < 0 ||
        raw_get_state(r->raw, &state) < 0 || state != UAPI_STATE_RUNNING)
        return 0;
    if (rig->driver->enable != NULL && rig->driver->enable(r->raw) < 0)
        return check_fail(r, "after a reset DMA cannot be made possible");
    return 0;
}

static int run_goes_on_after_load(struct run *r, struct rig *rig)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    if (rig_stream(r, rig) == 0 && step_save(r, &image) == 0) {
        rig_remember(rig);
        if (become_another(r, rig) == 0 && step_load(r, &image) == 0 &&
            step_go(r, UAPI_STATE_RUNNING) == 0)
            ret = expect_continued(r, rig, "a load");
    }
    image_free(&image);
    return ret;
}

static int run_quiet_after_reset(struct run *r, struct rig *rig)
{
    int ret;

    if (rig_stream(r, rig) != 0)
        return CHECK_OVER;
    ret = raw_reset(r->raw);
    if (ret < 0)
        return check_fail(r, "a reset in RUNNING gives %s", step_errno(ret));
    ret = rig->driver->enable != NULL ? rig->driver->enable(r->raw) : 0;
    if (ret < 0)
        return rig_driver_failed(r, ret, "make DMA possible after a reset");
    return rig_expect_quiet(r, rig, QUIET_MS, "the device had been reset");
}

#define QUIET_RULE(state)                                             \
    "No DMA in " state " (linux/vfio.h, VFIO_DEVICE_STATE_STOP: the " \
    "device is stopped and writes no memory)"
#define P2P_RULE(state)                                                    \
    "In " state " a device starts no DMA to other devices (linux/vfio.h, " \
    "VFIO_DEVICE_STATE_RUNNING_P2P)"
#define QUIET_LOOK                                                        \
    "whether the step waits until the engine is idle and its last write " \
    "has been acknowledged"
#define ON_RULE                                                           \
    "DMA that was under way goes on where it was, once, when the device " \
    "runs again (linux/vfio.h, VFIO_DEVICE_STATE_RUNNING)"
#define ON_LOOK                                                           \
    "what is kept, and saved, of an operation that was stopped: what it " \
    "was, and how far it had got"

#define DMA(name_, rule_, look_, needs_, fn_, state_)                        \
    {                                                                        \
        .name = name_, .severity = CHECK_MUST, .rule = rule_, .look = look_, \
        .needs = NEEDS_DRIVER | NEEDS_MAPPING | (needs_), .run = rig_run,    \
        .arg = &(const struct rig_check)                                     \
        {                                                                    \
            fn_, state_                                                      \
        }                                                                    \
    }

const struct check checks_dma[] = {
    DMA("dma-writes-what-it-is-told",
        "DMA writes the memory that a driver names, and no other "
        "(linux/vfio.h, VFIO_IOMMU_MAP_DMA)",
        "the driver of the suite, or the length of the last transfer", 0,
        run_fill, 0),
    DMA("dma-quiet-in-STOP", QUIET_RULE("STOP"), QUIET_LOOK, 0, run_quiet,
        UAPI_STATE_STOP),
    DMA("dma-quiet-in-STOP_COPY", QUIET_RULE("STOP_COPY"), QUIET_LOOK, 0,
        run_quiet, UAPI_STATE_STOP_COPY),
    DMA("dma-quiet-in-RESUMING", QUIET_RULE("RESUMING"), QUIET_LOOK, 0,
        run_quiet, UAPI_STATE_RESUMING),
    DMA("dma-quiet-in-RUNNING_P2P", P2P_RULE("RUNNING_P2P"), QUIET_LOOK,
        NEEDS_P2P, run_quiet, UAPI_STATE_RUNNING_P2P),
    DMA("dma-quiet-in-PRE_COPY_P2P", P2P_RULE("PRE_COPY_P2P"), QUIET_LOOK,
        NEEDS_P2P | NEEDS_PRE_COPY, run_quiet, UAPI_STATE_PRE_COPY_P2P),
    DMA("dma-quiet-at-once",
        "When the request to stop has been answered, the last write has "
        "landed (linux/vfio.h, VFIO_DEVICE_STATE_STOP)",
        QUIET_LOOK, 0, run_quiet_at_once, 0),
    DMA("dma-quiet-after-reset",
        "A reset ends all DMA (linux/vfio.h, VFIO_DEVICE_RESET)",
        "whether the reset handler stops the engine", NEEDS_RESET,
        run_quiet_after_reset, 0),
    DMA("dma-goes-on-in-PRE_COPY",
        "In PRE_COPY the device runs as in RUNNING (linux/vfio.h, "
        "VFIO_DEVICE_STATE_PRE_COPY)",
        "what PRE_COPY stops", NEEDS_PRE_COPY, run_goes_on_while_saved,
        UAPI_STATE_PRE_COPY),
    DMA("dma-goes-on-after-STOP", ON_RULE, ON_LOOK, 0, run_goes_on, 0),
    DMA("dma-goes-on-after-a-load", ON_RULE, ON_LOOK, 0, run_goes_on_after_load,
        0),
    { .name = NULL },
};
