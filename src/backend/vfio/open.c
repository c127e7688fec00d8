/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Getting at a device: by its own character device and iommufd where the
 * kernel has them, else by its group and a type 1 container.  What is missing
 * is said in words: most of it is for an administrator to mend.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vfmig/vfio.h>

#include "backend/vfio/kernel.h"
#include "protocol/iommufd-uapi.h"
#include "util/error.h"
#include "util/ioctl.h"

/* @root/@path, of which @name is the last part. */
static int open_file(const struct kernel_address *a, const char *path,
                     const char *name)
{
    char file[512];
    int fd;

    snprintf(file, sizeof(file), "%.300s/dev/%s%s", a->root, path, name);
    fd = open(file, O_RDWR | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int refuse(const struct kernel_address *a, int ret, const char *what,
                  struct vfm_error *err)
{
    return error_set(err, ret, "%s: %s: %s", a->name, what, strerror(-ret));
}

/* What to do about it, where the number is not enough. */
static const char *hint(int ret)
{
    switch (ret) {
    case -EBUSY:
        return " (somebody else has it open)";
    case -ENOENT:
        return " (are the modules of VFIO loaded, and /dev/vfio there?)";
    case -EACCES:
        return " (are you root?)";
    default:
        return "";
    }
}

static int refuse_open(const struct kernel_address *a, int ret,
                       const char *what, struct vfm_error *err)
{
    return error_set(err, ret, "%s: cannot open %s: %s%s", a->name, what,
                     strerror(-ret), hint(ret));
}

/* ------------------------------------------------- cdev and iommufd */

/* To the kernel a device that somebody has open is an argument that is none;
 * there is nothing else about ours that it could mean. */
static int refuse_bind(const struct kernel_address *a, int ret,
                       struct vfm_error *err)
{
    if (ret == -EINVAL)
        ret = -EBUSY;
    return error_set(err, ret, "%s: cannot bind it to iommufd: %s%s", a->name,
                     strerror(-ret), hint(ret));
}

static int attach(struct kernel_device *k)
{
    struct uapi_ioas_alloc alloc = { .size = sizeof(alloc) };
    struct uapi_attach_iommufd attach = { .argsz = sizeof(attach) };
    int ret = ioctl_retry(k->iommu_fd, UAPI_IOAS_ALLOC, &alloc);

    if (ret < 0)
        return ret;
    attach.pt_id = k->ioas_id = alloc.ioas_id;
    return ioctl_retry(k->fd, UAPI_DEVICE_ATTACH_IOMMUFD, &attach);
}

static int open_cdev(struct kernel_device *k, const struct kernel_address *a,
                     struct vfm_error *err)
{
    struct uapi_bind_iommufd bind = { .argsz = sizeof(bind) };
    int ret;

    k->fd = ret = open_file(a, "vfio/devices/", a->cdev);
    if (ret < 0)
        return refuse_open(a, ret, "its character device", err);
    k->iommu_fd = ret = open_file(a, "iommu", "");
    if (ret < 0)
        return refuse_open(a, ret, "/dev/iommu", err);
    bind.iommufd = k->iommu_fd;
    ret = ioctl_retry(k->fd, UAPI_DEVICE_BIND_IOMMUFD, &bind);
    if (ret < 0)
        return refuse_bind(a, ret, err);
    ret = attach(k);
    return ret < 0 ? refuse(a, ret, "cannot attach it to an IOAS", err) : 0;
}

static int no_group(const struct kernel_address *a, struct vfm_error *err)
{
    return error_set(err, -ENODEV,
                     "%s: is in no IOMMU group: there is no IOMMU, or it is "
                     "switched off",
                     a->name);
}

static int no_driver(const struct kernel_address *a, struct vfm_error *err)
{
    if (a->driver[0] == '\0')
        return error_set(err, -ENODEV,
                         "%s: has no driver: bind it to vfio-pci or to the "
                         "variant driver of its vendor",
                         a->name);
    return error_set(err, -ENODEV,
                     "%s: its driver %s is none of VFIO's: bind it to vfio-pci "
                     "or to the variant driver of its vendor",
                     a->name, a->driver);
}

/* ---------------------------------------------- group and container */

static int check_group(const struct kernel_device *k,
                       const struct kernel_address *a, struct vfm_error *err)
{
    struct uapi_group_status status = { .argsz = sizeof(status) };
    char others[200];
    int ret = ioctl_retry(k->group_fd, UAPI_GROUP_GET_STATUS, &status);

    if (ret < 0)
        return refuse(a, ret, "cannot ask its group", err);
    if ((status.flags & UAPI_GROUP_VIABLE) != 0)
        return 0;
    group_name_others(a, others, sizeof(others));
    return error_set(err, -EPERM,
                     "%s: its group %d holds other devices that are not bound "
                     "to a VFIO driver; bind these, too%s",
                     a->name, a->group, others);
}

static int join_container(const struct kernel_device *k)
{
    int fd = k->iommu_fd;
    int ret = ioctl_retry(k->group_fd, UAPI_GROUP_SET_CONTAINER, &fd);

    /* Its argument is a number, not a place. */
    return ret < 0 ? ret
                   : ioctl_retry(k->iommu_fd, UAPI_SET_IOMMU,
                                 (void *)(uintptr_t)UAPI_TYPE1V2_IOMMU);
}

static int refuse_type1(const struct kernel_address *a, int ret,
                        struct vfm_error *err)
{
    return error_set(
        err, ret, "%s: its group cannot join a type 1 container: %s%s", a->name,
        strerror(-ret), ret == -ENODEV ? " (is vfio_iommu_type1 loaded?)" : "");
}

static int open_group(struct kernel_device *k, const struct kernel_address *a,
                      struct vfm_error *err)
{
    char group[16];
    int ret;

    snprintf(group, sizeof(group), "%d", a->group);
    k->group_fd = ret = open_file(a, "vfio/", group);
    if (ret == -ENOENT && !address_is_vfio(a))
        return no_driver(a, err);
    if (ret < 0)
        return refuse_open(a, ret, "its group", err);
    ret = check_group(k, a, err);
    if (ret < 0)
        return ret;
    k->iommu_fd = ret = open_file(a, "vfio/vfio", "");
    if (ret < 0)
        return refuse_open(a, ret, "a container", err);
    ret = join_container(k);
    if (ret < 0)
        return refuse_type1(a, ret, err);
    k->fd = ret = ioctl_retry(k->group_fd, UAPI_GROUP_GET_DEVICE_FD,
                              (void *)(uintptr_t)a->name);
    return ret < 0 ? refuse(a, ret, "its group does not give it out", err) : 0;
}

/* ------------------------------------------------------------------ */

static int open_address(struct kernel_device *k, const struct kernel_address *a,
                        struct vfm_error *err)
{
    if (address_has_iommufd(a))
        return open_cdev(k, a, err);
    if (a->driver[0] == '\0' || (a->group < 0 && !address_is_vfio(a)))
        return no_driver(a, err);
    if (a->group < 0)
        return no_group(a, err);
    return open_group(k, a, err);
}

static struct kernel_device *new_device(const char *name)
{
    struct kernel_device *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return NULL;
    k->fd = k->iommu_fd = k->group_fd = k->data_fd = -1;
    k->dev = device_new(&kernel_ops, k, name);
    if (k->dev == NULL) {
        free(k);
        return NULL;
    }
    return k;
}

static int finish_opening(struct kernel_device *k, int ret,
                          struct vfm_device **devp, struct vfm_error *err)
{
    if (ret == 0)
        ret = kernel_learn(k, err);
    if (ret < 0) {
        vfm_device_close(k->dev);
        return ret;
    }
    *devp = k->dev;
    return 0;
}

int kernel_open(const char *root, const char *text, struct vfm_device **devp,
                struct vfm_error *err)
{
    struct kernel_address a;
    struct kernel_device *k;
    int ret = address_find(root, text, &a, err);

    *devp = NULL;
    if (ret < 0)
        return ret;
    k = new_device(text);
    if (k == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", text);
    k->owns_fd = true;
    return finish_opening(k, open_address(k, &a, err), devp, err);
}

int vfm_device_open_vfio(const char *address, struct vfm_device **devp,
                         struct vfm_error *err)
{
    return kernel_open("", address, devp, err);
}

int kernel_open_for_log(int fd, const char *name, struct vfm_device **devp,
                        struct vfm_error *err)
{
    struct kernel_device *k = new_device(name);

    if (k == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", name);
    k->fd = fd;
    *devp = k->dev;
    return 0;
}

int vfm_device_open_vfio_fd(int fd, const char *name, struct vfm_device **devp,
                            struct vfm_error *err)
{
    struct kernel_device *k;

    *devp = NULL;
    if (name == NULL)
        name = kernel_ops.name;
    k = new_device(name);
    if (k == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", name);
    k->fd = fd;
    return finish_opening(k, 0, devp, err);
}

int vfm_vfio_device_fd(const struct vfm_device *dev)
{
    return dev->ops == &kernel_ops ? kernel_of(dev)->fd : -1;
}
