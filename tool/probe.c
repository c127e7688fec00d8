/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig probe: asks a device what it can do.  Changes nothing.
 *
 * What the answers are worth is judged in probe-verdict.c, how they are shown
 * is decided in probe-print.c.
 */
#include <errno.h>
#include <stddef.h>

#include "cmd.h"
#include "one-device.h"
#include "probe.h"
#include "say.h"

struct probe_options {
    struct device_list devices;
    bool json;
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct probe_options, json),
    .help = "print one JSON object",
};

static const struct args_option *const options[] = {
    &one_device_option,
    &json,
    NULL,
};

static const struct args_syntax syntax = {
    .command = "probe",
    .words = "-d DEVICE [--json]",
    .about = "Says what the device can do, and if it cannot be migrated, "
             "why not and what to do next. Changes nothing.",
    .options = options,
};

/* Whether it is us or the connection that failed, and not the device that
 * refused. */
static bool is_no_answer(struct vfm_device *dev, int ret)
{
    return ret == -ENOMEM ||
           (ret < 0 && vfm_device_refresh_state(dev, NULL) < 0);
}

/* Asks for the sizes.  A device that cannot tell is no failure; one that broke
 * is. */
static int ask_sizes(struct vfm_device *dev, struct probe *probe,
                     struct vfm_error *err)
{
    int ret;

    if (probe->info.has_data_size) {
        ret = vfm_device_data_size(dev, &probe->data_size, err);
        probe->has_data_size = ret == 0;
        if (is_no_answer(dev, ret))
            return ret;
    }
    if (probe->info.has_precopy_info &&
        (probe->state == VFM_STATE_PRE_COPY ||
         probe->state == VFM_STATE_PRE_COPY_P2P)) {
        probe->precopy.size = sizeof(probe->precopy);
        ret = vfm_device_precopy_info(dev, &probe->precopy, err);
        probe->has_precopy = ret == 0;
        if (is_no_answer(dev, ret))
            return ret;
    }
    return 0;
}

int probe_ask(struct vfm_device *dev, struct probe *probe,
              struct vfm_error *err)
{
    int ret;

    probe->info.size = sizeof(probe->info);
    ret = vfm_device_get_info(dev, &probe->info);
    if (ret < 0)
        return ret;

    probe->state = vfm_device_state(dev);
    for (int state = 0; state < PROBE_STATES; state++)
        if (vfm_device_has_state(dev, (enum vfm_state)state))
            probe->states |= 1u << state;
    return ask_sizes(dev, probe, err);
}

static int run(const struct probe_options *opts)
{
    struct probe probe = { .word = NULL };
    struct vfm_error err = { 0 };
    struct vfm_device *dev = NULL;
    int code;

    code = one_device_open(&opts->devices, syntax.command, &dev);
    if (code != EXIT_DONE)
        return code;

    probe.word = opts->devices.items[0].word;
    if (probe_ask(dev, &probe, &err) < 0) {
        say_error("%s", err.message);
        code = EXIT_FAILED;
    } else {
        probe_judge(&probe);
        if (opts->json)
            probe_print_json(&probe);
        else
            probe_print(&probe);
    }
    vfm_device_close(dev);
    return code;
}

int cmd_probe(int argc, char **argv)
{
    struct probe_options opts = { .json = false };
    int first;
    int code;

    code = args_parse(&syntax, argc, argv, &opts, &first);
    if (code == ARGS_GO_ON)
        code = run(&opts);
    device_list_free(&opts.devices);
    return code;
}
