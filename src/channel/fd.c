/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels over descriptors that somebody else opened: sockets, pipes, files,
 * devices.  Reading and writing here serve file.c, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/channel.h"
#include "util/error.h"

/* Signals that a write can raise in the writing thread, and that end the
 * process unless the host made arrangements. */
struct signal_guard {
    sigset_t raised;
    sigset_t before; /* the thread's mask */
};

/* Blocks those that are not pending already: one that is pending was not
 * raised by us, and must not be taken away. */
static void guard_signals(struct signal_guard *guard)
{
    sigset_t pending;

    sigemptyset(&guard->raised);
    sigpending(&pending);
    if (!sigismember(&pending, SIGPIPE))
        sigaddset(&guard->raised, SIGPIPE);
    if (!sigismember(&pending, SIGXFSZ))
        sigaddset(&guard->raised, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &guard->raised, &guard->before);
}

static void unguard_signals(struct signal_guard *guard, int code)
{
    const struct timespec at_once = { 0 };

    if (code == -EPIPE || code == -EFBIG)
        while (sigtimedwait(&guard->raised, NULL, &at_once) < 0 &&
               errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

ssize_t fd_send(struct vfm_channel *ch, const struct iovec *iov, int n)
{
    struct signal_guard guard;
    ssize_t ret;

    guard_signals(&guard);
    do {
        ret = writev(ch->fd, iov, n);
        if (ret < 0)
            ret = -errno;
    } while (ret == -EINTR);
    unguard_signals(&guard, (int)ret);

    /* A device that takes nothing and says no reason would be asked again
     * for ever. */
    return ret == 0 ? -EIO : ret;
}

ssize_t fd_recv(struct vfm_channel *ch, const struct iovec *iov, int n)
{
    ssize_t ret;

    do
        ret = readv(ch->fd, iov, n);
    while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

static void restore_flags(struct vfm_channel *ch)
{
    int flags = fcntl(ch->fd, F_GETFL);

    if (ch->restore_flags && flags >= 0)
        fcntl(ch->fd, F_SETFL, flags & ~O_NONBLOCK);
    ch->restore_flags = false;
}

/* A file's data goes to the disk; a pipe's reader sees the end when nobody
 * has it open for writing. */
static int fd_finish(struct vfm_channel *ch, struct vfm_error *err)
{
    if (!ch->can_send)
        return 0;
    if (ch->pollable) {
        restore_flags(ch);
        close(ch->fd);
        ch->fd = -1;
        ch->can_recv = false;
        return 0;
    }
    if (fsync(ch->fd) < 0 && errno != EINVAL && errno != EROFS)
        return error_set(err, -errno, "%s: cannot sync: %s", ch->name,
                         strerror(errno));
    return 0;
}

static void fd_close(struct vfm_channel *ch)
{
    if (ch->fd >= 0)
        restore_flags(ch);
}

static const struct channel_ops fd_ops = {
    .send = fd_send,
    .recv = fd_recv,
    .finish = fd_finish,
    .close = fd_close,
};

static int socket_option(int fd, int option, int *value)
{
    socklen_t len = sizeof(*value);

    return getsockopt(fd, SOL_SOCKET, option, value, &len) < 0 ? -errno : 0;
}

static int open_socket(int fd, const char *name,
                       const struct vfm_channel_options *opts,
                       struct vfm_channel **chp, struct vfm_error *err)
{
    int type = 0;
    int listens = 0;
    int ret = socket_option(fd, SO_TYPE, &type);

    if (ret == 0)
        ret = socket_option(fd, SO_ACCEPTCONN, &listens);
    if (ret < 0)
        return error_set(err, ret, "%s: cannot find out what socket it is: %s",
                         name, strerror(-ret));
    if (type != SOCK_STREAM)
        return error_set(err, -EINVAL, "%s: the socket carries no stream",
                         name);
    if (listens == 1)
        return error_set(err, -EINVAL, "%s: the socket listens, it has no peer",
                         name);
    return socket_channel_new(fd, name, opts, chp, err);
}

/* Regular files are always ready, and so are devices such as /dev/null.  Only
 * epoll says that it cannot wait for them.  Returns 0, 1 or a negative errno
 * value. */
static int can_be_polled(int fd)
{
    struct epoll_event event = { .events = EPOLLIN };
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int ret = 1;

    if (epoll_fd < 0)
        return -errno;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        ret = errno == EPERM ? 0 : -errno;
    close(epoll_fd);
    return ret;
}

static int open_other(int fd, const char *name, int flags,
                      const struct vfm_channel_options *opts,
                      struct vfm_channel **chp, struct vfm_error *err)
{
    int pollable = can_be_polled(fd);
    struct vfm_channel *ch;
    int ret;

    if (pollable < 0)
        return error_set(err, pollable, "%s: cannot wait for it: %s", name,
                         strerror(-pollable));
    ret = channel_new(&fd_ops, fd, name, opts, &ch, err);
    if (ret < 0)
        return ret;
    ch->can_send = (flags & O_ACCMODE) != O_RDONLY;
    ch->can_recv = (flags & O_ACCMODE) != O_WRONLY;
    ch->pollable = pollable;
    if (pollable && (flags & O_NONBLOCK) == 0) {
        if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
            ret = error_set(err, -errno, "%s: cannot make non-blocking: %s",
                            name, strerror(errno));
            channel_free(ch);
            return ret;
        }
        ch->restore_flags = true;
    }
    *chp = ch;
    return 0;
}

/* No mode that a descriptor can be open in. */
#define ANY_MODE (-1)

/* What the public function does once the options are known; @wrong is the mode
 * that the descriptor must not be open in.  Touches it only if all is well. */
static int open_fd(int fd, const char *name, int wrong,
                   const struct vfm_channel_options *opts,
                   struct vfm_channel **chp, struct vfm_error *err)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    int ret;

    if (flags < 0 || fstat(fd, &st) < 0)
        return error_set(err, -errno, "%s: descriptor %d: %s", name, fd,
                         strerror(errno));
    if ((flags & O_PATH) != 0)
        return error_set(err, -EBADF,
                         "%s: descriptor %d is open as a path only", name, fd);
    if ((flags & O_ACCMODE) == wrong)
        return error_set(err, -EBADF, "%s: descriptor %d is not open for %s",
                         name, fd, wrong == O_RDONLY ? "writing" : "reading");
    if (S_ISDIR(st.st_mode))
        return error_set(err, -EINVAL, "%s: descriptor %d is a directory", name,
                         fd);

    if (S_ISSOCK(st.st_mode))
        ret = open_socket(fd, name, opts, chp, err);
    else
        ret = open_other(fd, name, flags, opts, chp, err);
    if (ret == 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return ret;
}

int vfm_channel_from_fd(int fd, const char *name,
                        const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err)
{
    struct vfm_channel_options o;
    int ret;

    *chp = NULL;
    ret = channel_options_read(&o, opts, err);
    return ret < 0 ? ret : open_fd(fd, name, ANY_MODE, &o, chp, err);
}

static int fd_connect(const struct address *addr, const char *uri,
                      const struct vfm_channel_options *opts,
                      struct vfm_channel **chp, struct vfm_error *err)
{
    return open_fd(addr->fd, uri, O_RDONLY, opts, chp, err);
}

static int fd_listen(struct vfm_listener *lis, struct vfm_error *err)
{
    int fd = lis->addr.fd;
    int flags = fcntl(fd, F_GETFL);
    int listens = 0;
    int type = 0;
    int ret;

    if (flags < 0)
        return error_set(err, -errno, "%s: %s", lis->uri, strerror(errno));
    ret = socket_option(fd, SO_ACCEPTCONN, &listens);
    if (ret == 0 && listens == 1)
        ret = socket_option(fd, SO_TYPE, &type);
    if (ret < 0 && ret != -ENOTSOCK)
        return error_set(err, ret, "%s: cannot find out what socket it is: %s",
                         lis->uri, strerror(-ret));
    if (listens != 1)
        return 0;
    if (type != SOCK_STREAM)
        return error_set(err, -EINVAL, "%s: the socket carries no stream",
                         lis->uri);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return error_set(err, -errno, "%s: %s", lis->uri, strerror(errno));
    lis->fd = fd;
    lis->repeat = true;
    return 0;
}

static int fd_accept(struct vfm_listener *lis, struct vfm_channel **chp,
                     struct vfm_error *err)
{
    int fd = lis->addr.fd;
    int ret;

    if (lis->repeat) {
        fd = socket_accept(lis, NULL, NULL, err);
        if (fd < 0)
            return fd;
    }
    ret = open_fd(fd, lis->uri, O_WRONLY, &lis->opts, chp, err);
    if (ret < 0 && lis->repeat)
        close(fd);
    return ret;
}

const struct transport fd_transport = {
    .connect = fd_connect,
    .listen = fd_listen,
    .accept = fd_accept,
};
