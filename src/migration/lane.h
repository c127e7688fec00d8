/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_LANE_H
#define VFM_SRC_MIGRATION_LANE_H

/*
 * Channels beside the main one, each in QEMU's multifd layout: what is left of
 * the devices' state when they have stopped goes over them, in packets that say
 * whose they are and where they belong.
 *
 *   lane.c           one channel: its life, what goes out, what comes in
 *   source-lanes.c   the source: whose data is next on which
 *   target-join.c    the target: who connects, and whether they may
 *   target-lanes.c   the target: packets in their order
 *
 * How many there are is agreed in the hello, and so is a nonce, with which a
 * connection shows whose it is.  Each ends with a barrier: one that ends
 * without was lost.
 *
 * They can be compressed, from behind the first packet on: stream/packing.h.
 *
 * Memory is a buffer for each, whatever the peer does.  A source puts the
 * packets of a device on the lanes in the order of their indices.  So of all
 * that is under way the oldest is at the front of its lane, and its turn has
 * come: a target need not read a lane whose first packet has to wait, and if
 * all of them have to, one is missing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/channel.h>
#include <vfmig/migration.h>
#include <vfmig/stream.h>

#include "migration/inbox.h"
#include "migration/landing.h"
#include "migration/outbox.h"
#include "stream/packing.h"

struct member;

#define NONCE_BYTES    16
#define NONCE_HEX_SIZE (2 * NONCE_BYTES + 1)

/* The buffer of one, and all of them together unless the user says more or
 * less. */
#define LANE_CHUNK_MAX ((size_t)1 << 20)
#define LANE_CHUNK_MIN ((size_t)64 << 10)
#define LANES_MEMORY   ((uint64_t)16 << 20)

/* Connections that have not said yet whose they are: the source's may all be,
 * and others. */
#define STRANGERS_MAX  (VFM_CHANNELS_MAX + 8)

struct lane {
    struct vfm_channel *channel;
    unsigned int number;
    bool over; /* the barrier at its end was sent; came */

    /* Since the setup: the first byte, the last, and when there was no room,
     * or nothing came. */
    int64_t began_at;
    int64_t ended_at;
    int64_t blocked_at; /* 0: it is not */
    uint64_t blocked_ns;

    /* Source. */
    struct outbox outbox;
    uint8_t *rest; /* what the channel did not take at once */
    size_t size;   /* of it */
    struct packer *packer;
    uint8_t *packed; /* a packet, compressed */

    /* Target. */
    struct inbox inbox;
    struct unpacker *unpacker;
    struct inbox packed_inbox; /* with that: what came */
    struct vfm_multifd_decoder *decoder;
    struct vfm_multifd_event event; /* not yet fully used */
    bool has_event;
    bool counted;           /* its packet is in the window */
    size_t used;            /* bytes of it */
    struct landing landing; /* where its data is */
};

struct stranger {
    struct vfm_channel *channel;
    struct vfm_multifd_decoder *decoder;
};

struct lanes {
    unsigned int count; /* agreed; 0: all goes over the main channel */
    bool compressed;    /* agreed */
    unsigned int joined;
    struct lane *lanes[VFM_CHANNELS_MAX];
    uint8_t nonce[NONCE_BYTES];
    size_t chunk;   /* the size of a buffer */
    uint64_t bytes; /* that passed, of lanes that are closed */

    unsigned int turn; /* the device that is next */
    unsigned int next; /* the lane that is */

    struct stranger strangers[STRANGERS_MAX];
    unsigned int num_strangers;
    unsigned int turned_away;
};

/* lane.c.  Chooses the size of a buffer.  Returns 0 or -EINVAL. */
int lanes_init(struct vfm_migration *m, struct vfm_error *err);
/* Closes them all, and whoever waits to be one. */
void lanes_close(struct vfm_migration *m);
/* Makes @ch, which it then owns no matter what, a lane of that number. */
int lane_add(struct vfm_migration *m, struct vfm_channel *ch,
             unsigned int number, struct lane **lanep, struct vfm_error *err);
/* Puts what is in the outbox, a whole packet, in its compressed form there if
 * that was agreed; all of it is copied then.  Returns 0 or an error. */
int lane_pack(struct lane *lane, struct vfm_error *err);
/* Sends what is in its outbox.  0 when it is empty, -EAGAIN, or an error. */
int lane_flush(struct vfm_migration *m, struct lane *lane,
               struct vfm_error *err);
/* Receives.  0 if there is news, -EAGAIN, or an error: an end is one. */
int lane_fill(struct vfm_migration *m, struct lane *lane,
              struct vfm_error *err);
/* Receives into its landing.  1 when that is ready, 0 at the end, -EAGAIN, or
 * an error. */
int lane_land(struct vfm_migration *m, struct lane *lane,
              struct vfm_error *err);
/* Fails if one was lost that has nothing to say. */
int lanes_watch(struct vfm_migration *m, struct vfm_error *err);
/* Bytes that passed over one, and over all of them. */
uint64_t lane_bytes(const struct lane *lane);
uint64_t lanes_bytes(const struct vfm_migration *m);

/* As text, and back: false if it is none. */
void nonce_print(const uint8_t nonce[NONCE_BYTES], char text[NONCE_HEX_SIZE]);
bool nonce_parse(const char *text, uint8_t nonce[NONCE_BYTES]);

/* source-lanes.c: connects them.  0 when all have said whose they are. */
int source_open_lanes(struct vfm_migration *m, struct vfm_error *err);
/* Sends what is left of the devices.  0 when all of it was sent, -EAGAIN, or
 * an error. */
int source_run_lanes(struct vfm_migration *m, struct vfm_error *err);

/* target-join.c: waits for them.  0 when all are there. */
int target_join_lanes(struct vfm_migration *m, struct vfm_error *err);
/* The entries to poll for that. */
#define JOIN_WATCHES (1 + 2 * STRANGERS_MAX)
int target_join_fds(const struct vfm_migration *m, struct pollfd *fds,
                    int64_t *ready_at);

/* target-lanes.c: loads what comes.  0 when all came, -EAGAIN, or an error. */
int target_load_lanes(struct vfm_migration *m, struct vfm_error *err);

#endif
