/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_PATH_H
#define VFM_BRIDGE_PATH_H

/*
 * Paths: parts of /sys and /dev are looked for in the folder that vfmig-run
 * made, and only what is not there is the kernel's.
 */

#include <limits.h>
#include <sys/stat.h>

/* What is opened instead of @path: @path itself, or a text in @buf. */
const char *path_redirect(const char *path, char buf[PATH_MAX]);

/* Undoes it in a path that was resolved. */
void path_restore(char *path);

/* Makes a device node of the file that stands in for @path. */
void path_fix_stat(const char *path, struct stat *st);

#endif
