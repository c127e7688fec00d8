/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_WIRE_H
#define VFM_CHECK_WIRE_H

/*
 * One message out, its answer in: vfio-user over a UNIX socket, without
 * anything that a client would do to be fast or forgiving.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vfmig/error.h>

#include "protocol/vfio-user.h"

/* The most data that one message may carry. */
#define WIRE_DATA_MAX (UINT32_C(16) << 20)

struct wire {
    int fd; /* -1: not connected */
    uint16_t next_id;
    uint8_t *in; /* an answer's payload */
    size_t in_room;
    uint32_t max_data; /* as agreed */
    bool takes_whole;  /* messages, however the socket cuts them */
};

/* What goes out: up to two parts of a payload, and a descriptor or -1. */
struct wire_message {
    enum vfu_command command;
    const void *head;
    size_t head_size;
    const void *data;
    size_t data_size;
    int fd;
};

/* Connects to @path and agrees on a version, until @deadline. */
int wire_open(struct wire *w, const char *path, int64_t deadline,
              struct vfm_error *err);
/* May be called twice. */
void wire_close(struct wire *w);

/*
 * Sends @m and waits for its answer until @deadline.
 *
 * Returns the size of the payload in w->in, which may be longer than its
 * meaning, or the errno of the answer, or that of the transport, and then
 * *@broken is the same.
 */
ssize_t wire_call(struct wire *w, const struct wire_message *m,
                  int64_t deadline, int *broken);

#endif
