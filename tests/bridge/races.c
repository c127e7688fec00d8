/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that get in each other's way, and descriptors that go in ways that
 * nobody is told of.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client.h"

#define NUM_THREADS 3
#define SESSIONS    40
#define RESETS      30
#define OPENINGS    30
#define IOVA        UINT64_C(0x10000000)
#define MEMORY      (64 << 10)

/* Threads that do the same again and again until they are stopped. */
struct crowd {
    void (*act)(struct crowd *crowd);
    struct client *client;
    atomic_int fd; /* what they do it to; -1: nothing */
    atomic_bool is_over;
    pthread_t threads[NUM_THREADS];
};

static void *run_one(void *arg)
{
    struct crowd *crowd = arg;

    while (!crowd->is_over)
        crowd->act(crowd);
    return NULL;
}

static void gather(struct crowd *crowd)
{
    crowd->is_over = false;
    for (int i = 0; i < NUM_THREADS; i++)
        expect(pthread_create(&crowd->threads[i], NULL, run_one, crowd) == 0,
               "there are threads");
}

static void disperse(struct crowd *crowd)
{
    crowd->is_over = true;
    for (int i = 0; i < NUM_THREADS; i++)
        pthread_join(crowd->threads[i], NULL);
}

/* ------------------------------------------------------------- sessions */

static size_t read_to_the_end(int fd)
{
    char piece[4096];
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, piece, sizeof(piece))) > 0)
        len += (size_t)n;
    expect(n == 0, "a state has an end");
    return len;
}

static void read_a_little(struct crowd *crowd)
{
    char piece[64];
    int fd = crowd->fd;
    ssize_t n = fd < 0 ? 0 : read(fd, piece, sizeof(piece));

    expect(n >= 0 || errno == ENODEV, "an old session says that it has ended");
}

static void try_old_sessions(struct client *c)
{
    struct crowd crowd = { .act = read_a_little, .fd = -1 };
    int fd = client_go(c, VFIO_DEVICE_STATE_STOP_COPY);
    size_t len = read_to_the_end(fd);
    int old[SESSIONS];

    close(fd);
    gather(&crowd);
    for (int i = 0; i < SESSIONS; i++) {
        client_go(c, VFIO_DEVICE_STATE_STOP);
        crowd.fd = old[i] = client_go(c, VFIO_DEVICE_STATE_STOP_COPY);
        client_go(c, VFIO_DEVICE_STATE_STOP);
        fd = client_go(c, VFIO_DEVICE_STATE_STOP_COPY);
        expect(read_to_the_end(fd) == len,
               "who reads an old session takes nothing from the next");
        close(fd);
    }
    disperse(&crowd);
    /* Not before: nobody may read what has their numbers next. */
    for (int i = 0; i < SESSIONS; i++)
        close(old[i]);
    client_go(c, VFIO_DEVICE_STATE_RUNNING);
}

/* A number of the group goes, and something else of ours gets it. */
static void try_unseen_group(struct client *c)
{
    bool by_cdev = c->by_cdev;
    char path[64];
    int group;
    int other;

    client_close(c);
    snprintf(path, sizeof(path), "/dev/vfio/%.4s", c->address);
    group = open(path, O_RDWR | O_CLOEXEC);
    expect(group >= 0, "a group can be opened again");
    syscall(SYS_close, group);
    other = open("/dev/iommu", O_RDWR | O_CLOEXEC);
    expect(other == group, "its number is taken");
    group = open(path, O_RDWR | O_CLOEXEC);
    expect(group >= 0, "a group that went unseen is not in use");
    close(group);
    close(other);
    client_open(c, by_cdev ? "cdev" : "group", c->address);
}

/* As close_range() and closefrom() do. */
static void try_unseen_close(struct client *c)
{
    int fd = client_go(c, VFIO_DEVICE_STATE_PRE_COPY);
    int again;

    syscall(SYS_close, fd);
    client_go(c, VFIO_DEVICE_STATE_RUNNING);
    again = client_go(c, VFIO_DEVICE_STATE_PRE_COPY);
    expect(again == fd, "a number is taken again");
    expect(close(again) == 0, "by the next session");
    client_go(c, VFIO_DEVICE_STATE_RUNNING);
}

static void reset(struct crowd *crowd)
{
    expect(ioctl(crowd->client->device, VFIO_DEVICE_RESET) == 0,
           "the device can be reset");
}

/* A reset comes before the session, or ends it and is seen. */
static void try_resets(struct client *c)
{
    struct crowd crowd = { .act = reset, .client = c };
    char byte;

    for (int i = 0; i < RESETS; i++) {
        int fd;

        gather(&crowd);
        fd = client_go(c, VFIO_DEVICE_STATE_PRE_COPY);
        disperse(&crowd);
        expect(client_state(c) == VFIO_DEVICE_STATE_RUNNING ||
                   read(fd, &byte, 1) == 1,
               "a session is as good as its state");
        close(fd);
        client_go(c, VFIO_DEVICE_STATE_RUNNING);
    }
}

/* -------------------------------------------------------------- openings */

static void open_and_close(struct crowd *crowd)
{
    int fd = ioctl(crowd->client->group, VFIO_GROUP_GET_DEVICE_FD,
                   crowd->client->address);

    expect(fd >= 0 && close(fd) == 0, "a group gives its device out again");
}

static void map_and_unmap(struct client *c, void *memory)
{
    expect(client_map(c, memory, MEMORY, IOVA, true) == 0 &&
               client_unmap(c, IOVA, MEMORY) == 0,
           "memory is mapped meanwhile");
}

/* The first to come gives the device its memory, the last takes it away. */
static void try_openings(struct client *c, void *memory)
{
    struct crowd crowd = { .act = open_and_close, .client = c };

    close(c->device);
    gather(&crowd);
    for (int i = 0; i < OPENINGS; i++)
        map_and_unmap(c, memory);
    disperse(&crowd);
    c->device = ioctl(c->group, VFIO_GROUP_GET_DEVICE_FD, c->address);
    expect(reg32(c, EDEV_REG_MAGIC) == EDEV_MAGIC, "it is the same device");
    map_and_unmap(c, memory);
}

/* The group's number is that of the device's own node. */
static void open_the_other_way(const struct client *c)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/dev/vfio/%s%.4s",
             c->by_cdev ? "" : "devices/vfio", c->address);
    fd = open(path, O_RDWR | O_CLOEXEC);
    expect(fd < 0 && errno == EBUSY, "one way to a device excludes the other");
}

static void make_and_destroy(struct crowd *crowd)
{
    struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
    struct iommu_destroy destroy = { .size = sizeof(destroy) };
    int iommufd = crowd->client->container;

    expect(ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc) == 0,
           "there is another address space");
    destroy.id = alloc.out_ioas_id;
    crowd->fd = (int)alloc.out_ioas_id;
    expect(ioctl(iommufd, IOMMU_DESTROY, &destroy) == 0 || errno == EBUSY,
           "it is destroyed, or in use");
}

/* What would go wrong is seen by a sanitizer of threads. */
static void try_address_spaces(struct client *c, void *memory)
{
    struct crowd crowd = { .act = make_and_destroy, .client = c };
    struct client other = *c;

    gather(&crowd);
    for (int i = 0; i < 10 * OPENINGS; i++) {
        other.ioas = (uint32_t)crowd.fd;
        client_map(&other, memory, MEMORY, IOVA, true);
        client_unmap(&other, IOVA, MEMORY);
    }
    disperse(&crowd);
}

void try_races(struct client *c)
{
    void *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    expect(memory != MAP_FAILED, "there is memory");
    try_old_sessions(c);
    try_unseen_close(c);
    try_unseen_group(c);
    try_resets(c);
    open_the_other_way(c);
    if (c->by_cdev)
        try_address_spaces(c, memory);
    else
        try_openings(c, memory);
    munmap(memory, MEMORY);
}
