/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_UNIT_BACKEND_FAKE_SERVER_H
#define VFM_TESTS_UNIT_BACKEND_FAKE_SERVER_H

/*
 * A vfio-user server in the test's own thread, over a socketpair.
 *
 * It works while the client waits: the test is linked with --wrap=poll and
 * --wrap=clock_gettime, and the poll() of this file lets the servers answer
 * what they were asked.  If that is nothing the client hears of, the clock,
 * which stands otherwise, jumps to the end of the wait.  So nothing sleeps,
 * and a wait without an end fails the test.
 *
 * By default it is a good server with a device of a few states.  A test
 * replaces the answer to one command by its own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/vfio_user.h>

#include "protocol/vfio-uapi.h"
#include "protocol/vfio-user.h"

#define FAKE_MAX_COMMAND 80
#define FAKE_MAX_FDS     64

struct fake_server;

/* The message just received. */
struct fake_message {
    struct vfu_header header;
    const uint8_t *body;
    size_t size; /* of the body */
    int fds[FAKE_MAX_FDS];
    unsigned int num_fds;
};

typedef void fake_handler(struct fake_server *f, const struct fake_message *m);

struct fake_server {
    int fd;
    int client_fd; /* the other end, until somebody owns it */
    int twin;      /* our end of the twin socket, or -1 */
    int listener;  /* the next client comes from here; -1: none */

    fake_handler *on[FAKE_MAX_COMMAND];   /* NULL: the good one */
    fake_handler *next[FAKE_MAX_COMMAND]; /* used once, before on */
    unsigned int asked[FAKE_MAX_COMMAND]; /* how often */
    uint16_t last_id;                     /* of the last message */
    bool silent;                          /* reads, but answers nothing */
    bool is_away;                         /* does not even read */

    const char *version; /* the reply's JSON */

    /* The device. */
    uint64_t features; /* by number */
    uint64_t migration;
    uint32_t state;
    uint8_t config[4096];
    uint32_t config_size;
    const uint8_t *data; /* what it saves */
    size_t data_size;
    size_t data_at;
    size_t data_piece; /* the most it says at once; 0: any */
    uint8_t *area;     /* that the client shares; NULL: none */
    size_t area_size;
    uint8_t *loaded;
    size_t loaded_size;

    /* Bytes received and not yet understood, to send and not yet sent. */
    uint8_t *in;
    size_t in_size;
    int in_fds[FAKE_MAX_FDS];
    unsigned int num_in_fds;
    uint8_t *out;
    size_t out_size;

    /* Replies to commands of ours, as bytes. */
    uint8_t replies[65536];
    size_t replies_size;
};

/* Starts @f; the client's end is in f->client_fd. */
void fake_start(struct fake_server *f);
void fake_stop(struct fake_server *f);

/* The same, but @f listens at @path. */
void fake_listen(struct fake_server *f, const char *path);

/* Starts @f and opens its device, which must work. */
struct vfm_device *fake_open(struct fake_server *f,
                             const struct vfm_vfio_user_options *options);

/* Closes @dev, and the server is gone with it. */
void fake_close(struct fake_server *f, struct vfm_device *dev);

/* Has @dev change its state, which must not fail. */
void fake_enter(struct vfm_device *dev, enum vfm_state want);

/* The server goes away. */
void fake_hang_up(struct fake_server *f);

/* Answers what has arrived. */
void fake_serve(struct fake_server *f);

/* The good answer. */
void fake_answer(struct fake_server *f, const struct fake_message *m);

void fake_reply(struct fake_server *f, const struct fake_message *m,
                const void *body, size_t size);
void fake_reply_fds(struct fake_server *f, const struct fake_message *m,
                    const void *body, size_t size, const int *fds,
                    unsigned int num_fds);
void fake_refuse(struct fake_server *f, const struct fake_message *m,
                 uint32_t error);

/* Sends bytes as they are. */
void fake_send(struct fake_server *f, const void *data, size_t size);
void fake_send_twin(struct fake_server *f, const void *data, size_t size);
void fake_send_message(struct fake_server *f, struct vfu_header header,
                       const void *body, size_t size);

/* How many descriptors this process has open. */
int fake_count_fds(void);

/* The clock jumps ahead. */
void fake_pass_time(int64_t ms);

#endif
