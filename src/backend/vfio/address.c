/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a device is: what sysfs tells of a PCI address, an mdev's UUID or a
 * character device.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/vfio/kernel.h"
#include "util/error.h"

#define CDEV_FOLDER "/dev/vfio/devices/"

/* The last part of where the link @folder/@name leads, or an empty text. */
static void read_link(const char *folder, const char *name, char *text,
                      size_t size)
{
    char path[600];
    char target[PATH_MAX];
    const char *last;
    ssize_t n;

    *text = '\0';
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    n = readlink(path, target, sizeof(target) - 1);
    if (n <= 0)
        return;
    target[n] = '\0';
    last = strrchr(target, '/');
    snprintf(text, size, "%.60s", last == NULL ? target : last + 1);
}

/* "vfioN", the only entry of the folder vfio-dev. */
static void find_cdev(struct kernel_address *a)
{
    char path[600];
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "%s/vfio-dev", a->folder);
    dir = opendir(path);
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, "vfio", 4) == 0)
            snprintf(a->cdev, sizeof(a->cdev), "%.60s", entry->d_name);
    closedir(dir);
}

static void learn(struct kernel_address *a)
{
    char group[64];

    read_link(a->folder, "iommu_group", group, sizeof(group));
    a->group = group[0] != '\0' ? atoi(group) : -1;
    read_link(a->folder, "driver", a->driver, sizeof(a->driver));
    find_cdev(a);
}

static bool exists(const char *bus, const char *name, struct kernel_address *a)
{
    snprintf(a->folder, sizeof(a->folder), "%.300s/sys/bus/%s/devices/%.60s",
             a->root, bus, name);
    return access(a->folder, F_OK) == 0;
}

/* The device behind "vfioN". */
static bool exists_as_cdev(const char *cdev, struct kernel_address *a)
{
    char folder[400];

    snprintf(folder, sizeof(folder), "%.300s/sys/class/vfio-dev/%.60s", a->root,
             cdev);
    read_link(folder, "device", a->name, sizeof(a->name));
    snprintf(a->folder, sizeof(a->folder), "%s/device", folder);
    return a->name[0] != '\0';
}

int address_find(const char *root, const char *text, struct kernel_address *a,
                 struct vfm_error *err)
{
    size_t prefix = strlen(CDEV_FOLDER);
    bool found;

    *a = (struct kernel_address){ .root = root, .group = -1 };
    if (strncmp(text, CDEV_FOLDER, prefix) == 0) {
        found = exists_as_cdev(text + prefix, a);
    } else {
        if (text[0] == '\0' || strchr(text, '/') != NULL ||
            strlen(text) >= sizeof(a->name))
            return error_set(err, -EINVAL,
                             "%.80s: names no device: a PCI address, an mdev's "
                             "UUID or " CDEV_FOLDER "vfioN",
                             text);
        snprintf(a->name, sizeof(a->name), "%s", text);
        found = exists("pci", text, a);
        if (!found)
            found = a->is_mediated = exists("mdev", text, a);
    }
    if (!found)
        return error_set(err, -ENODEV,
                         "%.80s: there is no such device on the PCI bus or "
                         "among the mediated ones",
                         text);
    learn(a);
    return 0;
}

/* Since Linux 6.1 each VFIO device has a folder vfio-dev; before, its driver's
 * name says so. */
bool address_is_vfio(const struct kernel_address *a)
{
    return a->is_mediated || a->cdev[0] != '\0' ||
           strstr(a->driver, "vfio") != NULL;
}

bool address_has_iommufd(const struct kernel_address *a)
{
    char path[512];

    snprintf(path, sizeof(path), "%.300s/dev/iommu", a->root);
    return a->cdev[0] != '\0' && access(path, F_OK) == 0;
}
