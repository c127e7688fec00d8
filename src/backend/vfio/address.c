/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a device is: what sysfs tells of a PCI address, an mdev's UUID or a
 * character device.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/vfio/kernel.h"
#include "util/error.h"

#define CDEV_FOLDER  "/dev/vfio/devices/"
#define CDEV_PREFIX  "vfio"
#define CDEV_DIGITS  10

/* An UUID's, and more than a PCI address has. */
#define NAME_MAX_LEN 36

static int is_entry(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int address_scan(const char *folder, struct dirent ***names)
{
    int count = scandir(folder, names, is_entry, alphasort);

    return count < 0 ? -errno : count;
}

void address_free_names(struct dirent **names, int count)
{
    for (int i = 0; i < count; i++)
        free(names[i]);
    if (count >= 0)
        free(names);
}

/* Errors that mean that there is no such file, or that it is no link. */
static bool means_none(int code)
{
    return code == ENOENT || code == ENOTDIR || code == EINVAL;
}

/* The last part of where the link @folder/@name leads, or an empty text if
 * there is none.  Returns 0 or a negative errno value. */
static int read_link(const char *folder, const char *name, char *text,
                     size_t size)
{
    char path[600];
    char target[PATH_MAX];
    const char *last;
    ssize_t n;

    *text = '\0';
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return means_none(errno) ? 0 : -errno;
    target[n] = '\0';
    last = strrchr(target, '/');
    snprintf(text, size, "%.60s", last == NULL ? target : last + 1);
    return 0;
}

/* "vfioN", the only entry of the folder vfio-dev. */
static int find_cdev(struct kernel_address *a)
{
    struct dirent **names;
    char path[600];
    int count;

    snprintf(path, sizeof(path), "%s/vfio-dev", a->folder);
    count = address_scan(path, &names);
    if (count > 0)
        snprintf(a->cdev, sizeof(a->cdev), "%.60s", names[0]->d_name);
    address_free_names(names, count);
    return count < 0 && !means_none(-count) ? count : 0;
}

static int learn(struct kernel_address *a)
{
    char group[64];
    int ret = read_link(a->folder, "iommu_group", group, sizeof(group));

    a->group = group[0] != '\0' ? atoi(group) : -1;
    if (ret == 0)
        ret = read_link(a->folder, "driver", a->driver, sizeof(a->driver));
    return ret < 0 ? ret : find_cdev(a);
}

/* These return 1 if there is such a device, 0 if not. */

static int exists(const char *bus, const char *name, struct kernel_address *a)
{
    snprintf(a->folder, sizeof(a->folder), "%.300s/sys/bus/%s/devices/%.60s",
             a->root, bus, name);
    if (access(a->folder, F_OK) == 0)
        return 1;
    return means_none(errno) ? 0 : -errno;
}

static int exists_on_a_bus(const char *name, struct kernel_address *a)
{
    int ret = exists("pci", name, a);

    if (ret != 0)
        return ret;
    ret = exists("mdev", name, a);
    a->is_mediated = ret == 1;
    return ret;
}

/* The device behind "vfioN". */
static int exists_as_cdev(const char *cdev, struct kernel_address *a)
{
    char folder[400];
    int ret;

    snprintf(folder, sizeof(folder), "%.300s/sys/class/vfio-dev/%.60s", a->root,
             cdev);
    ret = read_link(folder, "device", a->name, sizeof(a->name));
    snprintf(a->folder, sizeof(a->folder), "%s/device", folder);
    return ret < 0 ? ret : a->name[0] != '\0';
}

static bool is_cdev(const char *name)
{
    const char *digits = name + strlen(CDEV_PREFIX);

    return strncmp(name, CDEV_PREFIX, strlen(CDEV_PREFIX)) == 0 &&
           *digits != '\0' && strlen(digits) <= CDEV_DIGITS &&
           digits[strspn(digits, "0123456789")] == '\0';
}

/* What a PCI address and an UUID are written with: nothing that leads to
 * another folder. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= NAME_MAX_LEN && isxdigit((unsigned char)*name) &&
           strspn(name, "0123456789abcdefABCDEF:.-") == len;
}

/* Returns whether there is such a device, or -EINVAL: none can be. */
static int locate(const char *text, struct kernel_address *a)
{
    size_t prefix = strlen(CDEV_FOLDER);

    if (strncmp(text, CDEV_FOLDER, prefix) == 0)
        return is_cdev(text + prefix) ? exists_as_cdev(text + prefix, a)
                                      : -EINVAL;
    if (!is_name(text))
        return -EINVAL;
    /* The kernel writes them small. */
    for (size_t i = 0; text[i] != '\0'; i++)
        a->name[i] = (char)tolower((unsigned char)text[i]);
    return exists_on_a_bus(a->name, a);
}

int address_find(const char *root, const char *text, struct kernel_address *a,
                 struct vfm_error *err)
{
    int ret;

    *a = (struct kernel_address){ .root = root, .group = -1 };
    ret = locate(text, a);
    if (ret == -EINVAL)
        return error_set(err, ret,
                         "%.80s: names no device: a PCI address with its "
                         "domain, an mdev's UUID or " CDEV_FOLDER "vfioN",
                         text);
    if (ret == 0)
        return error_set(err, -ENODEV,
                         "%.80s: there is no such device, neither of PCI, "
                         "where it would have a domain, as a rule 0000:, in "
                         "front, nor a mediated one",
                         text);
    if (ret > 0)
        ret = learn(a);
    if (ret < 0)
        return error_set(err, ret, "%.80s: cannot find out what it is: %s",
                         text, strerror(-ret));
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
