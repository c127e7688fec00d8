/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_CHANNEL_H
#define VFM_SRC_CHANNEL_H

#include <vfmig/channel.h>

#include "channel/address.h"
#include "channel/limit.h"

/*
 * What a way of travelling must provide.  Results are raw: channel.c puts
 * them into words, counts, limits, and remembers the first failure.
 */
struct channel_ops {
    /* Never wait.  Return a count or a negative errno value. */
    ssize_t (*send)(struct vfm_channel *ch, const struct iovec *iov, int n);
    ssize_t (*recv)(struct vfm_channel *ch, const struct iovec *iov, int n);

    /* Ends the sending direction in good order; called again after -EAGAIN,
     * which ch->end_fd or ch->finish_deadline ends.  Describes its failure. */
    int (*finish)(struct vfm_channel *ch, struct vfm_error *err);

    /* Frees what the way keeps in ch->transport and, if ch->finished is false,
     * undoes what it can; ch->fd is closed afterwards.  NULL: nothing. */
    void (*close)(struct vfm_channel *ch);

    /* Knows more about a connection that broke with @code?  Returns 0, or what
     * it says in @err instead.  NULL: it does not. */
    int (*explain)(struct vfm_channel *ch, int code, struct vfm_error *err);
};

/* What the last send waited for. */
enum hold {
    HOLD_NONE,
    HOLD_PEER,
    HOLD_LIMIT,
    HOLD_KINDS,
};

struct vfm_channel {
    const struct channel_ops *ops;
    void *transport; /* owned by ops */
    char *name;

    int fd; /* -1: a pipe that was finished */
    bool can_send;
    bool can_recv;
    bool duplex;
    bool pollable;      /* false: always ready, and not to be polled */
    bool restore_flags; /* fd was blocking before it became ours */

    int cancel_fd; /* borrowed, or -1 */

    /* Finishing.  Begun: nothing can be sent any more.  end_fd is readable
     * when it is worth trying again, -1 if it never takes two calls. */
    uint32_t finish_timeout_ms;
    int64_t finish_deadline;
    bool finish_begun;
    bool finished;
    int end_fd;

    /* The first failure of each; code is 0 while there is none. */
    struct vfm_error send_error;
    struct vfm_error recv_error;
    struct vfm_error finish_error;

    struct limit limit;
    uint64_t bytes_sent;
    uint64_t bytes_received;
    enum hold hold;
    int64_t hold_since;
    int64_t held_ns[HOLD_KINDS];
};

/* Whether the last send was refused for the limit of its own. */
static inline bool channel_is_limited(const struct vfm_channel *ch)
{
    return ch->hold == HOLD_LIMIT;
}

struct vfm_listener {
    const struct transport *transport;
    char *uri; /* what addr points into */
    struct address addr;
    struct vfm_channel_options opts;
    char *address; /* a sender's URI */

    int fd;      /* what listens, or what fd:N names; -1: neither */
    bool spent;  /* the only channel there is has been accepted */
    bool repeat; /* fd listens: peer after peer can be accepted */

    /* A unix: socket is removed only while it is still the one we made. */
    bool bound;
    dev_t dev;
    ino_t ino;
};

/* How each kind of address is opened; open.c has the table. */
struct transport {
    int (*connect)(const struct address *addr, const char *uri,
                   const struct vfm_channel_options *opts,
                   struct vfm_channel **chp, struct vfm_error *err);

    /* Sets lis->fd and lis->address if the kind has something to listen on.
     * May leave things half done: the listener is closed. */
    int (*listen)(struct vfm_listener *lis, struct vfm_error *err);

    int (*accept)(struct vfm_listener *lis, struct vfm_channel **chp,
                  struct vfm_error *err);
};

extern const struct transport unix_transport;
extern const struct transport tcp_transport;
extern const struct transport fd_transport;
extern const struct transport file_transport;
extern const struct transport exec_transport;

/* vfm_channel_recv() into several places, one after the other. */
ssize_t channel_recvv(struct vfm_channel *ch, const struct iovec *iov, int n,
                      struct vfm_error *err);

/* Copies @from, which may be NULL or of another version, to @to. */
int channel_options_read(struct vfm_channel_options *to,
                         const struct vfm_channel_options *from,
                         struct vfm_error *err);

/*
 * Makes a channel around @fd that can do nothing yet: the caller says what.
 * @fd belongs to it if the call succeeds.  Returns 0 or -ENOMEM.
 */
int channel_new(const struct channel_ops *ops, int fd, const char *name,
                const struct vfm_channel_options *opts,
                struct vfm_channel **chp, struct vfm_error *err);

/* Frees @ch without closing its descriptor: what an opening that failed does
 * if the descriptor is still the caller's. */
void channel_free(struct vfm_channel *ch);

/* A channel around a connected stream socket. */
int socket_channel_new(int fd, const char *name,
                       const struct vfm_channel_options *opts,
                       struct vfm_channel **chp, struct vfm_error *err);

/* The same; closes @fd if it fails. */
int socket_channel_take(int fd, const char *name,
                        const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err);

ssize_t socket_send(struct vfm_channel *ch, const struct iovec *iov, int n);
ssize_t socket_recv(struct vfm_channel *ch, const struct iovec *iov, int n);

/* Gives a UNIX socket a larger buffer to send from.  TCP sizes its own. */
void socket_make_room(int fd);

/* Accepts from lis->fd; *@peer is where from, with room for *@peer_len. */
struct sockaddr;
int socket_accept(struct vfm_listener *lis, struct sockaddr *peer,
                  unsigned *peer_len, struct vfm_error *err);

/* What to do with a connect() that failed with @code: is it worth trying
 * again, for the peer may be late? */
bool socket_peer_may_be_late(int code);

/*
 * Connects @fd, non-blocking, to the address, giving up at @deadline.
 * Returns 0 or a negative errno value, not described.
 */
int socket_connect(int fd, const struct sockaddr *sa, unsigned len,
                   int64_t deadline, int cancel_fd);

/*
 * Makes attempts, spaced and until the options' deadline, as long as the peer
 * may be late.  An attempt returns a descriptor or a negative errno value.
 *
 * Returns the descriptor; describes a failure.
 */
int socket_reach(int (*attempt)(const void *arg, int64_t deadline,
                                int cancel_fd),
                 const void *arg, const char *uri,
                 const struct vfm_channel_options *opts, struct vfm_error *err);

/* write() and read() of what is no socket. */
ssize_t fd_send(struct vfm_channel *ch, const struct iovec *iov, int n);
ssize_t fd_recv(struct vfm_channel *ch, const struct iovec *iov, int n);

#endif
