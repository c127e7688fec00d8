/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp: names, address families, and the address that was really bound.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/channel.h"
#include "util/clock.h"
#include "util/error.h"

#define BACKLOG  64

/* "tcp:[", an address with its zone, "]:", a port. */
#define HOST_LEN (INET6_ADDRSTRLEN + 16)
#define PORT_LEN 6
#define NAME_LEN (HOST_LEN + PORT_LEN + 8)

/* A migration is a few small messages that somebody waits for, and bulk, which
 * fills its segments anyway. */
static void send_at_once(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* What getaddrinfo() and getnameinfo() return, as an error of ours. */
static int code_of(int gai)
{
    return gai == EAI_MEMORY ? -ENOMEM : -ENXIO;
}

/* The C library's name for it says less than the number of its reason. */
static const char *reason_of(int gai)
{
    return gai == EAI_MEMORY   ? strerror(ENOMEM)
           : gai == EAI_SYSTEM ? strerror(errno)
                               : gai_strerror(gai);
}

static int look_up(const struct address *addr, const char *uri, int flags,
                   struct addrinfo **listp, struct vfm_error *err)
{
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICSERV | flags,
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    char port[PORT_LEN];
    int ret;

    snprintf(port, sizeof(port), "%u", addr->port);
    ret = getaddrinfo(addr->host[0] == '\0' ? NULL : addr->host, port, &hints,
                      listp);
    if (ret == 0)
        return 0;
    return error_set(err, code_of(ret), "%.*s: no address for host %s: %s",
                     ADDRESS_SHOWN, uri, addr->host, reason_of(ret));
}

static int new_socket(const struct addrinfo *ai)
{
    int fd =
        socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
               ai->ai_protocol);

    return fd < 0 ? -errno : fd;
}

static int try_address(const struct addrinfo *ai, int64_t deadline,
                       int cancel_fd)
{
    int fd = new_socket(ai);
    int ret;

    if (fd < 0)
        return fd;
    ret = socket_connect(fd, ai->ai_addr, ai->ai_addrlen, deadline, cancel_fd);
    if (ret < 0) {
        close(fd);
        return ret;
    }
    send_at_once(fd);
    return fd;
}

/* An equal share of the time left for each of @n addresses: one that answers
 * nothing must not use up the time of the next. */
static int64_t share(int64_t deadline, int n)
{
    int64_t now = clock_now();

    if (deadline == CLOCK_NEVER || deadline <= now)
        return deadline;
    return now + (deadline - now) / n;
}

static int count(const struct addrinfo *list)
{
    int n = 0;

    for (; list != NULL; list = list->ai_next)
        n++;
    return n;
}

/* Tries every address once.  Returns a connected socket, or what the last
 * attempt met; if one was refused, that: its peer may be late. */
static int try_all(const void *arg, int64_t deadline, int cancel_fd)
{
    const struct addrinfo *list = arg;
    int met = -EADDRNOTAVAIL;

    for (int n = count(list); n > 0; n--, list = list->ai_next) {
        int ret = try_address(list, share(deadline, n), cancel_fd);

        if (ret >= 0 || ret == -ECANCELED)
            return ret;
        if (!socket_peer_may_be_late(met))
            met = ret;
    }
    return met;
}

static int tcp_connect(const struct address *addr, const char *uri,
                       const struct vfm_channel_options *opts,
                       struct vfm_channel **chp, struct vfm_error *err)
{
    struct addrinfo *list;
    int fd = look_up(addr, uri, 0, &list, err);

    if (fd < 0)
        return fd;
    fd = socket_reach(try_all, list, uri, opts, err);
    freeaddrinfo(list);
    return fd < 0 ? fd : socket_channel_take(fd, uri, opts, chp, err);
}

/* The URI of a socket's address, such as "tcp:[::1]:4444".  Returns 0 or what
 * getnameinfo() does. */
static int name_address(char name[NAME_LEN], const struct sockaddr *sa,
                        socklen_t len)
{
    char host[HOST_LEN];
    char port[PORT_LEN];
    bool v6 = sa->sa_family == AF_INET6;
    int ret = getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
                          NI_NUMERICHOST | NI_NUMERICSERV);

    if (ret != 0)
        snprintf(name, NAME_LEN, "tcp:?");
    else
        snprintf(name, NAME_LEN, v6 ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
    return ret;
}

/* Any address means those of both families, as far as there are both. */
static int bind_address(const struct addrinfo *ai)
{
    int fd = new_socket(ai);
    int on = 1;
    int off = 0;
    int ret;

    if (fd < 0)
        return fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    ret = -errno;
    close(fd);
    return ret;
}

/* Binds the first address that can be, IPv6 first if @v6_first: any IPv6
 * address serves IPv4, too. */
static int bind_first(const struct addrinfo *list, bool v6_first)
{
    int ret = -EADDRNOTAVAIL;

    for (int pass = v6_first ? 0 : 1; pass < 2; pass++)
        for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
            if (pass == 0 && ai->ai_family != AF_INET6)
                continue;
            ret = bind_address(ai);
            if (ret >= 0 || ret == -EADDRINUSE)
                return ret;
        }
    return ret;
}

static int tcp_listen(struct vfm_listener *lis, struct vfm_error *err)
{
    struct sockaddr_storage bound = { 0 };
    socklen_t len = sizeof(bound);
    char name[NAME_LEN];
    struct addrinfo *list;
    int ret = look_up(&lis->addr, lis->uri, AI_PASSIVE, &list, err);

    if (ret < 0)
        return ret;
    lis->repeat = true;
    lis->fd = bind_first(list, lis->addr.host[0] == '\0');
    freeaddrinfo(list);
    if (lis->fd < 0)
        return error_set(err, lis->fd, "%.*s: cannot listen: %s", ADDRESS_SHOWN,
                         lis->uri, strerror(-lis->fd));

    if (getsockname(lis->fd, (struct sockaddr *)&bound, &len) < 0)
        return error_set(err, -errno, "%s: no address: %s", lis->uri,
                         strerror(errno));
    ret = name_address(name, (struct sockaddr *)&bound, len);
    if (ret != 0)
        return error_set(err, code_of(ret), "%s: no address: %s", lis->uri,
                         reason_of(ret));
    lis->address = strdup(name);
    return lis->address != NULL
               ? 0
               : error_set(err, -ENOMEM, "%s: out of memory", name);
}

static int tcp_accept(struct vfm_listener *lis, struct vfm_channel **chp,
                      struct vfm_error *err)
{
    struct sockaddr_storage peer = { 0 };
    unsigned len = sizeof(peer);
    char name[NAME_LEN];
    int fd = socket_accept(lis, (struct sockaddr *)&peer, &len, err);

    if (fd < 0)
        return fd;
    send_at_once(fd);
    /* It is for messages only. */
    name_address(name, (struct sockaddr *)&peer, len);
    return socket_channel_take(fd, name, &lis->opts, chp, err);
}

const struct transport tcp_transport = {
    .connect = tcp_connect,
    .listen = tcp_listen,
    .accept = tcp_accept,
};
