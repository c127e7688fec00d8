/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options that several of save, load, send and receive share.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "move.h"
#include "util/error.h"

static int take_peer(const char *value, void *into, struct vfm_error *err)
{
    static const char *const peers[] = { "vfmig", "qemu", "none", NULL };

    for (const char *const *peer = peers; *peer != NULL; peer++)
        if (strcmp(value, *peer) == 0) {
            *(const char **)into = *peer;
            return 0;
        }
    return error_set(err, -EINVAL, "'%.60s' is not vfmig, qemu or none", value);
}

const struct args_option move_device = {
    .letter = 'd',
    .name = "device",
    .value = "DEVICE",
    .take = device_list_take,
    .offset = offsetof(struct move_options, devices),
    .help = "vfio-user:PATH or vfio:ADDRESS[,id=ID][,KEY=VALUE]...; once for "
            "each device",
};

const struct args_option move_peer = {
    .name = "peer",
    .value = "PEER",
    .take = take_peer,
    .offset = offsetof(struct move_options, peer),
    .help = "who is at the other end: vfmig, qemu, or none if nobody answers; "
            "without it none for file:, else vfmig",
};

const struct args_option move_downtime_limit = {
    .name = "downtime-limit",
    .value = "TIME",
    .take = args_take_time,
    .offset = offsetof(struct move_options, downtime_limit_ms),
    .help = "how long the devices may be stopped, such as 300, 300ms or 1.5s; "
            "300 ms without it",
};

const struct args_option move_pre_copy_timeout = {
    .name = "pre-copy-timeout",
    .value = "TIME",
    .take = args_take_time,
    .offset = offsetof(struct move_options, pre_copy_timeout_ms),
    .help = "fail if the downtime limit is out of reach for so long; 10 "
            "minutes without it",
};

const struct args_option move_force_switchover = {
    .name = "force-switchover",
    .take = args_take_flag,
    .offset = offsetof(struct move_options, force_switchover),
    .help = "rather than failing then, stop the devices, however long it takes",
};

const struct args_option move_switchover_ack = {
    .name = "switchover-ack",
    .take = args_take_flag,
    .offset = offsetof(struct move_options, switchover_ack),
    .help = "with --peer qemu: stop the devices only when the QEMU, which has "
            "this capability, has loaded their initial data",
};

const struct args_option move_peer_timeout = {
    .name = "peer-timeout",
    .value = "TIME",
    .take = args_take_time,
    .offset = offsetof(struct move_options, peer_timeout_ms),
    .help = "fail if the other end does nothing for so long; 30 s without it",
};

const struct args_option move_max_bandwidth = {
    .name = "max-bandwidth",
    .value = "RATE",
    .take = args_take_rate,
    .offset = offsetof(struct move_options, max_bandwidth),
    .help = "bytes per second to send at most, such as 100M or 1.5G",
};

const struct args_option move_rest = {
    .name = "rest",
    .value = "FILE",
    .take = args_take_string,
    .offset = offsetof(struct move_options, rest),
    .help = "with --peer qemu: the file for what is of the machine and not of "
            "the devices",
};

static int take_count(const char *value, void *into, struct vfm_error *err)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (value[0] < '0' || value[0] > '9' || *end != '\0' || n == 0 || n > 255)
        return error_set(err, -EINVAL, "'%.20s' is no number from 1 to 255",
                         value);
    *(uint32_t *)into = (uint32_t)n;
    return 0;
}

const struct args_option move_channels = {
    .name = "channels",
    .value = "N",
    .take = take_count,
    .offset = offsetof(struct move_options, channels),
    .help = "at most N more connections for what is left of the devices' state "
            "when they have stopped; with --peer qemu as many as QEMU was told",
};

const struct args_option move_memory_max = {
    .name = "memory-max",
    .value = "SIZE",
    .take = args_take_rate,
    .offset = offsetof(struct move_options, memory_max),
    .help = "with --channels: the bytes of all their buffers together; 16M "
            "without it",
};

static int take_compress(const char *value, void *into, struct vfm_error *err)
{
    if (strcmp(value, "zstd") != 0)
        return error_set(err, -EINVAL, "'%.20s' is not zstd", value);
    *(bool *)into = true;
    return 0;
}

const struct args_option move_compress = {
    .name = "compress",
    .value = "zstd",
    .take = take_compress,
    .offset = offsetof(struct move_options, compress),
    .help = "with --channels: what goes over them is compressed, if the target "
            "knows how",
};

const struct args_option move_parallel = {
    .name = "parallel",
    .value = "N",
    .take = take_count,
    .offset = offsetof(struct move_options, parallel),
    .help = "let at most N devices change their state at once; all without it",
};

const struct args_option move_paused = {
    .name = "paused",
    .take = args_take_flag,
    .offset = offsetof(struct move_options, paused),
    .help = "leave the devices stopped, as those of a VM that is paused",
};

const struct args_option move_json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct move_options, json),
    .help = "print the outcome as one JSON object",
};

const struct args_option move_quiet = {
    .letter = 'q',
    .name = "quiet",
    .take = args_take_flag,
    .offset = offsetof(struct move_options, quiet),
    .help = "no progress bar, no summary",
};

const struct args_option move_verbose = {
    .letter = 'v',
    .name = "verbose",
    .take = args_take_flag,
    .offset = offsetof(struct move_options, verbose),
    .help = "a line on standard error for every stage and every state that a "
            "device enters",
};

const struct args_option move_timeline = {
    .name = "timeline",
    .value = "FILE",
    .take = args_take_string,
    .offset = offsetof(struct move_options, timeline),
    .help = "write to FILE what happened when, for the viewers of Chrome and "
            "Perfetto",
};
