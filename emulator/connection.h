/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_CONNECTION_H
#define VFM_EMULATOR_CONNECTION_H

/*
 * One client of the device, from accept to hang-up.
 *
 * Commands are carried out in order, each as soon as it is there whole and
 * there is room for the largest reply.  Nothing blocks, nothing grows: a
 * client that does not read its replies is not read from.
 *
 * Threads: none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emulator/area.h"
#include "emulator/device.h"
#include "emulator/transport.h"

/* The largest command with a deferred answer: a change of state. */
#define DEFERRED_MAX 64

struct connection {
    struct dma_peer peer; /* what the DMA engine sees of us */
    struct device *device;
    struct transport main;
    struct transport twin; /* fd -1: not used */
    int twin_client_fd;    /* on its way to the client; else -1 */
    bool negotiated;
    bool closing;       /* once all is sent */
    int64_t hold_until; /* replies wait until then; 0: they do not */
    uint32_t client_max_xfer;

    struct area area;
    uint64_t area_offered; /* what we said we take of it */

    uint16_t next_id;
    bool dma_pending; /* a DMA message of ours is not answered */
    uint16_t dma_id;
    uint16_t dma_command;

    /* A change of state that waits for the DMA engine to come to rest. */
    bool deferred;
    int64_t deferred_until;
    struct vfu_header deferred_header;
    uint8_t deferred_payload[DEFERRED_MAX];
};

/* A command, as its handler sees it. */
struct request {
    uint32_t command;
    const uint8_t *payload;
    size_t size;
    int fds[TRANSPORT_FDS_MAX]; /* -1: taken by the handler */
    size_t num_fds;
};

/* And its reply, without the header. */
struct reply {
    uint8_t *payload;
    size_t room;
    size_t size;
    int fd; /* -1: none; stays its owner's */
    unsigned fd_copies;
};

/* Takes over the socket, on failure too.  Returns 0 or a negative errno. */
int connection_open(struct device *device, int fd, struct connection **out);
void connection_close(struct connection *c);

/* Does what can be done now; @gone: the client hung up.  Returns 0, or
 * negative: it is over. */
int connection_serve(struct connection *c, bool gone);

/* When it wants to be served again even if nothing arrives. */
int64_t connection_deadline(const struct connection *c);

/* The events to poll the sockets for. */
short connection_events(struct connection *c);

#endif
