/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig save: the words of it.
 */
#include <stddef.h>

#include "cmd.h"
#include "move.h"

static const struct args_option stop = {
    .name = "stop",
    .take = args_take_flag,
    .offset = offsetof(struct move_options, stop),
    .help = "leave the devices stopped; without it they run again if they ran",
};

static const struct args_option machine = {
    .name = "machine",
    .value = "NAME",
    .take = args_take_string,
    .offset = offsetof(struct move_options, machine),
    .help = "the machine type to name in the stream; vfmig without it",
};

static const struct args_option *const options[] = {
    &move_device,
    &stop,
    &move_downtime_limit,
    &move_pre_copy_timeout,
    &move_force_switchover,
    &move_peer_timeout,
    &move_max_bandwidth,
    &move_parallel,
    &machine,
    &move_json,
    &move_quiet,
    &move_verbose,
    &move_timeline,
    NULL,
};

static const struct args_syntax syntax = {
    .command = "save",
    .words = "-d DEVICE [-d DEVICE]... [OPTION]... FILE",
    .about = "Writes the state of the devices to FILE, or to standard "
             "output if that is '-'. They are stopped for the end of it "
             "and run again afterwards.",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .operands = "FILE",
};

int cmd_save(int argc, char **argv)
{
    struct move move = {
        .syntax = &syntax,
        .role = VFM_ROLE_SOURCE,
        .is_file = true,
        .options = { .connect_timeout_ms = MOVE_CONNECT_TIMEOUT_MS },
    };

    return move_command(&move, argc, argv);
}
