/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user messages on a stream socket: bytes and descriptors.
 *
 * What a message means, and whether it may come now, is client.c's.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/vfio-user/wire.h"
#include "util/clock.h"

/* Bytes that are dropped are read this many at a time. */
#define DROP_SIZE 16384

struct wire_unsent {
    struct wire_unsent *next;
    uint16_t id;
    bool is_command;
    size_t size;
    size_t sent;
    unsigned int num_fds; /* 0 once they are sent */
    int fds[WIRE_MAX_SEND_FDS];
    uint8_t bytes[];
};

void wire_init(struct wire *w, int fd)
{
    *w = (struct wire){ .fd = fd };
    w->unsent_end = &w->unsent;
}

static void close_fds(struct wire *w)
{
    for (unsigned int i = 0; i < w->num_fds; i++)
        if (w->fds[i] >= 0)
            close(w->fds[i]);
    w->num_fds = 0;
}

static void drop_first_unsent(struct wire *w)
{
    struct wire_unsent *u = w->unsent;

    w->unsent = u->next;
    if (w->unsent == NULL)
        w->unsent_end = &w->unsent;
    w->unsent_bytes -= sizeof(*u) + u->size;
    free(u);
}

static void drop_unsent(struct wire *w)
{
    while (w->unsent != NULL)
        drop_first_unsent(w);
}

void wire_release(struct wire *w)
{
    close_fds(w);
    drop_unsent(w);
    wire_init(w, -1);
}

void wire_close(struct wire *w)
{
    if (w->fd >= 0)
        close(w->fd);
    wire_release(w);
}

/* The kernel had no memory to spare for a moment.  Nothing was moved and the
 * connection is as good as before: a device is not given up for that, but
 * nobody waits for ever either. */
static bool is_passing_shortage(struct wire *w, int code)
{
    int64_t now;

    if (code != ENOMEM && code != ENOBUFS)
        return false;
    now = clock_now();
    if (w->short_since == 0)
        w->short_since = now;
    return now - w->short_since < WIRE_SHORTAGE_NS;
}

/* What a failed or empty read means. */
static int receive_error(struct wire *w, ssize_t n)
{
    int code = errno;

    if (n == 0 || code == ECONNRESET)
        return -ENOTCONN;
    return code == EWOULDBLOCK || is_passing_shortage(w, code) ? -EAGAIN
                                                               : -code;
}

/* Keeps the descriptors that came with @msg; closes those beyond
 * WIRE_MAX_FDS. */
static int keep_fds(struct wire *w, struct msghdr *msg)
{
    int ret = (msg->msg_flags & MSG_CTRUNC) != 0 ? -EPROTO : 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL;
         c = CMSG_NXTHDR(msg, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (w->num_fds < WIRE_MAX_FDS) {
                w->fds[w->num_fds++] = fd;
            } else {
                close(fd);
                ret = -EPROTO;
            }
        }
    }
    return ret;
}

/* Descriptors come with a message's first byte, but any part of a header may
 * bring some. */
static int receive_some_header(struct wire *w)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(w->fds))];
    struct iovec iov = {
        .iov_base = (uint8_t *)&w->header + w->header_have,
        .iov_len = sizeof(w->header) - w->header_have,
    };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n;

    do
        n = recvmsg(w->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return receive_error(w, n);

    w->short_since = 0;
    w->header_have += (size_t)n;
    return keep_fds(w, &msg);
}

int wire_receive_header(struct wire *w)
{
    assert(!w->in_body);

    while (w->header_have < sizeof(w->header)) {
        int ret = receive_some_header(w);

        if (ret < 0)
            return ret;
    }
    if (w->header.size < sizeof(w->header))
        return -EPROTO;

    w->in_body = true;
    w->body_size = w->header.size - sizeof(w->header);
    w->body_have = 0;
    wire_expect_body(w, NULL, 0);
    return 0;
}

void wire_expect_body(struct wire *w, void *buf, size_t cap)
{
    assert(w->in_body && w->body_have == 0);
    w->body = buf;
    w->body_cap = cap < w->body_size ? cap : w->body_size;
}

static ssize_t receive_some_body(struct wire *w)
{
    uint8_t drop[DROP_SIZE];
    uint8_t *to = drop;
    size_t len = w->body_size - w->body_have;
    ssize_t n;

    if (w->body_have < w->body_cap) {
        to = w->body + w->body_have;
        len = w->body_cap - w->body_have;
    } else if (len > sizeof(drop)) {
        len = sizeof(drop);
    }
    do
        n = recv(w->fd, to, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n;
}

int wire_receive_body(struct wire *w)
{
    assert(w->in_body);

    while (w->body_have < w->body_size) {
        ssize_t n = receive_some_body(w);

        if (n <= 0)
            return receive_error(w, n);
        w->short_since = 0;
        w->body_have += (size_t)n;
    }
    return 0;
}

int wire_take_fd(struct wire *w, unsigned int index)
{
    int fd = -1;

    if (index < w->num_fds) {
        fd = w->fds[index];
        w->fds[index] = -1;
    }
    return fd;
}

void wire_next_message(struct wire *w)
{
    close_fds(w);
    w->header_have = 0;
    w->in_body = false;
    w->body = NULL;
    w->body_cap = 0;
}

static void attach_fds(struct msghdr *msg, void *control, const int *fds,
                       unsigned int num_fds)
{
    size_t bytes = num_fds * sizeof(*fds);
    struct cmsghdr *c = control;

    msg->msg_control = control;
    msg->msg_controllen = CMSG_SPACE(bytes);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(c), fds, bytes);
}

/* Sends as much of @parts as there is room for.  Returns how much that was, 0
 * for none.  A peer that is gone takes everything: what it said before it went
 * is still to be read, and its end will be met there. */
static ssize_t send_parts(struct wire *w, const struct iovec *parts,
                          int num_parts, const int *fds, unsigned int num_fds)
{
    _Alignas(struct cmsghdr) char
        control[CMSG_SPACE(WIRE_MAX_SEND_FDS * sizeof(int))] = { 0 };
    struct msghdr msg = {
        .msg_iov = (struct iovec *)parts,
        .msg_iovlen = (size_t)num_parts,
    };
    ssize_t n;
    int code;

    assert(num_fds <= WIRE_MAX_SEND_FDS);
    if (num_fds > 0)
        attach_fds(&msg, control, fds, num_fds);
    do
        n = sendmsg(w->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        w->short_since = 0;
        return n;
    }
    code = errno;
    if (code == EAGAIN || code == EWOULDBLOCK || is_passing_shortage(w, code))
        return 0;
    if (code == EPIPE || code == ECONNRESET) {
        w->send_broken = true;
        return 0;
    }
    return -code;
}

static size_t parts_size(const struct iovec *parts, int num_parts)
{
    size_t size = 0;

    for (int i = 0; i < num_parts; i++)
        size += parts[i].iov_len;
    return size;
}

/* Copies what follows the first @skip bytes of @parts to @to. */
static void copy_parts(uint8_t *to, const struct iovec *parts, int num_parts,
                       size_t skip)
{
    for (int i = 0; i < num_parts; i++) {
        size_t len = parts[i].iov_len;

        if (skip >= len) {
            skip -= len;
            continue;
        }
        memcpy(to, (const uint8_t *)parts[i].iov_base + skip, len - skip);
        to += len - skip;
        skip = 0;
    }
}

/* Keeps the message but for its first @sent bytes.  Returns -ENOMEM if there is
 * no room for it, and -EPIPE if by then half of it has been sent. */
static int keep_unsent(struct wire *w, const struct iovec *parts, int num_parts,
                       size_t sent, const int *fds, unsigned int num_fds)
{
    const struct vfu_header *header = parts[0].iov_base;
    size_t size = parts_size(parts, num_parts) - sent;
    struct wire_unsent *u = malloc(sizeof(*u) + size);

    if (u == NULL)
        return sent == 0 ? -ENOMEM : -EPIPE;
    u->next = NULL;
    u->id = header->id;
    u->is_command = (header->flags & VFU_TYPE_MASK) == VFU_TYPE_COMMAND;
    u->size = size;
    u->sent = 0;
    u->num_fds = sent > 0 ? 0 : num_fds;
    if (u->num_fds > 0)
        memcpy(u->fds, fds, num_fds * sizeof(*fds));
    copy_parts(u->bytes, parts, num_parts, sent);

    *w->unsent_end = u;
    w->unsent_end = &u->next;
    w->unsent_bytes += sizeof(*u) + size;
    return 0;
}

int wire_send(struct wire *w, const struct iovec *parts, int num_parts,
              const int *fds, unsigned int num_fds)
{
    int ret = wire_flush(w);
    ssize_t n = 0;

    if (ret == 0)
        n = send_parts(w, parts, num_parts, fds, num_fds);
    else if (ret != -EAGAIN)
        return ret;
    if (n < 0)
        return (int)n;
    if (w->send_broken || (size_t)n == parts_size(parts, num_parts))
        return 0;
    return keep_unsent(w, parts, num_parts, (size_t)n, fds, num_fds);
}

int wire_try_send(struct wire *w, const struct iovec *parts, int num_parts)
{
    int ret = wire_flush(w);
    ssize_t n;

    if (ret < 0)
        return ret;
    n = send_parts(w, parts, num_parts, NULL, 0);
    if (n < 0)
        return (int)n;
    if (w->send_broken || (size_t)n == parts_size(parts, num_parts))
        return 0;
    if (n == 0)
        return -EAGAIN;
    return keep_unsent(w, parts, num_parts, (size_t)n, NULL, 0);
}

int wire_flush(struct wire *w)
{
    while (w->unsent != NULL && !w->send_broken) {
        struct wire_unsent *u = w->unsent;
        struct iovec rest = { u->bytes + u->sent, u->size - u->sent };
        ssize_t n = send_parts(w, &rest, 1, u->fds, u->num_fds);

        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        u->num_fds = 0;
        u->sent += (size_t)n;
        if (u->sent == u->size)
            drop_first_unsent(w);
    }
    if (w->send_broken)
        drop_unsent(w);
    return w->unsent != NULL ? -EAGAIN : 0;
}

bool wire_is_sending(const struct wire *w, uint16_t id)
{
    for (const struct wire_unsent *u = w->unsent; u != NULL; u = u->next)
        if (u->is_command && u->id == id)
            return true;
    return false;
}
