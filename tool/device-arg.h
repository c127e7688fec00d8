/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_DEVICE_ARG_H
#define VFM_TOOL_DEVICE_ARG_H

/*
 * The devices that a command line names:
 *
 *     TYPE:ADDRESS[,id=ID][,KEY=VALUE]...
 *
 * A comma that belongs to an address or a value is doubled.
 */

#include <stdbool.h>
#include <stddef.h>

#include <vfmig/device.h>
#include <vfmig/error.h>
#include <vfmig/migration.h>
#include <vfmig/vfio.h>
#include <vfmig/vfio_user.h>

#include "args.h"

/* The section's name is "<ID>/vfio", and the format gives it 255 bytes. */
#define DEVICE_ID_MAX     250
#define DEVICE_ID_DEFAULT "0000:00:01.0"

struct device_arg {
    const char *word; /* as given; borrowed from the argv */
    bool is_kernel;   /* vfio:, not vfio-user: */
    char *address;
    char id[DEVICE_ID_MAX + 1];
    uint64_t without; /* VFM_MIGRATION_* that are not to be used */
    struct vfm_vfio_user_options options;
};

struct device_list {
    struct device_arg items[VFM_DEVICES_MAX];
    size_t count;
};

/* Parses @word into *@arg, which device_arg_free() frees.  Returns 0, or
 * -EINVAL and in @err which part is wrong. */
int device_arg_parse(const char *word, struct device_arg *arg,
                     struct vfm_error *err);
void device_arg_free(struct device_arg *arg);

/* Opens the device, which does without what it was told to.  Returns 0 or the
 * library's error. */
int device_arg_open(const struct device_arg *arg, struct vfm_device **devp,
                    struct vfm_error *err);

/* Whether it can be migrated: 0, or -EOPNOTSUPP and where to look. */
int device_arg_can_move(const struct vfm_device *dev, struct vfm_error *err);

/* For -d in a table of options: adds a device to a struct device_list. */
args_take device_list_take;

/* Whether @list has one device at least and no two of the same id; says so as a
 * usage error of @command if not. */
bool device_list_is_usable(const struct device_list *list, const char *command);
void device_list_free(struct device_list *list);

#endif
