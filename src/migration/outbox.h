/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_OUTBOX_H
#define VFM_SRC_MIGRATION_OUTBOX_H

/*
 * What is being sent: a head and a tail that are encoded here, and between
 * them a body that stays where it is, in one part or in many.  One such piece
 * at a time, so that memory is bounded and bulk data is never copied.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vfmig/channel.h>

#include "stream/encoder.h"

#define OUTBOX_HEAD_SIZE 4096
#define OUTBOX_TAIL_SIZE 64

/* The longest payload of a message; see message.h. */
#define MESSAGE_MAX      512

struct outbox {
    struct encoder head;
    struct encoder tail;
    const struct iovec *body; /* this, and what it points to, must stay until
                               * all was sent */
    int body_parts;
    size_t body_len;  /* of all parts */
    struct iovec one; /* where the body is, if it is in one part */

    size_t sent;       /* of the three together */
    int parts_sent;    /* of the body's parts, whole */
    size_t bytes_sent; /* what these had */
    uint8_t head_buf[OUTBOX_HEAD_SIZE];
    uint8_t tail_buf[OUTBOX_TAIL_SIZE];
};

/* Forgets what was not sent and begins an empty piece. */
void outbox_begin(struct outbox *box);

/* Gives the piece a body: @len bytes, or all of the @n parts in @parts, which
 * have @len bytes together. */
void outbox_set_body(struct outbox *box, const void *data, size_t len);
void outbox_set_parts(struct outbox *box, const struct iovec *parts, int n,
                      size_t len);

/* Whether there is nothing left to send. */
bool outbox_is_empty(const struct outbox *box);

/* Sends what it can.  Returns 0 when nothing is left, -EAGAIN, or an
 * error. */
int outbox_send(struct outbox *box, struct vfm_channel *ch,
                struct vfm_error *err);

#endif
