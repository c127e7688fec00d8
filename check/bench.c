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

#include <vfmig/device.h>

#include "check/bench.h"
#include "check/steps.h"
#include "util/clock.h"

#define WAIT_MS 10000
/* Pages of a stream that show that it flows. */
#define SOME    8

void bench_sleep_ms(unsigned int ms)
{
    const struct timespec t = { .tv_sec = ms / 1000,
                                .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

int bench_driver_failed(struct run *r, int error, const char *what)
{
    return check_fail(r, "the driver cannot %s: %s", what, step_errno(error));
}

struct raw_range bench_pages(size_t first, size_t count)
{
    return (struct raw_range){ BENCH_IOVA + first * BENCH_PAGE,
                               count * BENCH_PAGE };
}

static int make_memory(struct bench *b)
{
    b->fd = memfd_create("vfmig-check-dma", MFD_CLOEXEC);
    if (b->fd < 0 || ftruncate(b->fd, BENCH_SIZE) < 0)
        return -errno;
    b->memory =
        mmap(NULL, BENCH_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
    if (b->memory == MAP_FAILED) {
        b->memory = NULL;
        return -errno;
    }
    b->before = malloc(BENCH_SIZE);
    return b->before == NULL ? -ENOMEM : 0;
}

static void free_memory(struct bench *b)
{
    if (b->memory != NULL)
        munmap(b->memory, BENCH_SIZE);
    if (b->fd >= 0)
        close(b->fd);
    free(b->before);
}

static int set_up(struct run *r, struct bench *b)
{
    int ret = make_memory(b);

    if (ret < 0)
        return check_skip(r, "there is no memory for DMA: %s", step_errno(ret));
    ret = raw_dma_map(r->raw, bench_pages(0, BENCH_PAGES), b->fd);
    if (ret < 0)
        return check_skip(r, "memory cannot be mapped: %s", step_errno(ret));
    ret = b->driver->enable != NULL ? b->driver->enable(r->raw) : 0;
    return ret < 0 ? bench_driver_failed(r, ret, "make DMA possible") : 0;
}

/* Takes back what other checks would be surprised by. */
static void tear_down(struct run *r, const struct bench *b)
{
    if (run_bring_back(r) < 0)
        return;
    if (b->driver->stop != NULL)
        b->driver->stop(r->raw);
    if ((r->has & NEEDS_LOG) != 0)
        raw_log_stop(r->raw);
    raw_dma_unmap(r->raw, bench_pages(0, BENCH_PAGES));
}

int bench_run(struct run *r, const void *arg)
{
    const struct bench_check *check = arg;
    struct bench b = { .driver = r->driver, .fd = -1, .state = check->state };
    int ret = set_up(r, &b);

    if (ret == 0)
        ret = check->fn(r, &b);
    tear_down(r, &b);
    free_memory(&b);
    return ret;
}

static int wait_until_idle(struct run *r, struct bench *b)
{
    int64_t deadline = clock_deadline(WAIT_MS);

    for (;;) {
        bool busy;
        int ret = b->driver->is_busy(r->raw, &busy);

        if (ret < 0)
            return bench_driver_failed(r, ret, "finish DMA");
        if (!busy)
            return 0;
        if (clock_now() > deadline)
            return check_fail(r, "DMA that was started does not end");
        bench_sleep_ms(1);
    }
}

int bench_fill(struct run *r, struct bench *b, struct raw_range range)
{
    int ret;

    if (b->driver->fill == NULL || b->driver->is_busy == NULL)
        return check_skip(r, "the driver of %s writes nothing",
                          b->driver->name);
    ret = b->driver->fill(r->raw, range);
    return ret < 0 ? bench_driver_failed(r, ret, "write by DMA")
                   : wait_until_idle(r, b);
}

int bench_copy(struct run *r, struct bench *b, uint64_t from,
               struct raw_range to)
{
    int ret;

    if (b->driver->copy == NULL || b->driver->is_busy == NULL)
        return check_skip(r, "the driver of %s reads nothing", b->driver->name);
    ret = b->driver->copy(r->raw, from, to);
    return ret < 0 ? bench_driver_failed(r, ret, "copy by DMA")
                   : wait_until_idle(r, b);
}

uint64_t bench_highest(const struct bench *b)
{
    uint64_t highest = UINT64_MAX;

    for (size_t i = 0; i < BENCH_PAGES; i++) {
        uint64_t n = b->driver->page_number(b->memory + i * BENCH_PAGE);

        if (n != UINT64_MAX && (highest == UINT64_MAX || n > highest))
            highest = n;
    }
    return highest;
}

int bench_wait_for(struct run *r, struct bench *b, uint64_t number)
{
    int64_t deadline = clock_deadline(WAIT_MS);

    for (;;) {
        uint64_t highest = bench_highest(b);

        if (highest != UINT64_MAX && highest >= number)
            return 0;
        if (clock_now() > deadline)
            return check_fail(r,
                              "DMA does not go on: page %llu of the stream was "
                              "not written",
                              (unsigned long long)number);
        bench_sleep_ms(1);
    }
}

int bench_stream(struct run *r, struct bench *b)
{
    int ret;

    if (b->driver->stream == NULL || b->driver->page_number == NULL)
        return check_skip(r, "the driver of %s writes no stream",
                          b->driver->name);
    memset(b->memory, 0, BENCH_SIZE);
    ret = b->driver->stream(r->raw, bench_pages(0, BENCH_PAGES), BENCH_RATE);
    if (ret < 0)
        return bench_driver_failed(r, ret, "start a stream of DMA");
    return bench_wait_for(r, b, SOME);
}

void bench_remember(struct bench *b)
{
    memcpy(b->before, b->memory, BENCH_SIZE);
}

bool bench_is_as_before(const struct bench *b, size_t *page)
{
    for (size_t i = 0; i < BENCH_PAGES; i++)
        if (memcmp(b->before + i * BENCH_PAGE, b->memory + i * BENCH_PAGE,
                   BENCH_PAGE) != 0) {
            *page = i;
            return false;
        }
    return true;
}

int bench_expect_quiet(struct run *r, struct bench *b, unsigned int ms,
                       const char *when)
{
    size_t page;

    bench_remember(b);
    bench_sleep_ms(ms);
    if (bench_is_as_before(b, &page))
        return 0;
    return check_fail(r,
                      "%s, and within %u ms it wrote to memory all the same, "
                      "page %zu first",
                      when, ms, page);
}
