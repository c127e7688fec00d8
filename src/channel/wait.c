/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting: for descriptors, until a deadline, unless cancelled.
 *
 * What for, and what it means, is left to the callers.
 */
#include <assert.h>
#include <errno.h>

#include "channel/wait.h"
#include "util/clock.h"

int wait_events(struct pollfd *fds, int n, int64_t deadline, int cancel_fd)
{
    struct pollfd all[WAIT_FDS_MAX + 1];
    int ready;

    assert(n >= 0 && n <= WAIT_FDS_MAX);
    for (int i = 0; i < n; i++)
        all[i] = fds[i];
    /* poll() ignores negative descriptors. */
    all[n] = (struct pollfd){ .fd = cancel_fd, .events = POLLIN };

    do
        ready = poll(all, (nfds_t)n + 1, clock_poll_timeout(deadline));
    while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return -errno;
    if (all[n].revents != 0)
        return -ECANCELED;
    for (int i = 0; i < n; i++)
        fds[i].revents = all[i].revents;
    return ready == 0 ? -ETIMEDOUT : ready;
}

int wait_fd(int fd, short events, int64_t deadline, int cancel_fd)
{
    struct pollfd pfd = { .fd = fd, .events = events };
    int ret = wait_events(&pfd, 1, deadline, cancel_fd);

    return ret > 0 ? 0 : ret;
}

int wait_retry(int64_t deadline, int cancel_fd)
{
    int64_t moment = clock_now() + WAIT_RETRY_MS * NS_PER_MS;
    int ret = wait_events(NULL, 0, clock_min(moment, deadline), cancel_fd);

    if (ret == -ETIMEDOUT && moment < deadline)
        return 0;
    return ret;
}
