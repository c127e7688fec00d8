/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes and descriptors over a socket.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "bridge/real.h"
#include "bridge/wire.h"
#include "util/clock.h"

#include <unistd.h>

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(WIRE_MAX_FDS * sizeof(int))];
};

static int wait_for(int fd, short events, int64_t deadline)
{
    struct pollfd p = { .fd = fd, .events = events };
    int ret;

    do
        ret = poll(&p, 1, clock_poll_timeout(deadline));
    while (ret < 0 && errno == EINTR);
    if (ret < 0)
        return -errno;
    return ret == 0 ? -ETIMEDOUT : 0;
}

static void attach(struct msghdr *m, union control *c,
                   const struct wire_fds *fds)
{
    struct cmsghdr *head;
    size_t bytes = fds->count * sizeof(int);

    memset(c, 0, sizeof(*c));
    m->msg_control = c->bytes;
    m->msg_controllen = CMSG_SPACE(bytes);
    head = CMSG_FIRSTHDR(m);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(head), fds->fd, bytes);
}

/* Drops the first @n bytes. */
static void advance(struct iovec **parts, size_t *num_parts, size_t n)
{
    while (*num_parts > 0 && n >= (*parts)->iov_len) {
        n -= (*parts)->iov_len;
        ++*parts;
        --*num_parts;
    }
    if (*num_parts > 0) {
        (*parts)->iov_base = (char *)(*parts)->iov_base + n;
        (*parts)->iov_len -= n;
    }
}

int wire_send(int fd, struct iovec *parts, size_t num_parts,
              const struct wire_fds *fds, int64_t deadline)
{
    union control control;
    struct msghdr m = { 0 };
    int ret;

    if (fds != NULL && fds->count > 0)
        attach(&m, &control, fds);
    advance(&parts, &num_parts, 0);
    while (num_parts > 0) {
        ssize_t n;

        m.msg_iov = parts;
        m.msg_iovlen = num_parts;
        n = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            ret = wait_for(fd, POLLOUT, deadline);
            if (ret < 0)
                return ret;
        } else if (n < 0 && errno != EINTR) {
            return -errno;
        } else if (n > 0) {
            m.msg_control = NULL;
            m.msg_controllen = 0;
            advance(&parts, &num_parts, (size_t)n);
        }
    }
    return 0;
}

static void take_fds(struct msghdr *m, struct wire_fds *fds)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
         c = CMSG_NXTHDR(m, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (fds != NULL && fds->count < WIRE_MAX_FDS)
                fds->fd[fds->count++] = fd;
            else
                REAL(close)(fd);
        }
    }
}

/* Advances *@done, up to @len. */
static int receive(int fd, char *buf, size_t len, size_t *done,
                   struct wire_fds *fds, int64_t deadline)
{
    int ret;

    while (*done < len) {
        struct iovec part = { buf + *done, len - *done };
        union control control;
        struct msghdr m = { .msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control) };
        ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            ret = wait_for(fd, POLLIN, deadline);
            if (ret < 0)
                return ret;
        } else if (n < 0 && errno != EINTR) {
            return -errno;
        } else if (n == 0) {
            return -ECONNRESET;
        } else if (n > 0) {
            take_fds(&m, fds);
            *done += (size_t)n;
        }
    }
    return 0;
}

int wire_receive(int fd, void *buf, size_t len, struct wire_fds *fds,
                 int64_t deadline)
{
    size_t done = 0;

    return receive(fd, buf, len, &done, fds, deadline);
}

/* What could not be copied is still there. */
int wire_receive_there(int fd, void *buf, size_t len, struct wire_fds *fds,
                       int64_t deadline)
{
    size_t done = 0;
    int ret = receive(fd, buf, len, &done, fds, deadline);
    int skipped = 0;

    if (ret == -EFAULT)
        skipped = wire_skip(fd, len - done, deadline);
    return skipped < 0 ? skipped : ret;
}

int wire_skip(int fd, size_t len, int64_t deadline)
{
    char bin[4096];
    int ret = 0;

    while (len > 0 && ret == 0) {
        size_t n = len < sizeof(bin) ? len : sizeof(bin);

        ret = wire_receive(fd, bin, n, NULL, deadline);
        len -= n;
    }
    return ret;
}

void wire_close_fds(struct wire_fds *fds)
{
    while (fds->count > 0)
        REAL(close)(fds->fd[--fds->count]);
}
