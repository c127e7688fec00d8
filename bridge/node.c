/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which node a path is, and descriptors of devices: those that a group gives
 * out and those of their own character devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "bridge/memory.h"
#include "bridge/node.h"

/* One that the kernel keeps for local use. */
#define NODE_MAJOR     240

#define NODE_CONTAINER 0
#define NODE_IOMMUFD   1
#define NODE_GROUPS    2
#define NODE_CDEVS     (NODE_GROUPS + PLACE_MAX)

struct member {
    struct file file;
    struct device *device;
    struct file *group;           /* NULL: opened by its own node */
    struct file *_Atomic iommufd; /* NULL: not bound */
    uint32_t id;                  /* to iommufd */
    pthread_mutex_t lock;
};

static struct member *member_of(struct file *f)
{
    return (struct member *)f;
}

/* ------------------------------------------------------------- iommufd */

static int bind_to(struct member *m, struct file *iommufd, uint32_t *id)
{
    int ret = group_block(&m->device->place);

    if (ret < 0)
        return ret;
    ret = iommufd_bind(iommufd, id);
    if (ret < 0)
        group_unblock(&m->device->place);
    return ret;
}

static void unbind(struct file *iommufd, uint32_t id, struct member *m)
{
    iommufd_unbind(iommufd, id);
    group_unblock(&m->device->place);
}

static int bind_iommufd(struct member *m, void *arg)
{
    struct uapi_bind_iommufd bind;
    struct file *iommufd;
    int ret = argument_get(arg, &bind, sizeof(bind), sizeof(bind));

    if (ret < 0)
        return ret;
    if (bind.flags != 0 || bind.iommufd < 0)
        return -EINVAL;
    iommufd = file_find(bind.iommufd);
    if (iommufd == NULL || !is_iommufd(iommufd)) {
        file_put(iommufd);
        return -EBADFD;
    }
    ret = m->iommufd != NULL ? -EINVAL : bind_to(m, iommufd, &bind.devid);
    if (ret < 0) {
        file_put(iommufd);
        return ret;
    }
    ret = argument_put(arg, &bind, sizeof(bind));
    if (ret < 0) {
        unbind(iommufd, bind.devid, m);
        file_put(iommufd);
        return ret;
    }
    m->id = bind.devid;
    m->iommufd = iommufd;
    return 0;
}

static void detach(struct member *m)
{
    struct space *space = m->device->space;

    if (space == NULL)
        return;
    space_detach(space, m->device);
    iommufd_unuse(m->iommufd, space);
}

static int attach(struct member *m, const void *arg)
{
    struct uapi_attach_iommufd attach;
    struct space *space;
    int ret = argument_get(arg, &attach, sizeof(attach), sizeof(attach));

    if (ret < 0)
        return ret;
    if (attach.flags != 0)
        return -EINVAL;
    space = iommufd_use(m->iommufd, attach.pt_id);
    if (space == NULL)
        return -ENOENT;
    detach(m);
    ret = space_attach(space, m->device);
    if (ret < 0)
        iommufd_unuse(m->iommufd, space);
    return ret;
}

static int detach_by(struct member *m, const void *arg)
{
    struct uapi_feature detaching; /* argsz and flags */
    int ret =
        argument_get(arg, &detaching, sizeof(detaching), sizeof(detaching));

    if (ret < 0)
        return ret;
    if (detaching.flags != 0)
        return -EINVAL;
    detach(m);
    return 0;
}

/* A device that was opened by its own node does nothing before it is bound. */
static int ioctl_own(struct member *m, unsigned long request, void *arg)
{
    if (request == UAPI_DEVICE_BIND_IOMMUFD)
        return bind_iommufd(m, arg);
    if (m->iommufd == NULL)
        return -EINVAL;
    if (request == UAPI_DEVICE_ATTACH_IOMMUFD)
        return attach(m, arg);
    if (request == UAPI_DEVICE_DETACH_IOMMUFD)
        return detach_by(m, arg);
    return device_ioctl(m->device, request, arg);
}

/* ----------------------------------------------------------- the device */

static bool is_usable(const struct member *m)
{
    return m->group != NULL || m->iommufd != NULL;
}

static bool is_about_iommufd(unsigned long request)
{
    return request == UAPI_DEVICE_BIND_IOMMUFD ||
           request == UAPI_DEVICE_ATTACH_IOMMUFD ||
           request == UAPI_DEVICE_DETACH_IOMMUFD;
}

static int ioctl_member(struct file *f, unsigned long request, void *arg)
{
    struct member *m = member_of(f);
    int ret;

    if (m->group != NULL && is_about_iommufd(request))
        return -ENOTTY;
    if (is_usable(m) && !is_about_iommufd(request))
        return device_ioctl(m->device, request, arg);
    pthread_mutex_lock(&m->lock);
    ret = ioctl_own(m, request, arg);
    pthread_mutex_unlock(&m->lock);
    return ret;
}

static ssize_t read_member(struct file *f, void *buf, size_t len, int64_t pos)
{
    const struct member *m = member_of(f);

    return is_usable(m) ? device_read(m->device, buf, len, pos) : -EINVAL;
}

static ssize_t write_member(struct file *f, const void *buf, size_t len,
                            int64_t pos)
{
    const struct member *m = member_of(f);

    return is_usable(m) ? device_write(m->device, buf, len, pos) : -EINVAL;
}

static int map_member(struct file *f, uint64_t offset, size_t len, int *fd,
                      uint64_t *fd_offset)
{
    const struct member *m = member_of(f);

    return is_usable(m) ? device_map(m->device, offset, len, fd, fd_offset)
                        : -EINVAL;
}

static void release_member(struct file *f)
{
    struct member *m = member_of(f);

    if (m->iommufd != NULL) {
        detach(m);
        unbind(m->iommufd, m->id, m);
    }
    if (m->group != NULL)
        group_device_closed(m->group, m->device);
    device_close(m->device);
    file_put(m->iommufd);
    file_put(m->group);
    free(m);
}

static const struct file_ops member_ops = {
    .name = "vfio-device",
    .ioctl = ioctl_member,
    .read = read_member,
    .write = write_member,
    .map = map_member,
    .release = release_member,
};

/* @alone: nobody may have it open. */
static int new_member(const struct place *place, bool alone, struct member **mp)
{
    bool anew = getenv(PLACE_ENV_KEEP) == NULL;
    struct member *m = calloc(1, sizeof(*m));
    int ret = -ENOMEM;

    if (m != NULL)
        ret = device_open(place, anew, alone, &m->device);
    if (ret < 0) {
        free(m);
        return ret;
    }
    pthread_mutex_init(&m->lock, NULL);
    *mp = m;
    return 0;
}

static void free_member(struct member *m)
{
    device_close(m->device);
    free(m);
}

int node_open_member(struct file *group, const struct place *place,
                     struct space *space)
{
    struct member *m;
    int fd = new_member(place, false, &m);
    bool is_first;

    if (fd < 0)
        return fd;
    m->group = group;
    is_first = m->device->space == NULL;
    if (is_first)
        fd = space_attach(space, m->device);
    if (fd == 0)
        fd = file_open(&m->file, &member_ops, O_CLOEXEC, false);
    if (fd >= 0) {
        file_ref(group);
        return fd;
    }
    if (is_first && m->device->space != NULL)
        space_detach(space, m->device);
    free_member(m);
    return fd;
}

/* By its own node a device is open once. */
static int open_cdev(const struct place *place, int flags, dev_t number)
{
    struct member *m;
    int fd = new_member(place, true, &m);

    if (fd == -EBUSY && file_sweep())
        fd = new_member(place, true, &m);
    if (fd < 0)
        return fd;
    m->file.rdev = number;
    fd = file_open(&m->file, &member_ops, flags, false);
    if (fd < 0)
        free_member(m);
    return fd;
}

/* ------------------------------------------------------------ the paths */

/* The place of "@prefixN", all of @path. */
static int find_place(const char *path, const char *prefix, struct place *place)
{
    size_t len = strlen(prefix);
    char name[64];

    if (strncmp(path, prefix, len) != 0)
        return -1;
    for (int n = 0; device_place(n, place) == 0; n++) {
        snprintf(name, sizeof(name), "%d", place->group);
        if (strcmp(path + len, name) == 0)
            return n;
    }
    return -1;
}

/* The node's minor number; -1: none. */
static int find_node(const char *path, struct place *place)
{
    int n;

    if (device_place(0, place) < 0)
        return -1;
    if (strcmp(path, "/dev/vfio/vfio") == 0)
        return NODE_CONTAINER;
    if (strcmp(path, "/dev/iommu") == 0)
        return NODE_IOMMUFD;
    n = find_place(path, "/dev/vfio/", place);
    if (n >= 0)
        return NODE_GROUPS + n;
    n = find_place(path, "/dev/vfio/devices/vfio", place);
    return n >= 0 ? NODE_CDEVS + n : -1;
}

dev_t node_number(const char *path)
{
    struct place place;
    int minor = find_node(path, &place);

    return minor < 0 ? 0 : makedev(NODE_MAJOR, (unsigned)minor);
}

dev_t node_cdev_number(int n)
{
    return makedev(NODE_MAJOR, (unsigned)(NODE_CDEVS + n));
}

int node_open(const char *path, int flags)
{
    struct place place;
    int minor = find_node(path, &place);
    dev_t number;

    if (minor < 0)
        return -ENXIO;
    if ((flags & O_DIRECTORY) != 0)
        return -ENOTDIR;
    if (minor == NODE_CONTAINER)
        return container_open(flags);
    if (minor == NODE_IOMMUFD)
        return iommufd_open(flags);
    number = makedev(NODE_MAJOR, (unsigned)minor);
    return minor < NODE_CDEVS ? group_open(&place, flags, number)
                              : open_cdev(&place, flags, number);
}

void node_forget_all(void)
{
    group_forget_all();
}
