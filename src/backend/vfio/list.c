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

/* What the kernel's debugfs says of its state; empty if nothing. */
static void read_debugfs(const struct kernel_address *a, char *text, int size)
{
    char path[512];
    FILE *file;

    *text = '\0';
    snprintf(path, sizeof(path),
             "%.300s/sys/kernel/debug/vfio/%.60s/migration/state", a->root,
             a->name);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(text, size, file) != NULL)
        text[strcspn(text, "\n")] = '\0';
    fclose(file);
}

static int tell(const char *root, const char *name, vfm_vfio_each_fn *each,
                void *opaque)
{
    struct kernel_address a;
    char state[64];
    struct vfm_vfio_entry entry;

    if (address_find(root, name, &a, NULL) < 0 || !address_is_vfio(&a))
        return 0;
    read_debugfs(&a, state, sizeof(state));
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
                       vfm_vfio_each_fn *each, void *opaque)
{
    struct dirent **names;
    char path[512];
    int ret = 0;
    int count;

    snprintf(path, sizeof(path), "%.300s/sys/bus/%s/devices", root, bus);
    count = address_scan(path, &names);
    if (count < 0)
        return count == -ENOMEM ? count : 0; /* no such bus: no device */
    for (int i = 0; ret == 0 && i < count; i++)
        ret = tell(root, names[i]->d_name, each, opaque);
    address_free_names(names, count);
    return ret;
}

int kernel_each(const char *root, vfm_vfio_each_fn *each, void *opaque,
                struct vfm_error *err)
{
    int ret = each_on_bus(root, "pci", each, opaque);

    if (ret == 0)
        ret = each_on_bus(root, "mdev", each, opaque);
    if (ret == -ENOMEM)
        error_set(err, ret, "cannot list VFIO devices: out of memory");
    return ret;
}

int vfm_vfio_each(vfm_vfio_each_fn *each, void *opaque, struct vfm_error *err)
{
    return kernel_each("", each, opaque, err);
}
