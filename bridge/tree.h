/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_TREE_H
#define VFM_BRIDGE_TREE_H

/*
 * The folder that stands in for parts of /sys and /dev: real files, so that
 * programs read and list them without help.
 */

struct device;

/* All return 0 or a negative errno. */
int tree_begin(const char *root);
int tree_add(const char *root, int n, struct device *d);

/* Entries of the machine's own, for who lists a folder. */
int tree_finish(const char *root);

void tree_remove(const char *root);

#endif
