/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig load: the words of it.
 */
#include <stddef.h>

#include "cmd.h"
#include "move.h"

static const struct args_option machine = {
    .name = "machine",
    .value = "NAME",
    .take = args_take_string,
    .offset = offsetof(struct move_options, machine),
    .help = "take no stream that names another machine type",
};

static const struct args_option *const options[] = {
    &move_device, &move_paused, &move_parallel, &move_peer_timeout, &machine,
    &move_json,   &move_quiet,  &move_verbose,  &move_timeline,     NULL,
};

static const struct args_syntax syntax = {
    .command = "load",
    .words = "-d DEVICE [-d DEVICE]... [OPTION]... FILE",
    .about = "Loads the state of the devices from FILE, or from standard "
             "input if that is '-'. What they hold is lost. They run "
             "afterwards if they ran when they were saved.",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .operands = "FILE",
};

int cmd_load(int argc, char **argv)
{
    struct move move = {
        .syntax = &syntax,
        .role = VFM_ROLE_TARGET,
        .is_file = true,
        .options = { .connect_timeout_ms = MOVE_CONNECT_TIMEOUT_MS },
    };

    return move_command(&move, argc, argv);
}
