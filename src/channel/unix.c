/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * unix: finding the peer, and taking over what a dead listener left.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/channel.h"
#include "util/error.h"

#define BACKLOG 64

static struct sockaddr_un socket_address(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    /* address_parse() has seen to the length. */
    strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
    return sa;
}

/* Makes one attempt; returns a connected socket. */
static int try_connect(const void *path, int64_t deadline, int cancel_fd)
{
    struct sockaddr_un sa = socket_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int ret;

    if (fd < 0)
        return -errno;
    ret = socket_connect(fd, (struct sockaddr *)&sa, sizeof(sa), deadline,
                         cancel_fd);
    if (ret < 0) {
        close(fd);
        return ret;
    }
    return fd;
}

static int unix_connect(const struct address *addr, const char *uri,
                        const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err)
{
    int fd = socket_reach(try_connect, addr->text, uri, opts, err);

    if (fd < 0)
        return fd;
    socket_make_room(fd);
    return socket_channel_take(fd, uri, opts, chp, err);
}

/*
 * Returns whether a socket is bound at @path.
 *
 * A connection of another type is refused if the socket is dead, and has the
 * wrong type if it lives: unlike a real one it does not disturb a listener,
 * which would take it for its peer.
 */
static bool is_alive(const char *path)
{
    struct sockaddr_un sa = socket_address(path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool dead;

    if (fd < 0)
        return true;
    dead = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 &&
           errno == ECONNREFUSED;
    close(fd);
    return !dead;
}

/* Removes the socket of a dead listener at lis' path. */
static int remove_stale(struct vfm_listener *lis, struct vfm_error *err)
{
    const char *path = lis->addr.text;
    struct stat before;
    struct stat after;

    if (lstat(path, &before) < 0)
        return 0; /* binding will tell */
    if (!S_ISSOCK(before.st_mode))
        return error_set(err, -EEXIST,
                         "%s: cannot listen: the path exists and is no socket",
                         lis->uri);
    if (is_alive(path))
        return error_set(err, -EADDRINUSE,
                         "%s: cannot listen: somebody else does", lis->uri);
    /* Somebody else may have taken it over in the meantime. */
    if (lstat(path, &after) < 0 || after.st_ino != before.st_ino ||
        after.st_dev != before.st_dev)
        return 0;
    if (unlink(path) < 0)
        return error_set(err, -errno, "%s: cannot remove the old socket: %s",
                         lis->uri, strerror(errno));
    return 0;
}

static int bind_path(struct vfm_listener *lis, struct vfm_error *err)
{
    struct sockaddr_un sa = socket_address(lis->addr.text);
    int ret;

    if (bind(lis->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return 0;
    if (errno == EADDRINUSE) {
        ret = remove_stale(lis, err);
        if (ret < 0)
            return ret;
        if (bind(lis->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
            return 0;
    }
    return error_set(err, -errno, "%s: cannot listen: %s", lis->uri,
                     strerror(errno));
}

static int unix_listen(struct vfm_listener *lis, struct vfm_error *err)
{
    struct stat st;
    int ret;

    lis->repeat = true;
    lis->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (lis->fd < 0)
        return error_set(err, -errno, "%s: cannot make a socket: %s", lis->uri,
                         strerror(errno));
    ret = bind_path(lis, err);
    if (ret < 0)
        return ret;
    /* Who cannot tell that it is still ours later, cannot remove it. */
    if (lstat(lis->addr.text, &st) < 0) {
        ret = error_set(err, -errno, "%s: cannot find the socket: %s", lis->uri,
                        strerror(errno));
        unlink(lis->addr.text);
        return ret;
    }
    lis->bound = true;
    lis->dev = st.st_dev;
    lis->ino = st.st_ino;
    if (listen(lis->fd, BACKLOG) < 0)
        return error_set(err, -errno, "%s: cannot listen: %s", lis->uri,
                         strerror(errno));
    return 0;
}

static int unix_accept(struct vfm_listener *lis, struct vfm_channel **chp,
                       struct vfm_error *err)
{
    int fd = socket_accept(lis, NULL, NULL, err);

    if (fd < 0)
        return fd;
    socket_make_room(fd);
    return socket_channel_take(fd, lis->uri, &lis->opts, chp, err);
}

const struct transport unix_transport = {
    .connect = unix_connect,
    .listen = unix_listen,
    .accept = unix_accept,
};
