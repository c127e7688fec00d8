/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device with a driver, and memory that both can reach.
 *
 * Whether somebody is quiet can only be seen by waiting for a while; everything
 * else is waited for until it is there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "check/rig.h"
#include "check/steps.h"
#include "util/clock.h"

#define WAIT_MS 10000
/* Pages of a stream that show that it flows. */
#define SOME    8

void rig_sleep_ms(unsigned int ms)
{
    const struct timespec t = { .tv_sec = ms / 1000,
                                .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

int rig_driver_failed(struct run *r, int error, const char *what)
{
    return check_fail(r, "the driver cannot %s: %s", what, step_errno(error));
}

struct raw_range rig_pages(size_t first, size_t count)
{
    return (struct raw_range){ RIG_IOVA + first * RIG_PAGE, count * RIG_PAGE };
}

static int make_memory(struct rig *rig)
{
    rig->fd = memfd_create("vfmig-check-dma", MFD_CLOEXEC);
    if (rig->fd < 0 || ftruncate(rig->fd, RIG_SIZE) < 0)
        return -errno;
    rig->memory =
        mmap(NULL, RIG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, rig->fd, 0);
    if (rig->memory == MAP_FAILED) {
        rig->memory = NULL;
        return -errno;
    }
    rig->before = malloc(RIG_SIZE);
    return rig->before == NULL ? -ENOMEM : 0;
}

static void free_memory(struct rig *rig)
{
    if (rig->memory != NULL)
        munmap(rig->memory, RIG_SIZE);
    if (rig->fd >= 0)
        close(rig->fd);
    free(rig->before);
}

static int set_up(struct run *r, struct rig *rig)
{
    int ret = make_memory(rig);

    if (ret < 0)
        return check_skip(r, "there is no memory for DMA: %s", step_errno(ret));
    ret = raw_dma_map(r->raw, rig_pages(0, RIG_PAGES), rig->fd);
    if (ret < 0)
        return check_skip(r, "memory cannot be mapped: %s", step_errno(ret));
    ret = rig->driver->enable != NULL ? rig->driver->enable(r->raw) : 0;
    return ret < 0 ? rig_driver_failed(r, ret, "make DMA possible") : 0;
}

/* Takes back what other checks would be surprised by. */
static void tear_down(struct run *r, const struct rig *rig)
{
    if (run_bring_back(r) < 0)
        return;
    if (rig->driver->stop != NULL)
        rig->driver->stop(r->raw);
    if ((r->has & NEEDS_LOG) != 0)
        raw_log_stop(r->raw);
    raw_dma_unmap(r->raw, rig_pages(0, RIG_PAGES));
}

int rig_run(struct run *r, const void *arg)
{
    const struct rig_check *check = arg;
    struct rig rig = { .driver = r->driver, .fd = -1, .state = check->state };
    int ret = set_up(r, &rig);

    if (ret == 0)
        ret = check->fn(r, &rig);
    tear_down(r, &rig);
    free_memory(&rig);
    return ret;
}

static int wait_until_idle(struct run *r, struct rig *rig)
{
    int64_t deadline = clock_deadline(WAIT_MS);

    for (;;) {
        bool busy;
        int ret = rig->driver->is_busy(r->raw, &busy);

        if (ret < 0)
            return rig_driver_failed(r, ret, "finish DMA");
        if (!busy)
            return 0;
        if (clock_now() > deadline)
            return check_fail(r, "DMA that was started does not end");
        rig_sleep_ms(1);
    }
}

int rig_fill(struct run *r, struct rig *rig, struct raw_range range)
{
    int ret;

    if (rig->driver->fill == NULL || rig->driver->is_busy == NULL)
        return check_skip(r, "the driver of %s writes nothing",
                          rig->driver->name);
    ret = rig->driver->fill(r->raw, range);
    return ret < 0 ? rig_driver_failed(r, ret, "write by DMA")
                   : wait_until_idle(r, rig);
}

int rig_copy(struct run *r, struct rig *rig, uint64_t from, struct raw_range to)
{
    int ret;

    if (rig->driver->copy == NULL || rig->driver->is_busy == NULL)
        return check_skip(r, "the driver of %s reads nothing",
                          rig->driver->name);
    ret = rig->driver->copy(r->raw, from, to);
    return ret < 0 ? rig_driver_failed(r, ret, "copy by DMA")
                   : wait_until_idle(r, rig);
}

uint64_t rig_highest(const struct rig *rig)
{
    uint64_t highest = UINT64_MAX;

    for (size_t i = 0; i < RIG_PAGES; i++) {
        uint64_t n = rig->driver->page_number(rig->memory + i * RIG_PAGE);

        if (n != UINT64_MAX && (highest == UINT64_MAX || n > highest))
            highest = n;
    }
    return highest;
}

int rig_wait_for(struct run *r, struct rig *rig, uint64_t number)
{
    int64_t deadline = clock_deadline(WAIT_MS);

    for (;;) {
        uint64_t highest = rig_highest(rig);

        if (highest != UINT64_MAX && highest >= number)
            return 0;
        if (clock_now() > deadline)
            return check_fail(r,
                              "DMA does not go on: page %llu of the stream was "
                              "not written",
                              (unsigned long long)number);
        rig_sleep_ms(1);
    }
}

int rig_stream(struct run *r, struct rig *rig)
{
    int ret;

    if (rig->driver->stream == NULL || rig->driver->page_number == NULL)
        return check_skip(r, "the driver of %s writes no stream",
                          rig->driver->name);
    memset(rig->memory, 0, RIG_SIZE);
    ret = rig->driver->stream(r->raw, rig_pages(0, RIG_PAGES), RIG_RATE);
    if (ret < 0)
        return rig_driver_failed(r, ret, "start a stream of DMA");
    return rig_wait_for(r, rig, SOME);
}

void rig_remember(struct rig *rig)
{
    memcpy(rig->before, rig->memory, RIG_SIZE);
}

bool rig_is_as_before(const struct rig *rig, size_t *page)
{
    for (size_t i = 0; i < RIG_PAGES; i++)
        if (memcmp(rig->before + i * RIG_PAGE, rig->memory + i * RIG_PAGE,
                   RIG_PAGE) != 0) {
            *page = i;
            return false;
        }
    return true;
}

int rig_expect_quiet(struct run *r, struct rig *rig, unsigned int ms,
                     const char *when)
{
    size_t page;

    rig_remember(rig);
    rig_sleep_ms(ms);
    if (rig_is_as_before(rig, &page))
        return 0;
    return check_fail(r,
                      "%s, and within %u ms it wrote to memory all the same, "
                      "page %zu first",
                      when, ms, page);
}
