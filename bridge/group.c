/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups: each has one device, and is open once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/memory.h"
#include "bridge/node.h"

struct group {
    struct file file;
    struct place place;
    pthread_mutex_t lock;
    struct file *container; /* NULL: none */
    unsigned devices;       /* open descriptors of its device */
};

/* Which are open, and which must not be: their device is bound to an iommufd.
 * One excludes the other. */
static struct use {
    bool is_open;
    bool is_blocked;
} uses[PLACE_MAX];
static pthread_mutex_t uses_lock = PTHREAD_MUTEX_INITIALIZER;

static struct use *use_of(const struct place *place)
{
    return &uses[place->group - PLACE_GROUP(0)];
}

/* Sets @flag, one of @place's; false: one of them is set. */
static bool take(const struct place *place, bool *flag)
{
    const struct use *use = use_of(place);
    bool is_free;

    pthread_mutex_lock(&uses_lock);
    is_free = !use->is_open && !use->is_blocked;
    if (is_free)
        *flag = true;
    pthread_mutex_unlock(&uses_lock);
    return is_free;
}

static void give_back(bool *flag)
{
    pthread_mutex_lock(&uses_lock);
    *flag = false;
    pthread_mutex_unlock(&uses_lock);
}

int group_block(const struct place *place)
{
    return take(place, &use_of(place)->is_blocked) ? 0 : -EBUSY;
}

void group_unblock(const struct place *place)
{
    give_back(&use_of(place)->is_blocked);
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
    pthread_mutex_lock(&g->lock);
    if (g->container != NULL)
        status.flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
    pthread_mutex_unlock(&g->lock);
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
    struct space *space;
    char name[64];
    int ret = get_name(arg, name, sizeof(name));

    if (ret < 0)
        return ret;
    if (strcmp(name, g->place.bdf) != 0)
        return -ENODEV;
    pthread_mutex_lock(&g->lock);
    space = g->container != NULL ? container_space(g->container) : NULL;
    ret =
        space == NULL ? -EINVAL : node_open_member(&g->file, &g->place, space);
    if (ret >= 0)
        g->devices++;
    pthread_mutex_unlock(&g->lock);
    return ret;
}

void group_device_closed(struct file *f, struct device *d)
{
    struct group *g = group_of(f);

    pthread_mutex_lock(&g->lock);
    if (--g->devices == 0)
        space_detach(d->space, d);
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
    give_back(&use_of(&g->place)->is_open);
    free(g);
}

static const struct file_ops group_ops = {
    .name = "vfio-group",
    .ioctl = ioctl_group,
    .release = release_group,
};

int group_open(const struct place *place, int flags, dev_t number)
{
    bool *flag = &use_of(place)->is_open;
    struct group *g;
    int fd;

    if (!take(place, flag) && !(file_sweep() && take(place, flag)))
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
        give_back(flag);
    }
    return fd;
}

void group_forget_all(void)
{
    memset(uses, 0, sizeof(uses));
    pthread_mutex_init(&uses_lock, NULL);
}
