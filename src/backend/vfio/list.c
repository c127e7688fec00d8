/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * All devices that a VFIO driver has, by what sysfs and debugfs tell.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/vfio/kernel.h"
#include "util/error.h"

/* What the kernel's debugfs says of its state; empty if nothing, or nothing to
 * us. */
static int read_debugfs(const struct kernel_address *a, char *text, int size)
{
    char path[512];
    FILE *file;

    *text = '\0';
    snprintf(path, sizeof(path),
             "%.300s/sys/kernel/debug/vfio/%.60s/migration/state", a->root,
             a->name);
    file = fopen(path, "re");
    if (file == NULL)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno
                                                                     : 0;
    if (fgets(text, size, file) != NULL)
        text[strcspn(text, "\n")] = '\0';
    fclose(file);
    return 0;
}

static int tell(const char *root, const char *name, vfm_vfio_each_fn *each,
                void *opaque, struct vfm_error *err)
{
    struct kernel_address a;
    char state[64];
    struct vfm_vfio_entry entry;
    struct vfm_error why = { 0 };
    int ret = address_find(root, name, &a, &why);

    /* A device that is gone by now, or something that is none. */
    if (ret == -ENODEV || ret == -EINVAL || (ret == 0 && !address_is_vfio(&a)))
        return 0;
    if (ret < 0)
        return error_set(err, ret, "%s", why.message);
    ret = read_debugfs(&a, state, sizeof(state));
    if (ret < 0)
        return error_set(err, ret, "%s: cannot read its debugfs: %s", a.name,
                         strerror(-ret));
    entry = (struct vfm_vfio_entry){
        .address = a.name,
        .driver = a.driver,
        .cdev = a.cdev,
        .debugfs_state = state,
        .group = a.group,
        .is_mediated = a.is_mediated,
        .by_iommufd = address_has_iommufd(&a),
    };
    return each(opaque, &entry);
}

static int each_on_bus(const char *root, const char *bus,
                       vfm_vfio_each_fn *each, void *opaque,
                       struct vfm_error *err)
{
    struct dirent **names;
    char path[512];
    int ret = 0;
    int count;

    snprintf(path, sizeof(path), "%.300s/sys/bus/%s/devices", root, bus);
    count = address_scan(path, &names);
    if (count == -ENOENT || count == -ENOTDIR)
        return 0; /* no such bus: no device */
    if (count < 0)
        return error_set(err, count, "cannot list VFIO devices: %s: %s", path,
                         strerror(-count));
    for (int i = 0; ret == 0 && i < count; i++)
        ret = tell(root, names[i]->d_name, each, opaque, err);
    address_free_names(names, count);
    return ret;
}

int kernel_each(const char *root, vfm_vfio_each_fn *each, void *opaque,
                struct vfm_error *err)
{
    int ret = each_on_bus(root, "pci", each, opaque, err);

    return ret != 0 ? ret : each_on_bus(root, "mdev", each, opaque, err);
}

int vfm_vfio_each(vfm_vfio_each_fn *each, void *opaque, struct vfm_error *err)
{
    return kernel_each("", each, opaque, err);
}
