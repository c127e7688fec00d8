/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which paths are ours.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/node.h"
#include "bridge/path.h"
#include "bridge/real.h"

/* Nothing else is looked for in the tree. */
static const char *const prefixes[] = {
    "/dev/iommu",
    "/dev/vfio",
    "/sys/bus/pci/devices",
    "/sys/bus/pci/drivers/vfio-pci",
    "/sys/class/vfio-dev",
    "/sys/devices/vfmig",
    "/sys/kernel/iommu_groups",
    "/sys/module/vfio",
    "/sys/module/vfio_iommu_type1",
    "/sys/module/vfio_pci",
};

/* Empty: nobody made one. */
static char tree[PATH_MAX];
static size_t tree_len;

__attribute__((constructor)) static void find_tree(void)
{
    const char *text = getenv(PLACE_ENV_TREE);

    if (text == NULL || text[0] != '/' || strlen(text) > PATH_MAX / 2)
        return;
    tree_len = strlen(text);
    memcpy(tree, text, tree_len + 1);
}

static bool is_ours(const char *path)
{
    if (tree_len == 0 || path == NULL || path[0] != '/')
        return false;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t len = strlen(prefixes[i]);

        if (strncmp(path, prefixes[i], len) == 0 &&
            (path[len] == '\0' || path[len] == '/'))
            return true;
    }
    return false;
}

/* An entry of the kernel's in a folder that is shared is a link to nowhere in
 * the tree: it is seen when the folder is listed, and found where it is. */
const char *path_redirect(const char *path, char buf[PATH_MAX])
{
    int saved = errno;
    bool is_there;

    if (!is_ours(path))
        return path;
    if (snprintf(buf, PATH_MAX, "%s%s", tree, path) >= PATH_MAX)
        return path;
    is_there = REAL(access)(buf, F_OK) == 0;
    errno = saved;
    return is_there ? buf : path;
}

void path_restore(char *path)
{
    if (tree_len > 0 && strncmp(path, tree, tree_len) == 0 &&
        path[tree_len] == '/')
        memmove(path, path + tree_len, strlen(path + tree_len) + 1);
}

void path_fix_stat(const char *path, struct stat *st)
{
    dev_t number = is_ours(path) ? node_number(path) : 0;

    if (number == 0)
        return;
    st->st_mode = S_IFCHR | 0666;
    st->st_rdev = number;
    st->st_size = 0;
}
