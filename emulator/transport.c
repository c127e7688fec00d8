/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages over a socket: buffers, descriptors, and not one blocking call.
 *
 * What messages mean is the business of connection.c.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "emulator/transport.h"

/* Incoming bytes beyond one message, so that one call receives several. */
#define READ_AHEAD  (256u << 10)
/* So that a large reply does not need the client's attention twice. */
#define SEND_BUFFER (4 << 20)

static void enlarge_send_buffer(int fd)
{
    int size = SEND_BUFFER;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int transport_init(struct transport *t, int fd, size_t message_max,
                   size_t reply_max)
{
    int flags = fcntl(fd, F_GETFL);

    *t = (struct transport){
        .fd = fd,
        .message_max = message_max,
        .in_room = message_max + READ_AHEAD,
        .out_room = 2 * reply_max,
    };
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        int ret = -errno;

        transport_free(t);
        return ret;
    }
    enlarge_send_buffer(fd);
    t->in = malloc(t->in_room);
    t->out = malloc(t->out_room);
    if (t->in == NULL || t->out == NULL) {
        transport_free(t);
        return -ENOMEM;
    }
    return 0;
}

static void close_fds(struct transport *t)
{
    for (size_t i = 0; i < t->num_fds; i++)
        close(t->fds[i]);
    t->num_fds = 0;
}

void transport_free(struct transport *t)
{
    close_fds(t);
    free(t->in);
    free(t->out);
    if (t->fd >= 0)
        close(t->fd);
    *t = (struct transport){ .fd = -1 };
}

/* Makes room at the end for the rest of the message under way. */
static void make_room(struct transport *t)
{
    size_t have = t->in_end - t->in_begin;

    if (have == 0) {
        t->in_begin = t->in_end = 0;
    } else if (t->in_room - t->in_begin < t->message_max ||
               t->in_end == t->in_room) {
        memmove(t->in, t->in + t->in_begin, have);
        t->in_begin = 0;
        t->in_end = have;
    }
}

static void keep_fds(struct transport *t, const struct cmsghdr *c)
{
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
        if (t->num_fds < TRANSPORT_FDS_MAX)
            t->fds[t->num_fds++] = fd;
        else
            close(fd);
    }
    t->fds_position = t->in_position;
}

long transport_receive(struct transport *t)
{
    char control[CMSG_SPACE(TRANSPORT_FDS_MAX * sizeof(int))]
        __attribute__((aligned(8)));
    struct iovec iov;
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n;

    make_room(t);
    if (t->in_end == t->in_room)
        return -EAGAIN;
    iov.iov_base = t->in + t->in_end;
    iov.iov_len = t->in_room - t->in_end;
    do
        n = recvmsg(t->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    t->in_end += (size_t)n;
    t->in_position += (uint64_t)n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL;
         c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            keep_fds(t, c);
    return n;
}

size_t transport_available(const struct transport *t)
{
    return t->in_end - t->in_begin;
}

const uint8_t *transport_front(const struct transport *t)
{
    return t->in + t->in_begin;
}

int transport_peek(const struct transport *t, struct vfu_header *header)
{
    if (transport_available(t) < sizeof(*header))
        return 0;
    memcpy(header, transport_front(t), sizeof(*header));
    if (header->size < sizeof(*header) || header->size > t->message_max)
        return -EINVAL;
    return transport_available(t) >= header->size;
}

size_t transport_take_fds(struct transport *t, size_t size,
                          int fds[TRANSPORT_FDS_MAX])
{
    uint64_t front = t->in_position - transport_available(t);
    size_t count = t->num_fds;

    /* The kernel ends a receive with the bytes that brought descriptors: the
     * last of these bytes belongs to their message. */
    if (count == 0 || t->fds_position > front + size)
        return 0;
    memcpy(fds, t->fds, count * sizeof(fds[0]));
    t->num_fds = 0;
    return count;
}

void transport_drop(struct transport *t, size_t size)
{
    assert(size <= transport_available(t));
    t->in_begin += size;
}

void *transport_reserve(struct transport *t)
{
    if (t->out_begin == t->out_end)
        t->out_begin = t->out_end = 0;
    if (t->out_room - t->out_end < t->out_room / 2 ||
        t->num_out_fds == TRANSPORT_OUT_FDS_MAX)
        return NULL;
    return t->out + t->out_end;
}

void transport_commit(struct transport *t, size_t size, int fd, unsigned copies)
{
    assert(size <= t->out_room - t->out_end);
    if (fd >= 0 && copies > 0) {
        t->out_fds[t->num_out_fds].at = t->out_end;
        t->out_fds[t->num_out_fds].fd = fd;
        t->out_fds[t->num_out_fds++].copies = copies;
    }
    t->out_end += size;
}

size_t transport_pending(const struct transport *t)
{
    return t->out_end - t->out_begin;
}

/* Attaches the descriptors of the message at the front. */
static void attach(const struct transport *t, struct msghdr *msg, char *control)
{
    unsigned copies = t->out_fds[0].copies;
    struct cmsghdr *c;

    msg->msg_control = control;
    msg->msg_controllen = CMSG_SPACE(copies * sizeof(int));
    c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(copies * sizeof(int));
    for (unsigned i = 0; i < copies; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &t->out_fds[0].fd, sizeof(int));
}

/* Sends once, up to the next message with a descriptor. */
static long send_some(struct transport *t)
{
    char control[CMSG_SPACE(TRANSPORT_FDS_MAX * sizeof(int))]
        __attribute__((aligned(8))) = { 0 };
    struct iovec iov = { t->out + t->out_begin, t->out_end - t->out_begin };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    bool with_fd = t->num_out_fds > 0 && t->out_fds[0].at == t->out_begin;
    size_t next = with_fd ? 1 : 0;
    ssize_t n;

    if (next < t->num_out_fds)
        iov.iov_len = t->out_fds[next].at - t->out_begin;
    if (t->split > 0 && iov.iov_len > t->split)
        iov.iov_len = t->split;
    if (with_fd)
        attach(t, &msg, control);
    n = sendmsg(t->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return -errno;
    t->out_begin += (size_t)n;
    if (with_fd)
        memmove(&t->out_fds[0], &t->out_fds[1],
                --t->num_out_fds * sizeof(t->out_fds[0]));
    return n;
}

int transport_flush(struct transport *t)
{
    while (transport_pending(t) > 0) {
        long n = send_some(t);

        if (n < 0 && n != -EINTR)
            return (int)n;
    }
    return 0;
}

void transport_cut(struct transport *t, size_t size)
{
    if (t->out_end - t->out_begin > size)
        t->out_end = t->out_begin + size;
}
