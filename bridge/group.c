/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups: each has one device, and is open once.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/backing.h"
#include "bridge/node.h"

struct group {
    struct file file;
    struct place place;
    pthread_mutex_t lock;
    struct file *container; /* NULL: none */
    unsigned devices;       /* open descriptors of its device */
};

/* Which are open. */
static atomic_bool is_open[PLACE_MAX];

static atomic_bool *open_flag(const struct place *place)
{
    return &is_open[place->group - PLACE_GROUP(0)];
}

static struct group *group_of(struct file *f)
{
    return (struct group *)f;
}

static int get_status(struct group *g, void *arg)
{
    struct uapi_group_status status;
    int ret = argument_get(arg, &status, sizeof(status), sizeof(status));

    if (ret < 0)
        return ret;
    status.argsz = sizeof(status);
    status.flags = UAPI_GROUP_VIABLE;
    if (g->container != NULL)
        status.flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
    return argument_put(arg, &status, sizeof(status));
}

static int set_container(struct group *g, const void *arg)
{
    struct file *container;
    int32_t fd;
    int ret = memory_read((uintptr_t)arg, &fd, sizeof(fd));

    if (ret < 0)
        return ret;
    container = file_find(fd);
    if (container == NULL)
        return -EBADF;
    pthread_mutex_lock(&g->lock);
    if (g->container != NULL || !is_container(container)) {
        ret = -EINVAL;
    } else {
        g->container = container;
        container_join(container);
    }
    pthread_mutex_unlock(&g->lock);
    if (ret < 0)
        file_put(container);
    return ret;
}

static int unset_container(struct group *g)
{
    struct file *container = NULL;
    int ret = 0;

    pthread_mutex_lock(&g->lock);
    if (g->container == NULL) {
        ret = -EINVAL;
    } else if (g->devices > 0) {
        ret = -EBUSY;
    } else {
        container = g->container;
        g->container = NULL;
    }
    pthread_mutex_unlock(&g->lock);
    if (container != NULL) {
        container_leave(container);
        file_put(container);
    }
    return ret;
}

/* A name is some bytes and a NUL; the kernel takes as many as there are. */
static int get_name(const void *arg, char *name, size_t room)
{
    for (size_t i = 0; i < room; i++) {
        int ret = memory_read((uintptr_t)arg + i, &name[i], 1);

        if (ret < 0 || name[i] == '\0')
            return ret;
    }
    return -ENODEV;
}

static int get_device_fd(struct group *g, const void *arg)
{
    struct space *space = NULL;
    char name[64];
    int ret = get_name(arg, name, sizeof(name));

    if (ret < 0)
        return ret;
    if (strcmp(name, g->place.bdf) != 0)
        return -ENODEV;
    pthread_mutex_lock(&g->lock);
    if (g->container != NULL)
        space = container_space(g->container);
    if (space != NULL)
        g->devices++;
    pthread_mutex_unlock(&g->lock);
    if (space == NULL)
        return -EINVAL;
    ret = node_open_member(&g->file, &g->place, space);
    if (ret < 0)
        group_device_closed(&g->file);
    return ret;
}

void group_device_closed(struct file *f)
{
    struct group *g = group_of(f);

    pthread_mutex_lock(&g->lock);
    g->devices--;
    pthread_mutex_unlock(&g->lock);
}

static int ioctl_group(struct file *f, unsigned long request, void *arg)
{
    struct group *g = group_of(f);

    switch (request) {
    case VFIO_GROUP_GET_STATUS:
        return get_status(g, arg);
    case VFIO_GROUP_SET_CONTAINER:
        return set_container(g, arg);
    case VFIO_GROUP_UNSET_CONTAINER:
        return unset_container(g);
    case VFIO_GROUP_GET_DEVICE_FD:
        return get_device_fd(g, arg);
    }
    return -ENOTTY;
}

static void release_group(struct file *f)
{
    struct group *g = group_of(f);

    if (g->container != NULL) {
        container_leave(g->container);
        file_put(g->container);
    }
    atomic_store(open_flag(&g->place), false);
    free(g);
}

static const struct file_ops group_ops = {
    .name = "vfio-group",
    .ioctl = ioctl_group,
    .release = release_group,
};

int group_open(const struct place *place, int flags, dev_t number)
{
    struct group *g;
    int fd;

    if (atomic_exchange(open_flag(place), true))
        return -EBUSY;
    g = calloc(1, sizeof(*g));
    fd = -ENOMEM;
    if (g != NULL) {
        g->place = *place;
        g->file.rdev = number;
        pthread_mutex_init(&g->lock, NULL);
        fd = file_open(&g->file, &group_ops, flags, false);
    }
    if (fd < 0) {
        free(g);
        atomic_store(open_flag(place), false);
    }
    return fd;
}

void group_forget_all(void)
{
    for (int i = 0; i < PLACE_MAX; i++)
        is_open[i] = false;
}
