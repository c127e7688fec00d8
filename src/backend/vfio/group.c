/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other devices of a group: the kernel gives out none of a group's devices
 * while it uses one itself.
 */
#include <stdio.h>
#include <string.h>

#include "backend/vfio/kernel.h"

static bool is_in_use(const struct kernel_address *other)
{
    return other->driver[0] != '\0' && !address_is_vfio(other);
}

static void append(char *text, size_t size, const struct kernel_address *other)
{
    size_t used = strlen(text);

    snprintf(text + used, size - used, "%s %s (%s)", used == 0 ? ":" : ",",
             other->name, other->driver);
}

void group_name_others(const struct kernel_address *a, char *text, size_t size)
{
    struct kernel_address other;
    struct dirent **names;
    char path[600];
    int count;

    *text = '\0';
    snprintf(path, sizeof(path), "%s/iommu_group/devices", a->folder);
    count = address_scan(path, &names);
    for (int i = 0; i < count; i++)
        if (address_find(a->root, names[i]->d_name, &other, NULL) == 0 &&
            is_in_use(&other))
            append(text, size, &other);
    address_free_names(names, count);
}
