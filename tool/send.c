/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig send: the words of it.
 */
#include <stddef.h>

#include "cmd.h"
#include "move.h"

static const struct args_option connect_timeout = {
    .name = "connect-timeout",
    .value = "TIME",
    .take = args_take_time_or0,
    .offset = offsetof(struct move_options, connect_timeout_ms),
    .help = "how long to try while nobody listens there; 10 s without it, 0: "
            "for ever",
};

static const struct args_option machine = {
    .name = "machine",
    .value = "NAME",
    .take = args_take_string,
    .offset = offsetof(struct move_options, machine),
    .help = "the machine type to name in the stream; vfmig without it",
};

static const struct args_option predict = {
    .name = "predict",
    .value = "FILE",
    .take = args_take_string,
    .offset = offsetof(struct move_options, predict),
    .help = "compare the downtime with what 'vfmig predict FILE' says of so "
            "many devices",
};

static const struct args_option *const options[] = {
    &move_device,
    &move_peer,
    &move_rest,
    &move_downtime_limit,
    &move_pre_copy_timeout,
    &move_force_switchover,
    &move_switchover_ack,
    &connect_timeout,
    &move_peer_timeout,
    &move_max_bandwidth,
    &move_channels,
    &move_memory_max,
    &move_compress,
    &move_parallel,
    &machine,
    &move_json,
    &move_quiet,
    &move_verbose,
    &move_timeline,
    &predict,
    NULL,
};

static const struct args_syntax syntax = {
    .command = "send",
    .words = "-d DEVICE [-d DEVICE]... [OPTION]... URI",
    .about = "Moves the devices to whoever receives at URI: unix:PATH, "
             "tcp:HOST:PORT, fd:N, file:PATH or exec:COMMAND. They run on "
             "while most of their state is moved, and then at one side: "
             "there if all went well, else here.",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .operands = "URI",
};

int cmd_send(int argc, char **argv)
{
    struct move move = {
        .syntax = &syntax,
        .role = VFM_ROLE_SOURCE,
        .options = { .connect_timeout_ms = MOVE_CONNECT_TIMEOUT_MS },
    };

    return move_command(&move, argc, argv);
}
