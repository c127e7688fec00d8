/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Having a device saved, and loaded with what it gave, against the clock.
 *
 * Saving costs a device nothing but the time that it is stopped for.  From the
 * moment that it is being loaded its content is in a file of ours only, so from
 * there on a signal waits until it has all of it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "interrupt.h"
#include "util/clock.h"
#include "util/error.h"

#define CHUNK           (1 << 20)

/* A device that has more and more in PRE_COPY is stopped all the same. */
#define PRE_COPY_MAX_NS (10 * NS_PER_SEC)

struct run {
    struct bench *bench;
    struct vfm_device *dev;
    enum vfm_state was;
    int fd; /* what was saved; -1: not kept */
    uint64_t kept;
    char *buf;
    uint64_t bytes; /* read in this round, */
    int64_t ns;     /* and how long that took */
    bool is_loading;
};

static bool is_running(enum vfm_state state)
{
    return state == VFM_STATE_RUNNING || state == VFM_STATE_RUNNING_P2P;
}

int bench_check_state(struct vfm_device *dev, struct vfm_error *err)
{
    enum vfm_state state = vfm_device_state(dev);
    int ret = device_arg_can_move(dev, err);

    if (ret < 0)
        return ret;
    if (is_running(state) || state == VFM_STATE_STOP)
        return 0;
    return error_set(err, -EBUSY,
                     "%s: it is in %s: somebody moves it, or gave up on that; "
                     "nothing was touched",
                     vfm_device_name(dev), vfm_state_name(state));
}

/* Takes the device there; how long that took goes to @figure. */
static int go(struct run *run, enum vfm_state state, int figure,
              struct vfm_error *err)
{
    int64_t start = clock_now();
    int ret = vfm_device_set_state(run->dev, state, err);

    if (ret == 0 && figure >= 0)
        bench_add(run->bench, (enum bench_figure)figure,
                  (uint64_t)(clock_now() - start));
    return ret;
}

static int keep(struct run *run, size_t len, struct vfm_error *err)
{
    for (size_t done = 0; run->fd >= 0 && done < len;) {
        ssize_t n = pwrite(run->fd, run->buf + done, len - done,
                           (off_t)(run->kept + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, n < 0 ? -errno : -ENOSPC,
                             "bench: cannot keep the device's state: %s",
                             strerror(n < 0 ? errno : ENOSPC));
        done += (size_t)n;
    }
    run->kept += len;
    return 0;
}

/* Reads what there is, or until it takes too long. */
static int read_state(struct run *run, int64_t until, struct vfm_error *err)
{
    while (until == CLOCK_NEVER || clock_now() < until) {
        int64_t start = clock_now();
        ssize_t n = vfm_device_read(run->dev, run->buf, CHUNK, err);
        int ret;

        run->ns += clock_now() - start;
        if (n == 0 || n == -ENOMSG)
            return 0;
        if (n < 0)
            return (int)n;
        run->bytes += (uint64_t)n;
        ret = keep(run, (size_t)n, err);
        if (ret < 0)
            return ret;
        if (interrupt_is_pending())
            return error_set(err, -ECANCELED, "bench: cancelled");
    }
    return 0;
}

static int save_running(struct run *run, struct vfm_error *err)
{
    int ret;

    if (!is_running(run->was) ||
        !vfm_device_has_state(run->dev, VFM_STATE_PRE_COPY))
        return 0;
    ret = go(run, VFM_STATE_PRE_COPY, BENCH_PRE_COPY_NS, err);
    if (ret == 0)
        ret = read_state(run, clock_now() + PRE_COPY_MAX_NS, err);
    if (ret == 0)
        bench_add(run->bench, BENCH_PRE_COPY_BYTES, run->bytes);
    return ret;
}

static int save(struct run *run, struct vfm_error *err)
{
    uint64_t before;
    int ret;

    run->bytes = run->kept = 0;
    run->ns = 0;
    ret = save_running(run, err);
    if (ret == 0)
        ret = go(run, VFM_STATE_STOP_COPY,
                 is_running(run->was) ? BENCH_STOP_NS : -1, err);
    before = run->bytes;
    if (ret == 0)
        ret = read_state(run, CLOCK_NEVER, err);
    if (ret == 0)
        ret = go(run, VFM_STATE_STOP, BENCH_END_NS, err);
    if (ret < 0)
        return ret;
    bench_add(run->bench, BENCH_STOP_COPY_BYTES, run->bytes - before);
    if (run->bytes > 0 && run->ns > 0)
        bench_add(
            run->bench, BENCH_SAVE_RATE,
            (uint64_t)((double)run->bytes * NS_PER_SEC / (double)run->ns));
    return 0;
}

/* Gives the device what the file holds. */
static int write_state(struct run *run, struct vfm_error *err)
{
    int64_t ns = 0;

    for (uint64_t at = 0; at < run->kept;) {
        size_t len = run->kept - at < CHUNK ? (size_t)(run->kept - at) : CHUNK;
        ssize_t n = pread(run->fd, run->buf, len, (off_t)at);
        int64_t start = clock_now();
        int ret;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, -EIO, "bench: cannot read what was kept");
        ret = vfm_device_write(run->dev, run->buf, (size_t)n, err);
        if (ret < 0)
            return ret;
        ns += clock_now() - start;
        at += (uint64_t)n;
    }
    if (run->kept > 0 && ns > 0)
        bench_add(run->bench, BENCH_LOAD_RATE,
                  (uint64_t)((double)run->kept * NS_PER_SEC / (double)ns));
    return 0;
}

static int load(struct run *run, struct vfm_error *err)
{
    int ret;

    run->is_loading = true;
    ret = go(run, VFM_STATE_RESUMING, BENCH_RESUME_NS, err);
    if (ret == 0)
        ret = write_state(run, err);
    if (ret == 0)
        ret = go(run, VFM_STATE_STOP, BENCH_CHECK_NS, err);
    run->is_loading = ret < 0;
    return ret;
}

static int one_round(struct run *run, struct vfm_error *err)
{
    int ret = save(run, err);

    if (ret == 0 && run->fd >= 0)
        ret = load(run, err);
    if (ret == 0 && is_running(run->was))
        ret = go(run, run->was, BENCH_RUN_NS, err);
    if (ret == 0 && interrupt_is_pending())
        ret = error_set(err, -ECANCELED, "bench: cancelled");
    return ret;
}

/* Nobody else sees what a device holds: no name, mode 0600. */
static int open_kept(struct run *run, struct vfm_error *err)
{
    const char *folder = getenv("TMPDIR");

    if (folder == NULL || folder[0] == '\0')
        folder = "/var/tmp";
    run->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return run->fd < 0 ? error_set(err, -errno,
                                   "bench: %s: cannot keep a state there: %s",
                                   folder, strerror(errno))
                       : 0;
}

static int run_rounds(struct run *run, unsigned int rounds, bool *is_lost,
                      struct vfm_error *err)
{
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < rounds; i++)
        ret = one_round(run, err);
    if (ret < 0) {
        enum vfm_recovery how = vfm_device_recover(run->dev, run->was, err);

        /* A load that is left has taken what was there with it. */
        *is_lost = run->is_loading || how == VFM_RECOVERY_RESET ||
                   how == VFM_RECOVERY_FAILED;
        if (*is_lost)
            error_add(err, "what it held is lost");
    }
    return ret;
}

int bench_device(struct bench *bench, struct vfm_device *dev,
                 unsigned int rounds, bool load_too, bool *is_lost,
                 struct vfm_error *err)
{
    struct run run = {
        .bench = bench, .dev = dev, .was = vfm_device_state(dev), .fd = -1
    };
    int ret = 0;

    if (load_too)
        ret = open_kept(&run, err);
    if (ret < 0)
        return ret;
    run.buf = aligned_alloc(4096, CHUNK);
    if (run.buf == NULL)
        ret = error_set(err, -ENOMEM, "bench: out of memory");
    else
        ret = run_rounds(&run, rounds, is_lost, err);
    free(run.buf);
    if (run.fd >= 0)
        close(run.fd);
    return ret;
}
