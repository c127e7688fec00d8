/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_DOCS_KERNEL_FACT_H
#define VFM_DOCS_KERNEL_FACT_H

/*
 * What the programs of this folder share: a device of the kernel, opened and
 * driven by system calls alone.  Nothing of libvfmig is used but the numbers
 * of the uAPI, so that a fact is the kernel's and not ours.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "protocol/vfio-uapi.h"

/* Room for the largest argument of a feature. */
#define FACT_ARG_MAX 64

__attribute__((noreturn)) static inline void fact_die(const char *why)
{
    fprintf(stderr, "not a fact: %s (errno: %s)\n", why, strerror(errno));
    exit(EXIT_FAILURE);
}

static inline void fact_check(bool is_true, const char *what)
{
    if (!is_true)
        fact_die(what);
}

static inline int fact_open_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        fact_die(path);
    return fd;
}

/* The file of the group of the device with this mdev UUID or PCI address. */
static inline void fact_find_group(const char *address, char *path, size_t size)
{
    const char *const buses[] = { "mdev", "pci" };
    char link[512];
    ssize_t n = -1;

    for (int i = 0; n < 0 && i < 2; i++) {
        snprintf(path, size, "/sys/bus/%s/devices/%.100s/iommu_group", buses[i],
                 address);
        n = readlink(path, link, sizeof(link) - 1);
    }
    fact_check(n > 0, "there is no such device with a group");
    link[n] = '\0';
    snprintf(path, size, "/dev/vfio%s", strrchr(link, '/'));
}

/* The device in a container, by its group: every kernel with VFIO has these. */
static inline int fact_open_in(int container, const char *address)
{
    char path[600];
    int group;
    int fd;

    fact_find_group(address, path, sizeof(path));
    group = fact_open_file(path);
    if (ioctl(group, UAPI_GROUP_SET_CONTAINER, &container) < 0 ||
        ioctl(container, UAPI_SET_IOMMU, UAPI_TYPE1V2_IOMMU) < 0)
        fact_die("its group cannot join a container");
    fd = ioctl(group, UAPI_GROUP_GET_DEVICE_FD, address);
    if (fd < 0)
        fact_die("its group does not give it out");
    return fd;
}

/* The one that is the program's argument. */
static inline int fact_open(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s ADDRESS\n", argv[0]);
        exit(2);
    }
    return fact_open_in(fact_open_file("/dev/vfio/vfio"), argv[1]);
}

/* 0 or -errno.  @data, @len bytes, goes in and comes back. */
static inline int fact_feature(int fd, uint32_t flags, void *data, size_t len)
{
    struct {
        struct uapi_feature feature;
        uint8_t data[FACT_ARG_MAX];
    } arg = { .feature.argsz = (uint32_t)(sizeof(arg.feature) + len),
              .feature.flags = flags };
    int ret;

    memcpy(arg.data, data, len);
    ret = ioctl(fd, UAPI_DEVICE_FEATURE, &arg);
    memcpy(data, arg.data, len);
    return ret < 0 ? -errno : 0;
}

/* *@data_fd is -1 if none came. */
static inline int fact_set_state(int fd, uint32_t state, int *data_fd)
{
    struct uapi_device_state arg = { .state = state, .data_fd = -1 };
    int ret = fact_feature(fd, UAPI_FEATURE_SET | UAPI_FEATURE_DEVICE_STATE,
                           &arg, sizeof(arg));

    *data_fd = ret < 0 ? -1 : arg.data_fd;
    return ret;
}

/* The same where it has to work; returns the data descriptor. */
static inline int fact_must_set_state(int fd, uint32_t state)
{
    int data_fd;
    int ret = fact_set_state(fd, state, &data_fd);

    errno = -ret;
    fact_check(ret == 0, "a transition was refused");
    return data_fd;
}

static inline uint32_t fact_get_state(int fd)
{
    struct uapi_device_state arg = { .data_fd = -1 };

    if (fact_feature(fd, UAPI_FEATURE_GET | UAPI_FEATURE_DEVICE_STATE, &arg,
                     sizeof(arg)) < 0)
        fact_die("it does not tell its state");
    return arg.state;
}

static inline uint64_t fact_migration(int fd)
{
    uint64_t flags = 0;

    if (fact_feature(fd, UAPI_FEATURE_GET | UAPI_FEATURE_MIGRATION, &flags,
                     sizeof(flags)) < 0)
        fact_die("it does not migrate");
    return flags;
}

static inline void fact_reset(int fd)
{
    if (ioctl(fd, UAPI_DEVICE_RESET_NOW, NULL) < 0)
        fact_die("it cannot be reset");
    fact_check(fact_get_state(fd) == UAPI_STATE_RUNNING,
               "a reset leaves it in another state than RUNNING");
}

/* Reads to the end, or to ENOMSG; the bytes are in @buf, @size at most. */
static inline size_t fact_read_all(int fd, void *buf, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, (char *)buf + len, size - len)) > 0)
        len += (size_t)n;
    if (n < 0 && errno != ENOMSG)
        fact_die("its state cannot be read");
    fact_check(len < size, "its state is larger than expected");
    return len;
}

#endif
