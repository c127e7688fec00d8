/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server: accepts clients, and waits on behalf of all that wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "emulator/server.h"
#include "util/clock.h"
#include "util/error.h"

enum { POLL_WAKE, POLL_LISTEN, POLL_CLIENT, POLL_TWIN, NUM_POLL };

static int set_address(struct sockaddr_un *sa, const char *path,
                       struct vfm_error *err)
{
    *sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(sa->sun_path))
        return error_set(err, -ENAMETOOLONG,
                         "%s: longer than a socket's path can be", path);
    strcpy(sa->sun_path, path);
    return 0;
}

/* Removes a socket on which nobody listens.  Returns 0 or -EADDRINUSE. */
static int remove_stale(const struct sockaddr_un *sa)
{
    struct stat st;
    int fd;
    int ret;

    if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return -EADDRINUSE;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    ret = connect(fd, (const void *)sa, sizeof(*sa)) < 0 ? -errno : 0;
    close(fd);
    if (ret != -ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(sa->sun_path) < 0 ? -errno : 0;
}

static int bind_to(int fd, const struct sockaddr_un *sa)
{
    int ret;

    if (bind(fd, (const void *)sa, sizeof(*sa)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    ret = remove_stale(sa);
    if (ret < 0)
        return ret;
    return bind(fd, (const void *)sa, sizeof(*sa)) < 0 ? -errno : 0;
}

int server_listen(struct server *s, struct device *device, const char *path,
                  struct vfm_error *err)
{
    struct sockaddr_un sa;
    int fd;
    int ret = set_address(&sa, path, err);

    if (ret < 0)
        return ret;
    *s = (struct server){ .device = device, .listen_fd = -1 };
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(err, -errno, "%s: cannot make a socket: %s", path,
                         strerror(errno));
    ret = bind_to(fd, &sa);
    if (ret == 0 && listen(fd, 8) < 0)
        ret = -errno;
    if (ret < 0) {
        close(fd);
        return error_set(err, ret, "%s: cannot listen: %s", path,
                         strerror(-ret));
    }
    s->listen_fd = fd;
    s->path = path;
    return 0;
}

static int set_nonblocking_listener(struct server *s, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    s->listen_fd = fd;
    return 0;
}

int server_adopt(struct server *s, struct device *device, int fd,
                 struct vfm_error *err)
{
    int listening = 0;
    socklen_t size = sizeof(listening);
    int ret;

    *s = (struct server){ .device = device, .listen_fd = -1 };
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0)
        return error_set(err, -errno, "descriptor %d: not a socket: %s", fd,
                         strerror(errno));
    if (listening)
        ret = set_nonblocking_listener(s, fd);
    else
        ret = connection_open(device, fd, &s->client);
    if (ret < 0)
        return error_set(err, ret, "descriptor %d: cannot be served: %s", fd,
                         strerror(-ret));
    return 0;
}

void server_close(struct server *s)
{
    connection_close(s->client);
    s->client = NULL;
    if (s->path != NULL)
        unlink(s->path);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    s->path = NULL;
    s->listen_fd = -1;
}

/* A client that cannot be taken is turned away: others may come. */
static void accept_client(struct server *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0 && connection_open(s->device, fd, &s->client) < 0)
        s->client = NULL;
}

static void fill_poll(struct server *s, int wake_fd, struct pollfd p[NUM_POLL])
{
    struct connection *c = s->client;

    p[POLL_WAKE] = (struct pollfd){ .fd = wake_fd, .events = POLLIN };
    p[POLL_LISTEN] = (struct pollfd){ .fd = c == NULL ? s->listen_fd : -1,
                                      .events = POLLIN };
    p[POLL_CLIENT] = (struct pollfd){ .fd = c != NULL ? c->main.fd : -1 };
    p[POLL_TWIN] =
        (struct pollfd){ .fd = c != NULL ? c->twin.fd : -1, .events = POLLIN };
    if (c == NULL)
        return;
    p[POLL_CLIENT].events = connection_events(c);
    if (transport_pending(&c->twin) > 0)
        p[POLL_TWIN].events |= POLLOUT;
}

/* Gives the client its turn.  Returns 0, or negative: the only client is
 * gone. */
static int serve(struct server *s, bool gone)
{
    if (connection_serve(s->client, gone) < 0) {
        connection_close(s->client);
        s->client = NULL;
    }
    return s->client == NULL && s->listen_fd < 0 ? -ECONNRESET : 0;
}

int server_step(struct server *s, int wake_fd, int64_t deadline)
{
    struct pollfd p[NUM_POLL];
    bool gone;

    if (s->client != NULL) {
        deadline = clock_min(deadline, connection_deadline(s->client));
        deadline = clock_min(deadline, engine_step(s->device, clock_now()));
    }
    fill_poll(s, wake_fd, p);
    if (poll(p, NUM_POLL, clock_poll_timeout(deadline)) < 0)
        return errno == EINTR ? 0 : -errno;
    if (p[POLL_WAKE].revents != 0)
        return 1;
    if (p[POLL_LISTEN].revents != 0)
        accept_client(s);
    gone = (p[POLL_CLIENT].revents & (POLLHUP | POLLERR)) != 0;
    return s->client != NULL ? serve(s, gone) : 0;
}
