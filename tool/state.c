/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig state: shows or sets the state of a device.
 *
 * The operator's way out of a migration that ended `handed-over`, and a device
 * author's way through the states.  Unlike a migration it never goes back by
 * itself: where a failed transition left the device is what one wants to see.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "json.h"
#include "one-device.h"
#include "say.h"

struct state_options {
    struct device_list devices;
    bool reset;
    bool json;
};

static const struct args_option reset = {
    .name = "reset",
    .take = args_take_flag,
    .offset = offsetof(struct state_options, reset),
    .help = "reset the device: what it holds is lost, and it is RUNNING",
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct state_options, json),
    .help = "print one JSON object",
};

static const struct args_option *const options[] = {
    &one_device_option,
    &reset,
    &json,
    NULL,
};

static const struct args_syntax syntax = {
    .command = "state",
    .words = "-d DEVICE [--json] [STATE | --reset]",
    .about = "Prints the state of the device, after moving it to STATE if "
             "one is given: STOP, RUNNING, STOP_COPY, RESUMING, "
             "RUNNING_P2P, PRE_COPY or PRE_COPY_P2P.",
    .options = options,
    .max_operands = 1,
};

static void print_state(const struct state_options *opts,
                        enum vfm_state previous, enum vfm_state now,
                        const char *error)
{
    struct json_tree *object;

    if (!opts->json) {
        if (error == NULL)
            puts(vfm_state_name(now));
        return;
    }
    object = json_object_make();
    json_add_string(object, "device", opts->devices.items[0].word);
    json_add_string(object, "previous", vfm_state_name(previous));
    json_add_string(object, "state", vfm_state_name(now));
    json_add_string(object, "error", error);
    json_print(object);
}

/* Does what was asked for; @want is NULL if that is a look only. */
static int act(struct vfm_device *dev, const struct state_options *opts,
               const enum vfm_state *want, struct vfm_error *err)
{
    if (opts->reset)
        return vfm_device_reset(dev, err);
    if (want != NULL)
        return vfm_device_set_state(dev, *want, err);
    return vfm_device_refresh_state(dev, err);
}

static int act_and_print(struct vfm_device *dev,
                         const struct state_options *opts,
                         const enum vfm_state *want)
{
    enum vfm_state previous = vfm_device_state(dev);
    struct vfm_error err = { 0 };
    int ret = act(dev, opts, want, &err);
    enum vfm_state now = vfm_device_state(dev);

    if (ret < 0)
        say_error("%s; the device is in %s", err.message, vfm_state_name(now));
    print_state(opts, previous, now, ret < 0 ? err.message : NULL);
    return ret < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int run(const struct state_options *opts, const char *name)
{
    enum vfm_state want = VFM_STATE_ERROR;
    struct vfm_device *dev = NULL;
    int code;

    if (name != NULL && opts->reset)
        return say_usage(syntax.command,
                         "--reset and a state, '%s': only one of them", name);
    if (name != NULL &&
        (vfm_state_from_name(name, &want) < 0 || want == VFM_STATE_ERROR))
        return say_usage(syntax.command, "'%s' is no state to ask for", name);

    code = one_device_open(&opts->devices, syntax.command, &dev);
    if (code == EXIT_DONE)
        code = act_and_print(dev, opts, name != NULL ? &want : NULL);
    vfm_device_close(dev);
    return code;
}

int cmd_state(int argc, char **argv)
{
    struct state_options opts = { 0 };
    int first;
    int code;

    code = args_parse(&syntax, argc, argv, &opts, &first);
    if (code == ARGS_GO_ON)
        code = run(&opts, argv[first]);
    device_list_free(&opts.devices);
    return code;
}
