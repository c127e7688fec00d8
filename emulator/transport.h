/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_TRANSPORT_H
#define VFM_EMULATOR_TRANSPORT_H

/*
 * Messages over a socket that never block.
 *
 * Both directions have one buffer of fixed size, in which messages lie
 * whole: they are taken and made in place.  Descriptors arrive with the first
 * byte of their message and leave the same way.
 *
 * Ownership: the transport owns its socket, and descriptors that arrived
 * until transport_take_fds().  Threads: none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/vfio-user.h"

/* Descriptors with one message, at most; surplus ones are closed. */
#define TRANSPORT_FDS_MAX     8
/* Replies with descriptors that are queued, at most. */
#define TRANSPORT_OUT_FDS_MAX 4

struct transport {
    int fd;
    size_t message_max;

    uint8_t *in;
    size_t in_room;
    size_t in_begin;
    size_t in_end;
    uint64_t in_position; /* of in_end, in all that ever arrived */
    int fds[TRANSPORT_FDS_MAX];
    size_t num_fds;
    uint64_t fds_position; /* where the bytes that they came with end */

    uint8_t *out;
    size_t out_room;
    size_t out_begin;
    size_t out_end;
    size_t split; /* bytes per send; 0: all */
    struct {
        size_t at;
        int fd;
        unsigned copies;
    } out_fds[TRANSPORT_OUT_FDS_MAX];
    size_t num_out_fds;
};

/* Takes over the socket @fd, on failure too.  Returns 0 or -errno. */
int transport_init(struct transport *t, int fd, size_t message_max,
                   size_t reply_max);
void transport_free(struct transport *t);

/* Receives what is there.  Returns the number of bytes; 0: the peer closed;
 * -EAGAIN: nothing now; or another negative errno. */
long transport_receive(struct transport *t);

/* Copies the header at the front.  Returns 1: its message is there, whole;
 * 0: not yet; -EINVAL: its size cannot be. */
int transport_peek(const struct transport *t, struct vfu_header *header);

/* The bytes at the front, at any alignment. */
const uint8_t *transport_front(const struct transport *t);

/* Bytes that have arrived and were not dropped. */
size_t transport_available(const struct transport *t);

/* Is the message that is at the front going to be @size bytes: take its
 * descriptors.  Returns how many. */
size_t transport_take_fds(struct transport *t, size_t size,
                          int fds[TRANSPORT_FDS_MAX]);

/* Drops @size bytes from the front. */
void transport_drop(struct transport *t, size_t size);

/* Room for one reply of the largest size; null: not now. */
void *transport_reserve(struct transport *t);

/* Queues @size bytes of the reserved room, and @fd (-1: none), of which
 * @copies go with it.  The descriptor stays the caller's and must live until
 * it is sent. */
void transport_commit(struct transport *t, size_t size, int fd,
                      unsigned copies);

/* Bytes that are queued and not sent. */
size_t transport_pending(const struct transport *t);

/* Sends what can be sent.  Returns 0: all of it; -EAGAIN; or -errno. */
int transport_flush(struct transport *t);

/* Forgets all but the first @size bytes that are queued. */
void transport_cut(struct transport *t, size_t size);

#endif
