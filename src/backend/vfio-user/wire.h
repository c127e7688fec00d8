/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_BACKEND_VFIO_USER_WIRE_H
#define VFM_SRC_BACKEND_VFIO_USER_WIRE_H

/*
 * vfio-user messages on a stream socket, without waiting.
 *
 * Receiving is a state machine that its user drives: the header, then, once
 * the user has said where it goes, exactly the body that the header announces.
 * What does not fit there is read and dropped, so that whatever the message
 * says the next one begins where it should.
 *
 * Sending is one sendmsg() per message where the socket has room.  What it has
 * no room for is kept and sent by wire_flush().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "protocol/vfio-user.h"

/* Descriptors that one message may bring.  More is an error of the peer. */
#define WIRE_MAX_FDS      16

/* Descriptors that one message may take along: the kernel's SCM_MAX_FD. */
#define WIRE_MAX_SEND_FDS 253

/* Most parts of a message to send. */
#define WIRE_MAX_PARTS    4

/* Memory kept for what is to be sent above which nothing more should be
 * received: what is received may call for an answer. */
#define WIRE_MAX_UNSENT   (UINT32_C(4) << 20)

/* How long the kernel may have no memory for us. */
#define WIRE_SHORTAGE_NS  (INT64_C(5) * 1000 * 1000 * 1000)

struct wire_unsent;

struct wire {
    int fd; /* -1: closed; as if nothing ever came */

    /* The message being received.  in_body: its header is complete. */
    struct vfu_header header;
    size_t header_have;
    bool in_body;
    uint8_t *body;   /* where it goes; the user's */
    size_t body_cap; /* how much of it */
    size_t body_size;
    size_t body_have;
    int fds[WIRE_MAX_FDS];
    unsigned int num_fds;

    /* The peer reads no more.  What it sent before may still be there. */
    bool send_broken;
    int64_t short_since; /* the kernel has had no memory; 0: it has */
    struct wire_unsent *unsent;
    struct wire_unsent **unsent_end;
    size_t unsent_bytes;
};

/* Takes @fd, which may be -1, over. */
void wire_init(struct wire *w, int fd);

/* Closes all descriptors and forgets what was not sent. */
void wire_close(struct wire *w);

/* The same, but leaves the socket open, which is the caller's from then on. */
void wire_release(struct wire *w);

/*
 * Receives the header of the next message.  Returns 0 when it is complete (the
 * body is next), -EAGAIN while it is not.
 *   -ENOTCONN  the peer is gone
 *   -EPROTO    a message shorter than its header, or with too many
 *              descriptors
 */
int wire_receive_header(struct wire *w);

/* Says where the body goes: @cap bytes at @buf; the rest is dropped. */
void wire_expect_body(struct wire *w, void *buf, size_t cap);

/* Receives the body.  Returns 0 when the message is complete, -EAGAIN or
 * -ENOTCONN. */
int wire_receive_body(struct wire *w);

/* Takes the message's descriptor number @index away, which then is the
 * caller's.  Returns it, or -1 if there is none. */
int wire_take_fd(struct wire *w, unsigned int index);

/* The message is done with: closes the descriptors nobody took. */
void wire_next_message(struct wire *w);

/* Sends a message, or keeps what there is no room for.  The first part begins
 * with its header; @fds must stay open until it is sent.  Returns 0 or a
 * negative errno.
 *   -ENOMEM    nothing of it was sent, and all else is as before */
int wire_send(struct wire *w, const struct iovec *parts, int num_parts,
              const int *fds, unsigned int num_fds);

/* The same, but -EAGAIN if not even a part of it could be sent now. */
int wire_try_send(struct wire *w, const struct iovec *parts, int num_parts);

/* Sends what was kept.  Returns 0 if nothing is left, -EAGAIN or an error. */
int wire_flush(struct wire *w);

/* Whether the command @id of ours is not yet sent as a whole. */
bool wire_is_sending(const struct wire *w, uint16_t id);

#endif
