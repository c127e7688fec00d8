/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is at the other end, and how many connections there may be to him.
 */
#include <string.h>

#include "cmd.h"
#include "move.h"
#include "say.h"

enum vfm_peer move_peer_of(const struct move *move)
{
    const char *peer = move->options.peer;

    if (move->is_file)
        return VFM_PEER_NONE;
    if (peer == NULL)
        return strncmp(move->options.where, "file:", 5) == 0 ? VFM_PEER_NONE
                                                             : VFM_PEER_VFMIG;
    if (strcmp(peer, "qemu") == 0)
        return VFM_PEER_QEMU;
    return strcmp(peer, "none") == 0 ? VFM_PEER_NONE : VFM_PEER_VFMIG;
}

bool move_needs_pump(const struct move *move)
{
    return move->options.rest != NULL ||
           (move->options.channels > 0 && !move_is_source(move) &&
            move_peer_of(move) == VFM_PEER_QEMU);
}

/* Several connections are made to, and taken from, an address. */
static bool is_address(const char *uri)
{
    return strncmp(uri, "unix:", 5) == 0 || strncmp(uri, "tcp:", 4) == 0;
}

static int check_qemu(const struct move *move, enum vfm_peer peer)
{
    const struct move_options *opts = &move->options;

    if (opts->rest != NULL && peer != VFM_PEER_QEMU)
        return say_usage(move_name(move), "--rest is for --peer qemu");
    if (opts->switchover_ack &&
        (move_needs_pump(move) || peer != VFM_PEER_QEMU))
        return say_usage(move_name(move),
                         "--switchover-ack is for --peer qemu without --rest");
    return EXIT_DONE;
}

/* The channels are the library's, not the pump's. */
static bool has_lanes(const struct move *move)
{
    return move_peer_of(move) == VFM_PEER_VFMIG ||
           (move_peer_of(move) == VFM_PEER_QEMU && move_is_source(move));
}

/* The bandwidth is that of all of them: what else there is goes before or
 * after. */
struct vfm_channel_options move_channel_options(const struct move *move)
{
    const struct move_options *opts = &move->options;
    struct vfm_channel_options options = VFM_CHANNEL_OPTIONS_INIT;

    options.connect_timeout_ms = MOVE_CONNECT_TIMEOUT_MS;
    if (opts->max_bandwidth > 0)
        options.max_bandwidth = 1 + (opts->max_bandwidth - 1) / opts->channels;
    return options;
}

int move_check_peer(const struct move *move)
{
    const struct move_options *opts = &move->options;
    enum vfm_peer peer = move_peer_of(move);
    int code = check_qemu(move, peer);

    if (code != EXIT_DONE)
        return code;
    if (opts->channels > 0 && move_is_source(move) && opts->rest != NULL)
        return say_usage(move_name(move),
                         "--channels: what is sent with --rest goes over one "
                         "connection");
    if (opts->channels > 0 && peer == VFM_PEER_NONE)
        return say_usage(move_name(move),
                         "--channels: nobody is there to agree with");
    if (opts->channels > VFM_CHANNELS_MAX && has_lanes(move))
        return say_usage(move_name(move),
                         "--channels: '%u' is no number from 1 to %d",
                         opts->channels, VFM_CHANNELS_MAX);
    if (opts->channels > 0 && has_lanes(move) && !is_address(opts->where))
        return say_usage(move_name(move),
                         "--channels: '%.60s' is one channel and no more",
                         opts->where);
    if (opts->memory_max > 0 && (opts->channels == 0 || !has_lanes(move)))
        return say_usage(move_name(move),
                         "--memory-max is for --channels between two vfmigs, "
                         "and to a QEMU");
    if (opts->compress && (opts->channels == 0 || peer != VFM_PEER_VFMIG))
        return say_usage(move_name(move),
                         "--compress is for --channels between two vfmigs");
    return EXIT_DONE;
}
