/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_BENCH_WIRE_H
#define VFM_TOOL_BENCH_WIRE_H

/*
 * What the two sides of a bench say to each other: frames of one length.
 *
 *     HELLO  a: 1 if there is a device            answered with a HELLO
 *            b: the caller's run, any number
 *     PING   a: anything                          PONG, a: the same
 *     BULK   a: bytes, which follow               DONE
 *     TRIAL                                       GO, then a migration, which
 *                                                 takes the connection with it
 *     FETCH                                       RESULT, of the last TRIAL:
 *                                                 a: ns of the target's check,
 *                                                 b: ns of its start,
 *                                                 c: how busy, thousandths
 *     BYE    a: 1 if it is the last connection    nothing; the end
 *     REFUSED  a: bytes of text that follow       any answer may be that
 */

#include <stdint.h>

#include <vfmig/channel.h>
#include <vfmig/error.h>

#define WIRE_VERSION    1

/* How long a side is waited for, */
#define WIRE_TIMEOUT_MS 30000

/* one that sends or takes a BULK, which may be in a slow link's buffers, */
#define WIRE_BULK_MS    (4 * WIRE_TIMEOUT_MS)

/* and one that asks, before its next question. */
#define WIRE_ASKING_MS  (10 * 60 * 1000)

/* The most bytes of a BULK, */
#define WIRE_BULK_MAX   (UINT64_C(4) << 30)

/* and frames of a connection. */
#define WIRE_FRAMES_MAX 1024

enum wire_type {
    WIRE_HELLO = 1,
    WIRE_PING,
    WIRE_PONG,
    WIRE_BULK,
    WIRE_DONE,
    WIRE_TRIAL,
    WIRE_GO,
    WIRE_FETCH,
    WIRE_RESULT,
    WIRE_BYE,
    WIRE_REFUSED,
};

struct wire {
    uint16_t type;
    uint64_t a;
    uint64_t b;
    uint64_t c;
};

int wire_send(struct vfm_channel *ch, const struct wire *wire,
              struct vfm_error *err);
/* Also if it is of another type than @want, 0: any; and a refusal is an error
 * with the other side's words.  @deadline: util/clock.h, here and below. */
int wire_recv(struct vfm_channel *ch, uint16_t want, struct wire *wire,
              int64_t deadline, struct vfm_error *err);
int wire_refuse(struct vfm_channel *ch, const char *text,
                struct vfm_error *err);

/* @bytes that mean nothing. */
int wire_send_bulk(struct vfm_channel *ch, uint64_t bytes, int64_t deadline,
                   struct vfm_error *err);
int wire_recv_bulk(struct vfm_channel *ch, uint64_t bytes, int64_t deadline,
                   struct vfm_error *err);

#endif
