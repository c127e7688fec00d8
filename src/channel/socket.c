/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connected stream sockets, and what unix: and tcp: have in common when they
 * connect and accept.
 *
 * Addresses are unix.c's and tcp.c's.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/channel.h"
#include "channel/wait.h"
#include "util/clock.h"
#include "util/error.h"

/*
 * The kernel doubles it: a chunk of 1 MiB goes in at once, and the sender can
 * turn to the device while the peer takes it out.  Whatever the host's limit,
 * net.core.wmem_max, leaves of that is better than nothing.
 */
#define UNIX_BUFFER (512 << 10)

void socket_make_room(int fd)
{
    int size = UNIX_BUFFER;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

ssize_t socket_send(struct vfm_channel *ch, const struct iovec *iov, int n)
{
    struct msghdr msg = {
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = (size_t)n,
    };
    ssize_t ret;

    do
        ret = sendmsg(ch->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

ssize_t socket_recv(struct vfm_channel *ch, const struct iovec *iov, int n)
{
    struct msghdr msg = {
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = (size_t)n,
    };
    ssize_t ret;

    do
        ret = recvmsg(ch->fd, &msg, MSG_DONTWAIT);
    while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

static int socket_finish(struct vfm_channel *ch, struct vfm_error *err)
{
    if (shutdown(ch->fd, SHUT_WR) < 0)
        return error_set(err, -errno, "%s: cannot end the stream: %s", ch->name,
                         strerror(errno));
    return 0;
}

static const struct channel_ops socket_ops = {
    .send = socket_send,
    .recv = socket_recv,
    .finish = socket_finish,
};

int socket_channel_new(int fd, const char *name,
                       const struct vfm_channel_options *opts,
                       struct vfm_channel **chp, struct vfm_error *err)
{
    struct vfm_channel *ch;
    int ret = channel_new(&socket_ops, fd, name, opts, &ch, err);

    if (ret < 0)
        return ret;
    ch->can_send = true;
    ch->can_recv = true;
    ch->duplex = true;
    *chp = ch;
    return 0;
}

int socket_channel_take(int fd, const char *name,
                        const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err)
{
    int ret = socket_channel_new(fd, name, opts, chp, err);

    if (ret < 0)
        close(fd);
    return ret;
}

bool socket_peer_may_be_late(int code)
{
    /* Nobody there yet; there, but not listening yet, or not fast enough. */
    return code == -ENOENT || code == -ECONNREFUSED || code == -EAGAIN;
}

int socket_connect(int fd, const struct sockaddr *sa, unsigned len,
                   int64_t deadline, int cancel_fd)
{
    int code = 0;
    socklen_t size = sizeof(code);
    int ret;

    /* One that was interrupted may be under way or over, or have done nothing:
     * asking again tells. */
    do
        ret = connect(fd, sa, len);
    while (ret < 0 && errno == EINTR);
    if (ret == 0 || errno == EISCONN)
        return 0;
    if (errno != EINPROGRESS && errno != EALREADY)
        return -errno;
    ret = wait_fd(fd, POLLOUT, deadline, cancel_fd);
    if (ret < 0)
        return ret;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
        return -errno;
    return -code;
}

int socket_reach(int (*attempt)(const void *arg, int64_t deadline,
                                int cancel_fd),
                 const void *arg, const char *uri,
                 const struct vfm_channel_options *opts, struct vfm_error *err)
{
    int64_t deadline = clock_deadline(opts->connect_timeout_ms);
    int met;
    int ret;

    for (;;) {
        ret = met = attempt(arg, deadline, opts->cancel_fd);
        /* The kernel may give up before we do. */
        if (!socket_peer_may_be_late(met) &&
            (met != -ETIMEDOUT || clock_now() >= deadline))
            break;
        ret = wait_retry(deadline, opts->cancel_fd);
        if (ret < 0)
            break;
    }
    if (ret == -ECANCELED)
        return error_set(err, ret, "%.*s: cancelled", ADDRESS_SHOWN, uri);
    if (ret == -ETIMEDOUT)
        return error_set(err, ret, "%.*s: cannot connect within %u ms: %s",
                         ADDRESS_SHOWN, uri, opts->connect_timeout_ms,
                         strerror(-met));
    if (ret < 0)
        return error_set(err, ret, "%.*s: cannot connect: %s", ADDRESS_SHOWN,
                         uri, strerror(-ret));
    return ret;
}

static int accept_once(int fd, struct sockaddr *peer, unsigned *peer_len)
{
    socklen_t len = peer_len == NULL ? 0 : *peer_len;
    int conn;

    /* ECONNABORTED: a peer that changed its mind; another may come. */
    do
        conn = accept4(fd, peer, peer == NULL ? NULL : &len, SOCK_CLOEXEC);
    while (conn < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (conn < 0)
        return -errno;
    if (peer_len != NULL)
        *peer_len = len;
    return conn;
}

int socket_accept(struct vfm_listener *lis, struct sockaddr *peer,
                  unsigned *peer_len, struct vfm_error *err)
{
    int64_t deadline = clock_deadline(lis->opts.connect_timeout_ms);
    int ret;

    for (;;) {
        ret = accept_once(lis->fd, peer, peer_len);
        if (ret != -EAGAIN)
            break;
        ret = wait_fd(lis->fd, POLLIN, deadline, lis->opts.cancel_fd);
        if (ret < 0)
            break;
    }
    if (ret == -ETIMEDOUT)
        return error_set(err, ret, "%s: nobody connected within %u ms",
                         vfm_listener_address(lis),
                         lis->opts.connect_timeout_ms);
    if (ret == -ECANCELED)
        return error_set(err, ret, "%s: cancelled", vfm_listener_address(lis));
    if (ret < 0)
        return error_set(err, ret, "%s: cannot accept: %s",
                         vfm_listener_address(lis), strerror(-ret));
    return ret;
}
