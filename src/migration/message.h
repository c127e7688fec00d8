/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_MESSAGE_H
#define VFM_SRC_MIGRATION_MESSAGE_H

/*
 * What the two sides say to each other beside the stream.
 *
 * The frame is that of QEMU's return path: type and length, 16 bits each,
 * big-endian, then the payload.  The target says such things from the hello on,
 * the source only after the end of its stream.  Types below MESSAGE_PROGRESS
 * are QEMU's and the only ones a QEMU is sent.
 */

#include <stdint.h>

#include <vfmig/error.h>

#include "migration/inbox.h"
#include "migration/outbox.h"

enum message_type {
    MESSAGE_SHUT = 1,           /* target: u32, 0: all was loaded */
    MESSAGE_PONG = 2,           /* target: u32 of the ping */
    MESSAGE_SWITCHOVER_ACK = 7, /* target: initial data is loaded */

    MESSAGE_PROGRESS = 0x8001, /* target: u64 bytes loaded, u64 busy ns */
    MESSAGE_LOADED = 0x8002,   /* target: all is checked; u64 check ns */
    MESSAGE_YOURS = 0x8003,    /* source: u8, 1: run the devices */
    MESSAGE_RUNNING = 0x8004,  /* target: they run; u64 when it heard
                                * "yours", u64 now */
    MESSAGE_RETURNED = 0x8005, /* target: they don't and won't; why */
    MESSAGE_FAILED = 0x8006,   /* either: it is over; why */
    MESSAGE_SPANS = 0x8007,    /* target: what it did when; span.h */
    MESSAGE_SPENT = 0x8008,    /* target: u64 ns by cause; no more of these */
    MESSAGE_READY = 0x8009,    /* target: its devices are in RESUMING */
};

struct message {
    enum message_type type;
    uint16_t len;
    const uint8_t *payload; /* valid until the inbox is filled again */
};

/* Makes a message the outbox's piece.  A payload that is too long is cut. */
void message_put(struct outbox *box, enum message_type type,
                 const void *payload, size_t len);

/* Puts two 64-bit numbers; @n says how many of them. */
void message_put_u64(struct outbox *box, enum message_type type, unsigned int n,
                     uint64_t a, uint64_t b);

/* Takes the next message out of @in.  Returns 1, 0 if it is not all there, or
 * -EPROTO. */
int message_next(struct inbox *in, struct message *msg, struct vfm_error *err);

/* The @n-th number of @msg's payload; 0 if it has none. */
uint64_t message_u64(const struct message *msg, unsigned int n);

/* Copies @msg's payload, which is text, into @text, terminated. */
void message_text(const struct message *msg, char *text, size_t size);

#endif
