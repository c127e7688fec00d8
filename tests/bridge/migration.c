/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's state out of it and back into it; and what threads and other
 * processes have to do with its descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

#define STATE_MAX   (16 << 20)
#define MARK        UINT64_C(0x6d61726b)
#define NUM_READERS 3

/* ------------------------------------------------------------- sessions */

/* Reads to the end; returns how it ended. */
static int read_all(int fd, uint8_t *data, size_t *len)
{
    ssize_t n;

    while ((n = read(fd, data + *len, STATE_MAX - *len)) > 0)
        *len += (size_t)n;
    return n < 0 ? -errno : 0;
}

static void check_polling(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    struct epoll_event event = { .events = EPOLLIN };
    int epoll = epoll_create1(0);

    expect(poll(&p, 1, 0) == 1 && p.revents == POLLIN,
           "a data descriptor can be polled");
    expect(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 &&
               epoll_wait(epoll, &event, 1, 0) == 1,
           "and by epoll");
    close(epoll);
}

static void check_precopy_info(int fd, bool is_running)
{
    struct vfio_precopy_info info = { .argsz = sizeof(info) };
    int ret = ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO, &info);

    if (is_running)
        expect(ret == 0 && info.initial_bytes > 0,
               "PRE_COPY says how much there is");
    else
        expect(ret < 0 && errno == EINVAL, "STOP_COPY does not");
}

static size_t save(const struct client *c, uint8_t *data)
{
    size_t len = 0;
    int fd = client_go(c, VFIO_DEVICE_STATE_PRE_COPY);

    expect(fd >= 0, "PRE_COPY brings a descriptor");
    check_polling(fd);
    check_precopy_info(fd, true);
    expect(read_all(fd, data, &len) == -ENOMSG && len > 0,
           "PRE_COPY ends for now");
    expect(client_go(c, VFIO_DEVICE_STATE_STOP_COPY) == -1,
           "STOP_COPY goes on with the same descriptor");
    check_precopy_info(fd, false);
    expect(read_all(fd, data, &len) == 0, "STOP_COPY ends for good");
    expect(write(fd, data, 1) < 0 && errno == EBADF,
           "a saving descriptor is not written");
    expect(client_go(c, VFIO_DEVICE_STATE_RUNNING) == -1,
           "RUNNING brings none");
    expect(read(fd, data + len, 1) < 0, "a session ends with its state");
    close(fd);
    return len;
}

static void load(const struct client *c, const uint8_t *data, size_t len)
{
    int fd = client_go(c, VFIO_DEVICE_STATE_RESUMING);
    size_t done = 0;
    char byte;

    expect(fd >= 0, "RESUMING brings a descriptor");
    expect(read(fd, &byte, 1) < 0 && errno == EBADF,
           "a loading descriptor is not read");
    while (done < len) {
        ssize_t n = write(fd, data + done, len - done);

        expect(n > 0, "the state is taken");
        done += (size_t)n;
    }
    expect(client_go(c, VFIO_DEVICE_STATE_RUNNING) == -1,
           "the state is accepted");
    close(fd);
}

/* The next number that is free. */
static int next_number(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

/* The state changes, as it does in the kernel; the descriptor is nobody's. */
static void try_unwritable(const struct client *c)
{
    static const uint32_t ask[4] = {
        sizeof(ask),
        VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
        VFIO_DEVICE_STATE_PRE_COPY, UINT32_MAX, /* no descriptor */
    };
    int before = next_number();

    expect(ioctl(c->device, VFIO_DEVICE_FEATURE, ask) < 0 && errno == EFAULT,
           "an answer needs room");
    expect(next_number() == before, "nothing is left of one without");
    expect(client_go(c, VFIO_DEVICE_STATE_RUNNING) == -1, "the device goes on");
}

static void try_bad_pointers(const struct client *c)
{
    void *nowhere =
        mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t byte;
    int fd = client_go(c, VFIO_DEVICE_STATE_STOP_COPY);

    expect(read(fd, nowhere, 4096) < 0 && errno == EFAULT,
           "the state is read to nowhere");
    expect(read(fd, &byte, 1) < 0 && errno == EIO,
           "what went nowhere is not left out");
    close(fd);
    fd = client_go(c, VFIO_DEVICE_STATE_RESUMING);
    expect(write(fd, nowhere, 4096) < 0 && errno == EFAULT,
           "it is written from nowhere");
    expect(write(fd, MAP_FAILED, 4096) < 0 && errno == EFAULT,
           "or from where no memory is");
    expect(writev(fd, nowhere, 1) < 0 && errno == EFAULT &&
               writev(fd, nowhere, 1 << 20) < 0 && errno == EINVAL,
           "or in parts that are none");
    close(fd);
    expect(ioctl(c->device, VFIO_DEVICE_RESET) == 0 &&
               client_state(c) == VFIO_DEVICE_STATE_RUNNING,
           "the device is there");
    munmap(nowhere, 4096);
}

void try_migration(struct client *c)
{
    uint8_t *data = malloc(STATE_MAX);
    uint64_t flags = 0;
    uint64_t size = 0;
    size_t len;

    expect(client_feature(
               c, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
               &flags, sizeof(flags)) == 0 &&
               (flags & VFIO_MIGRATION_STOP_COPY) != 0 &&
               (flags & VFIO_MIGRATION_PRE_COPY) != 0,
           "it can be migrated");
    expect(client_feature(
               c, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
               &size, sizeof(size)) == 0 &&
               size > 0,
           "it says how large its state is");
    set64(c, EDEV_REG_SCRATCH, MARK);
    len = save(c, data);
    set64(c, EDEV_REG_SCRATCH, 0);
    load(c, data, len);
    expect(reg64(c, EDEV_REG_SCRATCH) == MARK, "it is what it was");
    try_unwritable(c);
    try_bad_pointers(c);
    free(data);
}

/* ------------------------------------------------- threads and processes */

static void *read_registers(void *arg)
{
    const struct client *c = arg;

    for (int i = 0; i < 200; i++)
        expect(reg32(c, EDEV_REG_MAGIC) == EDEV_MAGIC,
               "threads do not disturb each other");
    return NULL;
}

static void try_threads(struct client *c)
{
    pthread_t threads[NUM_READERS];
    uint8_t *data = malloc(STATE_MAX);
    size_t len = 0;
    int fd;

    for (int i = 0; i < NUM_READERS; i++)
        expect(pthread_create(&threads[i], NULL, read_registers, c) == 0,
               "there are threads");
    fd = client_go(c, VFIO_DEVICE_STATE_PRE_COPY);
    expect(read_all(fd, data, &len) == -ENOMSG, "nor a session");
    client_go(c, VFIO_DEVICE_STATE_RUNNING);
    close(fd);
    for (int i = 0; i < NUM_READERS; i++)
        pthread_join(threads[i], NULL);
    free(data);
}

static void try_numbers(struct client *c)
{
    int copy = dup(c->device);
    int high = fcntl(c->device, F_DUPFD_CLOEXEC, 200);
    int old = c->device;

    expect(copy >= 0 && high >= 200, "a descriptor is doubled");
    close(old);
    c->device = high;
    expect(reg32(c, EDEV_REG_MAGIC) == EDEV_MAGIC,
           "a copy outlives its original");
    expect(dup2(copy, old) == old, "and can have its number");
    close(copy);
    close(high);
    c->device = old;
    expect(reg32(c, EDEV_REG_MAGIC) == EDEV_MAGIC,
           "it is the device, whatever its number");
}

/* The child does with its copies what it likes. */
static void try_fork(struct client *c)
{
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        _exit(7);
    }
    expect(waitpid(child, &status, 0) == child && WIFEXITED(status) &&
               WEXITSTATUS(status) == 7,
           "a child is a child");
    expect(reg32(c, EDEV_REG_MAGIC) == EDEV_MAGIC, "and takes nothing with it");
}

static void try_spawn(struct client *c)
{
    char *argv[] = { (char *)"true", NULL };
    int status = -1;
    pid_t child;

    expect(posix_spawnp(&child, "true", NULL, NULL, argv, environ) == 0 &&
               waitpid(child, &status, 0) == child && status == 0,
           "a program can be run");
    expect(reg32(c, EDEV_REG_MAGIC) == EDEV_MAGIC, "and takes nothing with it");
}

void try_processes(struct client *c)
{
    try_threads(c);
    try_numbers(c);
    try_fork(c);
    try_spawn(c);
}
