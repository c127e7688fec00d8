/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes from one end of a channel to the other, in one process: listen where
 * the system likes, connect there, send at a limited rate, end in good order,
 * receive to the end.  Prints what went through.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include <vfmig/channel.h>

static char message[] = "a device's state\n";

/* Two seconds from now: whatever waits here has a deadline. */
static int64_t deadline(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((int64_t)now.tv_sec + 2) * 1000000000 + now.tv_nsec;
}

static int send_all(struct vfm_channel *ch, struct iovec iov,
                    struct vfm_error *err)
{
    while (iov.iov_len > 0) {
        ssize_t ret = vfm_channel_send(ch, &iov, 1, err);

        if (ret == -EAGAIN)
            ret = vfm_channel_wait(ch, POLLOUT, deadline(), err);
        else if (ret > 0) {
            iov.iov_base = (char *)iov.iov_base + ret;
            iov.iov_len -= (size_t)ret;
        }
        if (ret < 0)
            return (int)ret;
    }
    return vfm_channel_finish(ch, err);
}

/* Prints what comes until the stream ends. */
static int print_all(struct vfm_channel *ch, struct vfm_error *err)
{
    for (;;) {
        char buf[4096];
        ssize_t ret = vfm_channel_recv(ch, buf, sizeof(buf), err);

        if (ret == -EAGAIN)
            ret = vfm_channel_wait(ch, POLLIN, deadline(), err);
        else if (ret > 0)
            fwrite(buf, 1, (size_t)ret, stdout);
        else
            return (int)ret;
        if (ret < 0)
            return (int)ret;
    }
}

int main(void)
{
    struct vfm_channel_options options = VFM_CHANNEL_OPTIONS_INIT;
    struct iovec iov = { message, sizeof(message) - 1 };
    struct vfm_listener *listener = NULL;
    struct vfm_channel *source = NULL;
    struct vfm_channel *target = NULL;
    struct vfm_error err;
    int ret;

    options.connect_timeout_ms = 2000;
    options.max_bandwidth = 1000000;

    ret = vfm_listener_open("tcp:127.0.0.1:0", &options, &listener, &err);
    if (ret == 0)
        ret = vfm_channel_connect(vfm_listener_address(listener), &options,
                                  &source, &err);
    if (ret == 0)
        ret = vfm_listener_accept(listener, &target, &err);
    if (ret == 0)
        ret = send_all(source, iov, &err);
    if (ret == 0)
        ret = print_all(target, &err);
    if (ret < 0)
        fprintf(stderr, "channel: %s\n", err.message);

    vfm_channel_close(source);
    vfm_channel_close(target);
    vfm_listener_close(listener);
    return ret < 0;
}
