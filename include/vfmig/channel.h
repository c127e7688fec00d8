/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHANNEL_H
#define VFM_CHANNEL_H

/*
 * How a migration's bytes travel.
 *
 * A channel carries a stream of bytes to or from a peer that a URI names:
 *
 *   unix:PATH          a UNIX stream socket
 *   tcp:HOST:PORT      a TCP connection; HOST is a name, an IPv4 address or an
 *                      IPv6 address in brackets, empty when receiving: any
 *                      address.  PORT is a number; 0 when receiving: any port.
 *   fd:N               a descriptor that this process already has; when
 *                      receiving, a listening socket is accepted from
 *   file:PATH          a file.  Written under another name and renamed when it
 *                      is complete, mode 0600.  A FIFO or a device is written
 *                      in place.
 *   exec:COMMAND       the standard input and output, one socket, of
 *                      `sh -c COMMAND`, run in a session of its own, without
 *                      a terminal; it inherits the standard error
 *
 * The sender connects, the receiver listens.  Sending and receiving never
 * wait (but a file's disk may be slow): -EAGAIN says that they would, and
 * vfm_channel_poll_fds() what for.
 *
 * Errors     Functions returning int or ssize_t return a negative errno value
 *            on failure and, if @err is not NULL, say in a sentence what
 *            failed.  A direction that failed stays failed: every later call
 *            returns its first error.  The other direction goes on: what the
 *            peer said before it hung up can be read.
 * Ownership  Strings and options passed in are copied.  A descriptor named by
 *            fd:N or given to vfm_channel_from_fd() belongs to the channel
 *            from the moment the call succeeds, to the listener if it is a
 *            listening socket, and is non-blocking as long as it does; if it
 *            fails, it is still the caller's.  A channel is freed by
 *            vfm_channel_close(), a listener by vfm_listener_close(); neither
 *            needs the other to live.
 * Threads    One thread at a time per handle.  Handles share nothing.
 * Signals    No call raises SIGPIPE or SIGXFSZ in the caller.  Commands are
 *            waited for by descriptor; a SIGCHLD handler that reaps them first,
 *            or SIGCHLD ignored, makes their exit status unknown, which is a
 *            failure.
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vfm_channel;
struct vfm_listener;

/* A point in time, in nanoseconds of CLOCK_MONOTONIC, that never comes. */
#define VFM_CHANNEL_NEVER INT64_MAX

/*
 * How to open a channel.  Start from VFM_CHANNEL_OPTIONS_INIT: the zero of
 * @cancel_fd is a descriptor.
 */
struct vfm_channel_options {
    /* sizeof(struct vfm_channel_options).  What a newer caller sets beyond
     * the options this library knows must be zero, or opening is -E2BIG. */
    size_t size;

    /* How long opening waits for the peer; 0: for ever.  Until then a sender
     * tries again while a unix: or tcp: peer is absent or refuses, or a FIFO
     * has no reader, and a receiver waits for a connection.  Looking up a
     * host name takes as long as the system's resolver takes. */
    uint32_t connect_timeout_ms;

    /* How long vfm_channel_finish() gives a command to end; 0: for ever. */
    uint32_t finish_timeout_ms;

    /* Bytes per second that are sent at most; 0: no limit. */
    uint64_t max_bandwidth;

    /* When this descriptor is readable every call that waits gives up with
     * -ECANCELED.  Stays the caller's.  -1: none. */
    int cancel_fd;
};

/* In the order of the members: C++ has names for them only since C++20. */
#define VFM_CHANNEL_OPTIONS_INIT                                \
    {                                                           \
        sizeof(struct vfm_channel_options), 10000, 30000, 0, -1 \
    }

/*
 * Checks the spelling of @uri, without touching what it names.
 *
 * Returns 0.
 *   -EINVAL        it is no channel's URI
 *   -ENAMETOOLONG  a path, a host name or a command is too long
 */
int vfm_channel_check_uri(const char *uri, struct vfm_error *err);

/*
 * Opens a channel to send to @uri, waiting for the peer as @opts say (NULL:
 * VFM_CHANNEL_OPTIONS_INIT).
 *
 * Returns 0 and a channel in *@chp, which is NULL on failure.
 *   -EINVAL        bad URI, or an address that can only be listened on
 *   -ETIMEDOUT     no peer within the time given; the message says what the
 *                  last attempt met
 *   -ECANCELED     @opts->cancel_fd became readable
 *   -ENXIO         a host name that does not resolve
 *   -EBADF         fd:N is not open, or not for writing
 *   -EISDIR        file: names a directory
 */
int vfm_channel_connect(const char *uri, const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err);

/*
 * Listens on @uri, waits for one peer, and stops listening.  What
 * vfm_listener_open(), _accept() and _close() do in a row, with their errors.
 */
int vfm_channel_accept(const char *uri, const struct vfm_channel_options *opts,
                       struct vfm_channel **chp, struct vfm_error *err);

/*
 * Makes a channel of @fd: a connected socket, a pipe, a file or a device.
 *
 * Which directions it has follows from the mode @fd is open in.  What is no
 * socket becomes non-blocking until the channel is closed.  @name appears in
 * messages.
 *
 * Returns 0 and a channel in *@chp, which then owns @fd.
 *   -EBADF         @fd is not open
 *   -EINVAL        @fd is a directory, a listening socket, or a socket that
 *                  carries no stream
 */
int vfm_channel_from_fd(int fd, const char *name,
                        const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err);

/*
 * Begins to listen on @uri: from here on a sender finds the receiver.
 *
 * A unix: path is taken over from a listener that is dead, never from one that
 * lives, and nothing but a socket is ever removed.  Who may connect is up to
 * the path's directory and the umask.  file:, exec: and fd: with no listening
 * socket have nothing to listen on and wait for vfm_listener_accept().
 *
 * Returns 0 and a listener in *@lisp, which is NULL on failure.
 *   -EINVAL        bad URI
 *   -EADDRINUSE    somebody else listens there
 *   -EEXIST        the unix: path is not a socket
 *   -ENXIO         a host name that does not resolve
 *   -EBADF         fd:N is not open
 */
int vfm_listener_open(const char *uri, const struct vfm_channel_options *opts,
                      struct vfm_listener **lisp, struct vfm_error *err);

/* Returns the URI that a sender can use, such as "tcp:127.0.0.1:41234": with
 * the real port where 0 was asked for.  Valid until the listener is closed. */
const char *vfm_listener_address(const struct vfm_listener *lis);

/* Returns a descriptor that is readable when vfm_listener_accept() would not
 * wait for the peer, for the caller's own loop; -1: there is nothing to wait
 * for.  It stays the listener's. */
int vfm_listener_fd(const struct vfm_listener *lis);

/*
 * Waits for a peer, as long as the listener's options say.
 *
 * unix:, tcp: and a listening fd:N can be accepted from again and again;
 * anything else once.
 *
 * Returns 0 and a channel in *@chp, which is NULL on failure; then the
 * listener still listens.
 *   -ETIMEDOUT     nobody came
 *   -ECANCELED     the options' cancel_fd became readable
 *   -ENOENT        file: names nothing
 *   -EBADF         fd:N is not open for reading
 *   -EALREADY      the only channel there is has been accepted already
 */
int vfm_listener_accept(struct vfm_listener *lis, struct vfm_channel **chp,
                        struct vfm_error *err);

/* Stops listening; removes the socket that vfm_listener_open() made.  Accepted
 * channels live on.  NULL is allowed. */
void vfm_listener_close(struct vfm_listener *lis);

/*
 * Sends the first bytes of the @n buffers in @iov.
 *
 * Returns how many, at least 1 unless the buffers are empty, often fewer than
 * there are.
 *   -EAGAIN        none now: the peer is slow or the bandwidth limit holds
 *   -EPIPE         the peer does not read any more, or vfm_channel_finish()
 *                  has been called
 *   -EBADF         the channel can only be received from
 *   -ENOSPC, -EFBIG, -EDQUOT   the file does not fit
 */
ssize_t vfm_channel_send(struct vfm_channel *ch, const struct iovec *iov, int n,
                         struct vfm_error *err);

/*
 * Receives up to @len bytes.
 *
 * Returns how many, 0 at the end of the stream.
 *   -EAGAIN        none now
 *   -ECONNRESET    the peer broke the connection
 *   -EBADF         the channel can only be sent to
 */
ssize_t vfm_channel_recv(struct vfm_channel *ch, void *buf, size_t len,
                         struct vfm_error *err);

/* Returns whether bytes go both ways: unix:, tcp:, exec: and sockets. */
bool vfm_channel_is_duplex(const struct vfm_channel *ch);

/*
 * Ends the sending direction in good order.  Nothing can be sent afterwards;
 * a duplex channel can still be received from.
 *
 * unix:, tcp:, and sockets: the peer reads the end of the stream.  This does
 * not say that it has read anything.  A TCP channel that is closed while
 * received bytes lie unread may lose sent ones: receive to the end first.
 * file: the data is on the disk, then the file has its final name, then the
 * name is on the disk; waits for the disk.  A pipe is closed.
 * exec: the command reads the end of its input, and has succeeded.  On a
 * channel that was only received from, too, this is where a command that
 * failed is noticed.
 *
 * Returns 0, also when it was finished before.
 *   -EAGAIN        the command has not ended: wait, then call again
 *   -ETIMEDOUT     it did not within finish_timeout_ms
 *   -ECHILD        it failed; the message names how, or why that is unknown
 */
int vfm_channel_finish(struct vfm_channel *ch, struct vfm_error *err);

/*
 * Closes and frees @ch.  NULL is allowed.
 *
 * What was not finished is aborted: the file that was being written is
 * removed and an older one of that name stays as it was; the command and
 * everything in its process group are told to end (SIGTERM), killed two
 * seconds later (SIGKILL), and the command reaped.
 */
void vfm_channel_close(struct vfm_channel *ch);

/*
 * Says what to wait for in the caller's own loop.
 *
 * The caller has something to send, wants to receive, both, or neither (then
 * only a command that is being finished is waited for).  Stores up to two
 * entries in @fds and a point in time in *@ready_at: it is worth trying again
 * when one of the entries has an event or the time has come, which is
 *   0                   at once: files are always ready
 *   VFM_CHANNEL_NEVER   only the entries tell
 *   else                when the bandwidth limit lets go, or the time to
 *                       finish is over
 * Ask again before every wait: a send that the limit holds has no entry.
 * The options' cancel_fd is not among them.
 *
 * Returns the number of entries.
 */
int vfm_channel_poll_fds(const struct vfm_channel *ch, bool want_send,
                         bool want_recv, struct pollfd fds[2],
                         int64_t *ready_at);

/*
 * Waits until it is worth sending (POLLOUT in @events) or receiving (POLLIN),
 * or calling vfm_channel_finish() again (@events is 0), at most until
 * @deadline, a point in time such as VFM_CHANNEL_NEVER.
 *
 * Returns which of @events are worth trying; 0 if @events was 0.
 *   -ETIMEDOUT     the deadline passed
 *   -ECANCELED     the options' cancel_fd became readable
 */
int vfm_channel_wait(struct vfm_channel *ch, short events, int64_t deadline,
                     struct vfm_error *err);

/* Changes the limit for what is sent from now on; 0: no limit. */
void vfm_channel_set_max_bandwidth(struct vfm_channel *ch,
                                   uint64_t bytes_per_second);

/* The limit in force; 0: none. */
uint64_t vfm_channel_max_bandwidth(const struct vfm_channel *ch);

/* Bytes that vfm_channel_send() took and vfm_channel_recv() gave. */
uint64_t vfm_channel_bytes_sent(const struct vfm_channel *ch);
uint64_t vfm_channel_bytes_received(const struct vfm_channel *ch);

/* Nanoseconds between a send that got -EAGAIN and the next that did not:
 * because the peer was slow, and because the bandwidth limit held. */
int64_t vfm_channel_blocked_ns(const struct vfm_channel *ch);
int64_t vfm_channel_limited_ns(const struct vfm_channel *ch);

/* Returns the channel's name for messages: its URI, cut if it is long, or the
 * peer's address.  Valid until the channel is closed. */
const char *vfm_channel_name(const struct vfm_channel *ch);

#ifdef __cplusplus
}
#endif

#endif /* VFM_CHANNEL_H */
