/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding and opening the one device that a command is about.
 */
#include "cmd.h"
#include "one-device.h"
#include "say.h"

const struct args_option one_device_option = {
    .letter = 'd',
    .name = "device",
    .value = "DEVICE",
    .take = device_list_take,
    .help = "vfio-user:PATH or vfio:ADDRESS[,KEY=VALUE]...",
};

int one_device_open(const struct device_list *list, const char *command,
                    struct vfm_device **devp)
{
    struct vfm_error err = { 0 };

    if (list->count == 0)
        return say_usage(command, "-d DEVICE is missing");
    if (list->count > 1)
        return say_usage(command, "one device at a time: unexpected -d '%s'",
                         list->items[1].word);
    if (device_arg_open(&list->items[0], devp, &err) < 0) {
        say_error("%s", err.message);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}
