/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Feeds a client's bytes to the emulated device, over a socket pair within
 * this process.
 *
 * The first byte chooses what kind of device it is and whether VERSION is
 * sent for the input.  The rest is messages; the low bits of a command's
 * error field, which the device ignores, say how many descriptors go with it:
 * memory for DMA_MAP and MIG_AREA_SET, eventfds for anything else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "emulator/device.h"
#include "emulator/options.h"
#include "emulator/server.h"
#include "util/clock.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WITH_VERSION 0x01
#define AS_LIBRARY   0x02
#define AS_SINK      0x04
#define WITH_REINIT  0x08

#define FDS_MASK     7u
/* Steps of the server after each message. */
#define STEPS        4

static struct options options;
static struct vfm_error err;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    FILE *nowhere = fopen("/dev/null", "w");

    (void)argc;
    (void)argv;
    /* Refused loads are told there, and would be most of the work. */
    if (nowhere != NULL)
        stderr = stdout = nowhere;
    return 0;
}

static void choose_device(uint8_t kind)
{
    options_default(&options);
    options.size = 16 * EDEV_PAGE_SIZE;
    options.dirty_size = 4 * EDEV_PAGE_SIZE;
    options.dirty_rate = 1 << 30;
    options.initial_size = 2 * EDEV_PAGE_SIZE;
    options.reinit_after = 4 * EDEV_PAGE_SIZE;
    options.max_data_xfer = 65536;
    options.personality =
        (kind & AS_LIBRARY) != 0 ? PERSONALITY_LIBVFIO_USER : PERSONALITY_SPEC;
    options.accept_any = (kind & AS_SINK) != 0;
    if ((kind & WITH_REINIT) != 0)
        options.features |= FEATURE_REINIT;
}

/* Makes a descriptor that fits the command. */
static int make_fd(uint16_t command)
{
    int fd;

    if (command != VFU_DMA_MAP && command != VFU_MIG_AREA_SET)
        return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && (ftruncate(fd, 16 * EDEV_PAGE_SIZE) < 0 ||
                    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0))
        abort();
    return fd;
}

static void send_message(int fd, const uint8_t *data, size_t size, int *fds,
                         size_t num_fds)
{
    char control[CMSG_SPACE((FDS_MASK + 1) * sizeof(int))]
        __attribute__((aligned(8))) = { 0 };
    struct iovec iov = { (void *)(uintptr_t)data, size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (num_fds > 0) {
        struct cmsghdr *c;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, num_fds * sizeof(int));
    }
    /* What does not fit is lost, as if the client had stopped there. */
    sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Takes what the device said, and the descriptors with it. */
static void drain(int fd)
{
    static uint8_t bytes[1 << 18];
    char control[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = { bytes, sizeof(bytes) };

    for (;;) {
        struct msghdr msg = {
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = control,
            .msg_controllen = sizeof(control),
        };

        if (recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
            return;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL;
             c = CMSG_NXTHDR(&msg, c)) {
            size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

            for (size_t i = 0; i < n; i++) {
                int got;

                memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
                close(got);
            }
        }
    }
}

/* Lets the server work; false: the connection is over. */
static bool step(struct server *s, int fd)
{
    for (int i = 0; i < STEPS; i++) {
        if (server_step(s, -1, clock_now()) < 0)
            return false;
        drain(fd);
    }
    return true;
}

/* Sends the message at the front; returns its size. */
static size_t send_front(int fd, const uint8_t *data, size_t size)
{
    struct vfu_header h;
    int fds[FDS_MASK + 1];
    size_t num_fds = 0;
    size_t n = size;

    if (size >= sizeof(h)) {
        memcpy(&h, data, sizeof(h));
        if (h.size >= sizeof(h) && h.size < size)
            n = h.size;
        while (num_fds < (h.error & FDS_MASK))
            fds[num_fds++] = make_fd(h.command);
    }
    send_message(fd, data, n, fds, num_fds);
    for (size_t i = 0; i < num_fds; i++)
        close(fds[i]);
    return n;
}

static void send_version(int fd)
{
    static const char json[] =
        "{\"capabilities\":{\"max_data_xfer_size\":65536,"
        "\"vfmig_data_area\":65536}}";
    struct vfu_version v = { 0, 2 };
    struct vfu_header h = {
        .command = VFU_VERSION,
        .size = sizeof(h) + sizeof(v) + sizeof(json),
    };
    uint8_t message[sizeof(h) + sizeof(v) + sizeof(json)];

    memcpy(message, &h, sizeof(h));
    memcpy(message + sizeof(h), &v, sizeof(v));
    memcpy(message + sizeof(h) + sizeof(v), json, sizeof(json));
    send_message(fd, message, sizeof(message), NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct device *d;
    struct server s;
    int fds[2];

    if (size == 0)
        return 0;
    choose_device(data[0]);
    if (device_create(&options, &d, &err) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
        server_adopt(&s, d, fds[1], &err) < 0)
        abort();
    if ((data[0] & WITH_VERSION) != 0)
        send_version(fds[0]);
    for (size_t at = 1; step(&s, fds[0]) && at < size;)
        at += send_front(fds[0], data + at, size - at);
    close(fds[0]);
    server_close(&s);
    device_free(d);
    return 0;
}
