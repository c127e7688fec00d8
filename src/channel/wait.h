/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_CHANNEL_WAIT_H
#define VFM_SRC_CHANNEL_WAIT_H

#include <poll.h>
#include <stdint.h>

/* Between two attempts to reach a peer that is not there yet. */
#define WAIT_RETRY_MS 20

/* The most entries that wait_events() takes. */
#define WAIT_FDS_MAX  2

/*
 * Waits for one of the @n entries until @deadline.  @cancel_fd may be -1, @n
 * may be 0.
 *
 * Returns the number of entries that have an event.
 *   -ETIMEDOUT     the deadline passed
 *   -ECANCELED     @cancel_fd became readable, whatever the entries say
 */
int wait_events(struct pollfd *fds, int n, int64_t deadline, int cancel_fd);

/* The same for one descriptor; returns 0 instead of a number. */
int wait_fd(int fd, short events, int64_t deadline, int cancel_fd);

/* Lets a moment pass before another attempt; returns 0, -ETIMEDOUT when
 * @deadline comes before the attempt, or -ECANCELED. */
int wait_retry(int64_t deadline, int cancel_fd);

#endif
