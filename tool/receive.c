/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig receive: the words of it.
 */
#include <stddef.h>

#include "cmd.h"
#include "move.h"

static const struct args_option connect_timeout = {
    .name = "connect-timeout",
    .value = "TIME",
    .take = args_take_time_or0,
    .offset = offsetof(struct move_options, connect_timeout_ms),
    .help = "how long to wait for a sender; for ever without it or if 0",
};

static const struct args_option machine = {
    .name = "machine",
    .value = "NAME",
    .take = args_take_string,
    .offset = offsetof(struct move_options, machine),
    .help = "take no stream that names another machine type",
};

static const struct args_option *const options[] = {
    &move_device,       &move_peer,     &move_rest,   &move_channels,
    &move_memory_max,   &move_parallel, &move_paused, &connect_timeout,
    &move_peer_timeout, &machine,       &move_json,   &move_quiet,
    &move_verbose,      &move_timeline, NULL,
};

static const struct args_syntax syntax = {
    .command = "receive",
    .words = "-d DEVICE [-d DEVICE]... [OPTION]... URI",
    .about = "Takes the devices from a sender. Listens at URI, unix:PATH "
             "or tcp:[HOST]:PORT, and says 'listening on URI' once it "
             "does; or reads fd:N, file:PATH or exec:COMMAND. What the "
             "devices hold is lost. They run once the sender has given "
             "them away.",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .operands = "URI",
};

int cmd_receive(int argc, char **argv)
{
    struct move move = {
        .syntax = &syntax,
        .role = VFM_ROLE_TARGET,

    };

    return move_command(&move, argc, argv);
}
