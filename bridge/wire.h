/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_WIRE_H
#define VFM_BRIDGE_WIRE_H

/*
 * Bytes and descriptors over a socket, whole, before a deadline (clock_now()'s
 * time).  Nothing here knows what they mean.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define WIRE_MAX_FDS 16

struct wire_fds {
    int fd[WIRE_MAX_FDS];
    unsigned count;
};

/* Sends all of @parts, which it changes.  Returns 0 or a negative errno. */
int wire_send(int fd, struct iovec *parts, size_t num_parts,
              const struct wire_fds *fds, int64_t deadline);

/* Receives exactly @len bytes; descriptors that come with them are appended to
 * @fds, or closed if that is NULL or full.  -ECONNRESET: the peer is gone. */
int wire_receive(int fd, void *buf, size_t len, struct wire_fds *fds,
                 int64_t deadline);

/* As wire_receive(), into the program's memory: where that is not there the
 * bytes are dropped, and -EFAULT is returned when all have come. */
int wire_receive_there(int fd, void *buf, size_t len, struct wire_fds *fds,
                       int64_t deadline);

/* Receives and forgets @len bytes. */
int wire_skip(int fd, size_t len, int64_t deadline);

void wire_close_fds(struct wire_fds *fds);

#endif
