/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_OUTBOX_H
#define VFM_SRC_MIGRATION_OUTBOX_H

/*
 * What is being sent: a head and a tail that are encoded here, and between
 * them a body that stays where it is.  One such piece at a time, so that memory
 * is bounded and bulk data is never copied.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/channel.h>

#include "stream/encoder.h"

#define OUTBOX_HEAD_SIZE 4096
#define OUTBOX_TAIL_SIZE 64

/* The longest payload of a message; see message.h. */
#define MESSAGE_MAX      512

struct outbox {
    struct encoder head;
    struct encoder tail;
    const void *body; /* must stay until all was sent */
    size_t body_len;
    size_t sent; /* of the three together */
    uint8_t head_buf[OUTBOX_HEAD_SIZE];
    uint8_t tail_buf[OUTBOX_TAIL_SIZE];
};

/* Forgets what was not sent and begins an empty piece. */
void outbox_begin(struct outbox *box);

/* Whether there is nothing left to send. */
bool outbox_is_empty(const struct outbox *box);

/* Sends what it can.  Returns 0 when nothing is left, -EAGAIN, or an
 * error. */
int outbox_send(struct outbox *box, struct vfm_channel *ch,
                struct vfm_error *err);

#endif
