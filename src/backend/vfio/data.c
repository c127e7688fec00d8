/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session: bytes of the device's state, by a descriptor that came with the
 * change of its state.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/vfio/kernel.h"
#include "util/clock.h"
#include "util/error.h"

/* A driver that has neither data nor an end for so long is out of order. */
#define DATA_TIMEOUT_NS (30 * NS_PER_SEC)
#define PAGE_SIZE       4096

int data_begin(struct kernel_device *k, int fd)
{
    int flags = fcntl(fd, F_GETFL);

    data_end(k->dev);
    k->data_fd = fd;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

void data_end(struct vfm_device *dev)
{
    struct kernel_device *k = kernel_of(dev);

    if (k->data_fd >= 0)
        close(k->data_fd);
    k->data_fd = -1;
    k->blocked = k->has_ended = false;
    k->at = k->len = 0;
}

static ssize_t fail(struct kernel_device *k, ssize_t ret, const char *what,
                    struct vfm_error *err)
{
    return error_set(err, (int)ret, "%s: cannot %s its state: %s", k->dev->name,
                     what, strerror((int)-ret));
}

/* It has to wait; the time that it has begins with the first refusal. */
static ssize_t block(struct kernel_device *k, const char *what,
                     struct vfm_error *err)
{
    if (!k->blocked)
        k->blocked_at = clock_now();
    k->blocked = true;
    if (clock_now() - k->blocked_at < DATA_TIMEOUT_NS)
        return -EAGAIN;
    return fail(k, -ETIMEDOUT, what, err);
}

static int get_buffer(struct kernel_device *k)
{
    void *buf;

    if (k->buf != NULL)
        return 0;
    if (posix_memalign(&buf, PAGE_SIZE, KERNEL_READ_SIZE) != 0)
        return -ENOMEM;
    k->buf = buf;
    return 0;
}

static ssize_t read_more(struct kernel_device *k)
{
    ssize_t n;

    do
        n = read(k->data_fd, k->buf, KERNEL_READ_SIZE);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Fills the buffer.  What it says at the end stays; but before STOP_COPY
 * nothing is one, whether a driver says so by ENOMSG or, as some do, by 0.  In
 * STOP_COPY it is ENOMSG that makes no sense. */
static ssize_t fill(struct kernel_device *k, struct vfm_error *err)
{
    ssize_t n = get_buffer(k);

    if (n == 0)
        n = read_more(k);
    if (n == -EAGAIN)
        return block(k, "read", err);
    k->blocked = false;
    k->at = 0;
    k->len = n > 0 ? (size_t)n : 0;
    if (k->dev->state == VFM_STATE_STOP_COPY)
        n = n == -ENOMSG ? -EPROTO : n;
    else if (n == 0)
        n = -ENOMSG;
    if (n > 0 || n == -ENOMSG)
        return n;
    k->has_ended = true;
    k->ended = n;
    return n == 0 ? 0 : fail(k, n, "read", err);
}

ssize_t data_peek(struct vfm_device *dev, const void **data,
                  struct vfm_error *err)
{
    struct kernel_device *k = kernel_of(dev);
    ssize_t n;

    if (k->at == k->len) {
        if (k->data_fd < 0)
            return fail(k, -EBADFD, "read", err);
        if (k->has_ended)
            return k->ended == 0 ? 0 : fail(k, k->ended, "read", err);
        n = fill(k, err);
        if (n <= 0)
            return n;
    }
    *data = k->buf + k->at;
    return (ssize_t)(k->len - k->at);
}

void data_consume(struct vfm_device *dev, size_t len)
{
    kernel_of(dev)->at += len;
}

ssize_t data_write(struct vfm_device *dev, const void *data, size_t len,
                   struct vfm_error *err)
{
    struct kernel_device *k = kernel_of(dev);
    ssize_t n;

    if (k->data_fd < 0)
        return fail(k, -EBADFD, "write", err);
    do
        n = write(k->data_fd, data, len);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return block(k, "write", err);
    k->blocked = false;
    if (n == 0)
        return fail(k, -EIO, "write", err);
    return n < 0 ? fail(k, -errno, "write", err) : n;
}

/* A driver has what write() took. */
int data_flush(struct vfm_device *dev, struct vfm_error *err)
{
    (void)dev;
    (void)err;
    return 0;
}

int data_wait_fds(struct vfm_device *dev, struct pollfd *fds, int64_t *deadline)
{
    const struct kernel_device *k = kernel_of(dev);

    *deadline = CLOCK_NEVER;
    if (device_is_busy(dev))
        *deadline = 0; /* a call is over when it has begun */
    if (k->data_fd < 0 || !k->blocked)
        return 0;
    *deadline = clock_min(*deadline, k->blocked_at + DATA_TIMEOUT_NS);
    fds[0] = (struct pollfd){
        .fd = k->data_fd,
        .events = dev->session == SESSION_LOAD ? POLLOUT : POLLIN,
    };
    return 1;
}
