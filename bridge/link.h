/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_LINK_H
#define VFM_BRIDGE_LINK_H

/*
 * A connection to a vfio-user server: one command at a time, of any thread.
 *
 * The server may ask for memory at any time.  It is answered by whoever waits
 * for a reply just then and, once link_serve() was called, by a thread of the
 * link: the program whose memory it is may be doing anything, or nothing.
 *
 * A connection that failed once stays failed: -EIO.
 *
 * Locks: @lock is held during a command; the memory functions are called with
 * it held or not, and must not use the link.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "bridge/wire.h"

/* Deadlines; ms. */
#define LINK_COMMAND_MS 10000
#define LINK_STATE_MS   120000
#define LINK_DATA_MS    60000

/* Data in one message, either way, whatever the server says. */
#define LINK_MAX_XFER   (UINT32_C(1) << 20)

struct link_memory {
    int (*read)(void *opaque, uint64_t iova, void *buf, size_t len);
    int (*write)(void *opaque, uint64_t iova, const void *buf, size_t len);
};

struct link {
    int fd;
    int twin_fd; /* -1: commands of the server come by fd, too */
    pthread_mutex_t lock;
    uint16_t next_id;
    int broken; /* 0 or -errno */

    /* What the server said. */
    uint32_t max_xfer;
    uint32_t max_fds;
    bool whole_messages;

    const struct link_memory *memory;
    void *opaque;
    uint8_t
        *buf;    /* for memory, LINK_MAX_XFER; with lock, if there is no twin */
    int wake_fd; /* tells the thread to end; -1: there is none */
    pthread_t thread;
};

/* Connects to @path.  @memory may be NULL. */
int link_open(struct link *l, const char *path,
              const struct link_memory *memory, void *opaque);
/* Others may still be calling: they get -EIO. */
void link_close(struct link *l);

/* In a child of the process: its sockets go, the connection stays the
 * parent's. */
void link_forget(struct link *l);

/* From now on what the server asks for is answered while nobody calls. */
int link_serve(struct link *l);

/* A command and what becomes of it. */
struct exchange {
    uint16_t command;
    uint32_t timeout_ms; /* 0: LINK_COMMAND_MS */

    /* If it is true when the command's turn comes, that is not sent: -ENODEV.
     * NULL: no condition. */
    const atomic_bool *is_late;

    const void *head; /* sent */
    size_t head_len;
    const void *body;
    size_t body_len;
    const struct wire_fds *fds;

    void *reply; /* its first bytes */
    size_t reply_room;
    void *data; /* the rest of them */
    size_t data_room;
    struct wire_fds *reply_fds;

    size_t reply_len; /* what came of both, at most what fits */
};

/* Returns 0, or the negative errno that the server answered. */
int link_call(struct link *l, struct exchange *x);

#endif
