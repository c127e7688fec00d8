/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-sysfs.h"

char sysfs_root[64];

void sysfs_make(void)
{
    snprintf(sysfs_root, sizeof(sysfs_root), "/tmp/vfmig-test-XXXXXX");
    assert_non_null(mkdtemp(sysfs_root));
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void sysfs_remove(void)
{
    assert_int_equal(nftw(sysfs_root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *sysfs_at(const char *path)
{
    static char full[512];

    snprintf(full, sizeof(full), "%s/%s", sysfs_root, path);
    return full;
}

static void make_parents(const char *path)
{
    char part[256];

    for (const char *p = strchr(path, '/'); p != NULL; p = strchr(p + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
        assert_true(mkdir(sysfs_at(part), 0700) == 0 || errno == EEXIST);
    }
}

void sysfs_make_folder(const char *path)
{
    make_parents(path);
    assert_true(mkdir(sysfs_at(path), 0700) == 0 || errno == EEXIST);
}

void sysfs_make_file(const char *path, const char *text)
{
    FILE *file;

    make_parents(path);
    file = fopen(sysfs_at(path), "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

void sysfs_make_link(const char *path, const char *target)
{
    make_parents(path);
    assert_int_equal(symlink(target, sysfs_at(path)), 0);
}

void sysfs_make_device(const char *bus, const char *name, const char *driver)
{
    char path[200];
    char target[200];

    snprintf(path, sizeof(path), "sys/bus/%s/devices/%s/iommu_group", bus,
             name);
    sysfs_make_link(path, "../../../../kernel/iommu_groups/7");
    snprintf(path, sizeof(path), "sys/bus/%s/devices/%s/driver", bus, name);
    snprintf(target, sizeof(target), "../../../bus/%s/drivers/%s", bus, driver);
    sysfs_make_link(path, target);
}

void sysfs_make_group(const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "sys/kernel/iommu_groups/7/devices/%s", name);
    sysfs_make_folder(path);
}

void sysfs_make_cdev(const char *bus, const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "sys/bus/%s/devices/%s/vfio-dev/vfio3", bus,
             name);
    sysfs_make_folder(path);
    snprintf(path, sizeof(path), "../../../bus/%s/devices/%s", bus, name);
    sysfs_make_link("sys/class/vfio-dev/vfio3/device", path);
    sysfs_make_file("dev/vfio/devices/vfio3", "");
    sysfs_make_file("dev/iommu", "");
}
