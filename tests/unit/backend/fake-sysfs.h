/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_UNIT_BACKEND_FAKE_SYSFS_H
#define VFM_TESTS_UNIT_BACKEND_FAKE_SYSFS_H

/*
 * A file system of its own, with what sysfs, debugfs and /dev have of VFIO
 * devices.  Paths are below its root, without the first slash.
 */

extern char sysfs_root[64];

/* An empty one; and away with all of it. */
void sysfs_make(void);
void sysfs_remove(void);

/* The path outside; good until the next call. */
const char *sysfs_at(const char *path);

/* Make what leads there, too. */
void sysfs_make_folder(const char *path);
void sysfs_make_file(const char *path, const char *text);
void sysfs_make_link(const char *path, const char *target);

/* A device on @bus, "pci" or "mdev", of group 7, with this driver. */
void sysfs_make_device(const char *bus, const char *name, const char *driver);

/* The group names the device, too. */
void sysfs_make_group(const char *name);

/* It has the character device vfio3. */
void sysfs_make_cdev(const char *bus, const char *name);

#endif
