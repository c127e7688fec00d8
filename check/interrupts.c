/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts at the switch: none in STOP, none twice, none lost.
 *
 * Which eventfd belongs to an interrupt is no part of the state: whoever loads
 * one ties them anew.  That an interrupt was raised is.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check/rig.h"
#include "check/groups.h"
#include "check/steps.h"

/* How long an interrupt may take, and how long none must come. */
#define FIRES_MS  2000
#define SILENT_MS 15

/* The interrupt of a driver, and the eventfd that it is tied to. */
struct line {
    const struct driver *driver;
    int fd;
};

typedef int line_fn(struct run *r, struct line *l);

static int tie(struct run *r, const struct line *l)
{
    int ret =
        raw_set_irq(r->raw, l->driver->irq_index, l->driver->irq_vector, l->fd);

    if (ret < 0)
        return check_fail(r, "an interrupt cannot be tied to an eventfd: %s",
                          step_errno(ret));
    ret = l->driver->arm(r->raw);
    return ret < 0 ? rig_driver_failed(r, ret, "enable its interrupt") : 0;
}

static int with_line(struct run *r, const void *arg)
{
    line_fn *const *fn = arg;
    struct line l = { .driver = r->driver };
    int ret;

    if (l.driver->arm == NULL || l.driver->raise == NULL)
        return check_skip(r, "the driver of %s raises no interrupt",
                          l.driver->name);
    if (raw_irq_count(r->raw, l.driver->irq_index) <= (int)l.driver->irq_vector)
        return check_skip(r, "the device has no such interrupt");
    l.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l.fd < 0)
        return check_skip(r, "there is no eventfd: %s", step_errno(errno));
    ret = tie(r, &l);
    if (ret == 0)
        ret = (*fn)(r, &l);
    if (run_bring_back(r) == 0) {
        l.driver->arm(r->raw);
        raw_set_irq(r->raw, l.driver->irq_index, l.driver->irq_vector, -1);
    }
    close(l.fd);
    return ret;
}

static int raise_it(struct run *r, const struct line *l)
{
    int ret = l->driver->raise(r->raw);

    return ret < 0 ? rig_driver_failed(r, ret, "raise its interrupt") : 0;
}

/* How often it fired within @ms; waits until it did, or for all of @ms. */
static uint64_t fired(const struct line *l, int ms)
{
    struct pollfd p = { .fd = l->fd, .events = POLLIN };
    uint64_t count = 0;

    if (poll(&p, 1, ms) != 1 || read(l->fd, &count, sizeof(count)) < 0)
        return 0;
    return count;
}

static int expect_silent(struct run *r, const struct line *l, const char *when)
{
    uint64_t count = fired(l, SILENT_MS);

    return count == 0 ? 0 : check_fail(r, "the interrupt fired %s", when);
}

/* Once, and not a second time a bit later. */
static int expect_once(struct run *r, const struct line *l, const char *when)
{
    uint64_t count = fired(l, FIRES_MS);

    if (count == 0)
        return check_fail(r, "an interrupt that was raised %s never fired",
                          when);
    count += fired(l, SILENT_MS);
    if (count > 1)
        return check_fail(r, "an interrupt that was raised %s fired %llu times",
                          when, (unsigned long long)count);
    return 0;
}

static int expect_pending(struct run *r, const struct line *l, bool wanted,
                          const char *after)
{
    bool pending;
    int ret = l->driver->is_pending(r->raw, &pending);

    if (ret < 0)
        return rig_driver_failed(r, ret, "say what is pending");
    if (pending != wanted)
        return check_fail(r, "after %s the interrupt is %s", after,
                          wanted ? "no longer pending" : "still pending");
    return 0;
}

static int need_pending(struct run *r, const struct line *l)
{
    return l->driver->is_pending != NULL
               ? 0
               : check_skip(r, "the driver of %s does not know what is pending",
                            l->driver->name);
}

static int run_once(struct run *r, struct line *l)
{
    for (int i = 0; i < 3; i++)
        if (raise_it(r, l) != 0 || expect_once(r, l, "in RUNNING") != 0)
            return CHECK_OVER;
    return 0;
}

static int run_in_precopy(struct run *r, struct line *l)
{
    if (step_go(r, UAPI_STATE_PRE_COPY) != 0 || raise_it(r, l) != 0)
        return CHECK_OVER;
    return expect_once(r, l, "in PRE_COPY");
}

/* Nothing fires that nobody raised. */
static int run_unasked(struct run *r, struct line *l)
{
    if (step_have_image(r) != 0 || step_load(r, &r->image) != 0 ||
        step_go(r, UAPI_STATE_RUNNING) != 0)
        return CHECK_OVER;
    return expect_silent(r, l, "after a load, and nobody had raised it");
}

/* Raised while the device is stopped: comes later, or is pending. */
static int run_silent_in_stop(struct run *r, struct line *l)
{
    bool pending = false;
    uint64_t count;

    if (step_go(r, UAPI_STATE_STOP) != 0)
        return CHECK_OVER;
    if (l->driver->raise(r->raw) < 0)
        return check_skip(r, "in STOP registers cannot be written");
    if (expect_silent(r, l, "in STOP") != 0 ||
        step_go(r, UAPI_STATE_RUNNING) != 0)
        return CHECK_OVER;
    count = fired(l, SILENT_MS);
    if (l->driver->is_pending == NULL)
        return 0;
    if (l->driver->is_pending(r->raw, &pending) == 0 && count == 0 && !pending)
        return check_fail(r, "an interrupt that was raised in STOP is lost");
    return 0;
}

static int run_after_stop(struct run *r, struct line *l)
{
    if (step_go(r, UAPI_STATE_STOP) != 0 ||
        step_go(r, UAPI_STATE_RUNNING) != 0 || raise_it(r, l) != 0)
        return CHECK_OVER;
    return expect_once(r, l, "after a stop");
}

static int reset(struct run *r)
{
    int ret = raw_reset(r->raw);

    return ret < 0
               ? check_fail(r, "a reset in RUNNING gives %s", step_errno(ret))
               : 0;
}

static int save_and_run(struct run *r, struct image *image)
{
    if (step_save(r, image) != 0)
        return CHECK_OVER;
    return step_go(r, UAPI_STATE_RUNNING);
}

static int load_and_run(struct run *r, const struct image *image)
{
    if (step_load(r, image) != 0)
        return CHECK_OVER;
    return step_go(r, UAPI_STATE_RUNNING);
}

static int run_after_load(struct run *r, struct line *l)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    if (save_and_run(r, &image) == 0 && load_and_run(r, &image) == 0 &&
        tie(r, l) == 0 && raise_it(r, l) == 0)
        ret = expect_once(r, l, "after a load");
    image_free(&image);
    return ret;
}

/* What is loaded enables the interrupt: the driver does not do it again. */
static int run_enabled_by_load(struct run *r, struct line *l)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    if (save_and_run(r, &image) == 0 && reset(r) == 0 &&
        load_and_run(r, &image) == 0 && raise_it(r, l) == 0)
        ret = expect_once(r, l,
                          "after a load of a state in which it is "
                          "enabled");
    image_free(&image);
    return ret;
}

static int run_not_again(struct run *r, struct line *l)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    if (raise_it(r, l) == 0 && expect_once(r, l, "in RUNNING") == 0 &&
        save_and_run(r, &image) == 0 && load_and_run(r, &image) == 0)
        ret = expect_silent(r, l,
                            "a second time, after it had fired and was loaded");
    image_free(&image);
    return ret;
}

static int run_pending_over_stop(struct run *r, struct line *l)
{
    if (need_pending(r, l) != 0 || raise_it(r, l) != 0 ||
        step_go(r, UAPI_STATE_STOP) != 0 || step_go(r, UAPI_STATE_RUNNING) != 0)
        return CHECK_OVER;
    return expect_pending(r, l, true, "a stop");
}

static int run_pending_loaded(struct run *r, struct line *l)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    if (need_pending(r, l) == 0 && raise_it(r, l) == 0 &&
        save_and_run(r, &image) == 0 && reset(r) == 0 &&
        load_and_run(r, &image) == 0)
        ret = expect_pending(r, l, true, "a load");
    image_free(&image);
    return ret;
}

/* A state without an interrupt, loaded where one is pending. */
static int run_none_loaded(struct run *r, struct line *l)
{
    struct image image = { .data = NULL };
    int ret = CHECK_OVER;

    if (need_pending(r, l) == 0 && save_and_run(r, &image) == 0 &&
        raise_it(r, l) == 0 && load_and_run(r, &image) == 0)
        ret = expect_pending(r, l, false, "a load of a state without one");
    image_free(&image);
    return ret;
}

static int run_not_after_reset(struct run *r, struct line *l)
{
    if (need_pending(r, l) != 0 || raise_it(r, l) != 0 || reset(r) != 0)
        return CHECK_OVER;
    return expect_pending(r, l, false, "a reset");
}

static int set_mask(struct run *r, const struct line *l, uint32_t action)
{
    return raw_mask_irq(r->raw, l->driver->irq_index, l->driver->irq_vector,
                        action);
}

static int mask_and_raise(struct run *r, struct line *l)
{
    if (set_mask(r, l, UAPI_IRQ_ACTION_MASK) < 0)
        return check_skip(r, "the interrupt cannot be masked");
    if (raise_it(r, l) != 0)
        return CHECK_OVER;
    return expect_silent(r, l, "while it was masked");
}

static int unmask(struct run *r, struct line *l, const char *when)
{
    int ret = set_mask(r, l, UAPI_IRQ_ACTION_UNMASK);

    if (ret < 0)
        return check_fail(r, "the interrupt cannot be unmasked: %s",
                          step_errno(ret));
    return expect_once(r, l, when);
}

static int run_masked(struct run *r, struct line *l)
{
    if (mask_and_raise(r, l) != 0)
        return CHECK_OVER;
    return unmask(r, l, "while it was masked");
}

static int run_masked_over_stop(struct run *r, struct line *l)
{
    if (mask_and_raise(r, l) != 0 || step_go(r, UAPI_STATE_STOP) != 0 ||
        step_go(r, UAPI_STATE_RUNNING) != 0 ||
        expect_silent(r, l, "while it was masked, after a stop") != 0)
        return CHECK_OVER;
    return unmask(r, l, "while it was masked, before a stop");
}

#define KEPT_RULE                                                      \
    " (linux/vfio.h, VFIO_DEVICE_STATE_STOP and RESUMING: all of the " \
    "device's state is kept, what is pending too)"
#define LINE_RULE " (linux/vfio.h, VFIO_DEVICE_SET_IRQS)"
#define FIRE_LOOK                                                         \
    "where the eventfd is signalled: once for each event, and not while " \
    "the device is stopped"
#define KEPT_LOOK                                                           \
    "whether the register of causes is saved, loaded, and left alone by a " \
    "stop"

#define IRQ(name_, severity_, rule_, look_, needs_, fn_)                    \
    {                                                                       \
        .name = name_, .severity = severity_, .rule = rule_, .look = look_, \
        .needs = NEEDS_DRIVER | (needs_), .run = with_line,                 \
        .arg = &(line_fn *const)                                            \
        {                                                                   \
            fn_                                                             \
        }                                                                   \
    }

const struct check checks_interrupts[] = {
    IRQ("irq-fires-once", CHECK_MUST,
        "An interrupt signals its eventfd once" LINE_RULE, FIRE_LOOK, 0,
        run_once),
    IRQ("irq-fires-in-PRE_COPY", CHECK_MUST,
        "In PRE_COPY the device runs as in RUNNING (linux/vfio.h, "
        "VFIO_DEVICE_STATE_PRE_COPY)",
        FIRE_LOOK, NEEDS_PRE_COPY, run_in_precopy),
    IRQ("irq-silent-in-STOP", CHECK_MUST,
        "A device that is stopped sends no interrupt; what is raised then "
        "comes later, or is pending" KEPT_RULE,
        FIRE_LOOK, 0, run_silent_in_stop),
    IRQ("irq-works-after-STOP", CHECK_MUST,
        "A stop leaves eventfds tied" LINE_RULE,
        "what stopping does to the vectors", 0, run_after_stop),
    IRQ("irq-works-after-a-load", CHECK_MUST,
        "After a load eventfds are tied and interrupts work" LINE_RULE,
        "what loading does to the vectors", 0, run_after_load),
    IRQ("irq-enabled-by-a-load", CHECK_MUST,
        "Which interrupts are enabled is a part of the state" KEPT_RULE,
        "whether masks and enables are saved and loaded", NEEDS_RESET,
        run_enabled_by_load),
    IRQ("irq-none-unasked", CHECK_SHOULD, "A load raises nothing" KEPT_RULE,
        FIRE_LOOK, 0, run_unasked),
    IRQ("irq-not-sent-again", CHECK_SHOULD,
        "An interrupt that was sent before a save is not sent again after "
        "the load" KEPT_RULE,
        "how sent and pending are told apart in the state", 0, run_not_again),
    IRQ("irq-pending-over-STOP", CHECK_MUST,
        "A stop forgets no cause" KEPT_RULE, KEPT_LOOK, 0,
        run_pending_over_stop),
    IRQ("irq-pending-loaded", CHECK_MUST,
        "A cause that is pending moves with the device" KEPT_RULE, KEPT_LOOK,
        NEEDS_RESET, run_pending_loaded),
    IRQ("irq-none-loaded", CHECK_MUST,
        "A load replaces what was pending" KEPT_RULE, KEPT_LOOK, 0,
        run_none_loaded),
    IRQ("irq-none-after-reset", CHECK_MUST,
        "A reset forgets what was pending (linux/vfio.h, VFIO_DEVICE_RESET)",
        "what the reset handler leaves as it is", NEEDS_RESET,
        run_not_after_reset),
    IRQ("irq-masked-is-kept", CHECK_MUST,
        "What is raised while it is masked fires when it is unmasked" LINE_RULE,
        "the pending bit of a masked vector", 0, run_masked),
    IRQ("irq-masked-over-STOP", CHECK_MUST,
        "A stop changes neither masks nor what is pending" LINE_RULE,
        "what stopping does to the vectors", 0, run_masked_over_stop),
    { .name = NULL },
};
