/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_ONE_DEVICE_H
#define VFM_TOOL_ONE_DEVICE_H

/*
 * Commands that deal with a single device.
 */

#include <vfmig/device.h>

#include "args.h"
#include "device-arg.h"

/* The entry for -d, at offset 0 of the command's options. */
extern const struct args_option one_device_option;

/* Opens the only device of @list; says what is wrong, in the name of @command,
 * if there is none, are several, or it does not open.  Returns EXIT_DONE or the
 * exit code. */
int one_device_open(const struct device_list *list, const char *command,
                    struct vfm_device **devp);

#endif
