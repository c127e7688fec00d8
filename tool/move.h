/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_MOVE_H
#define VFM_TOOL_MOVE_H

/*
 * What save, load, send and receive have in common: all of it but their words.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/migration.h>

#include "args.h"
#include "device-arg.h"

/* What a command line asks for. */
struct move_options {
    struct device_list devices;
    const char *where; /* the URI; save and load: the file, or "-" */

    const char *peer; /* "vfmig", "qemu", "none"; NULL: by the URI */
    bool paused;      /* leave the devices stopped: the VM is */
    bool stop;        /* save: leave them stopped, though they ran */
    bool force_switchover;
    bool switchover_ack;          /* of a QEMU */
    const char *machine;          /* NULL: the library's choice */
    uint32_t downtime_limit_ms;   /* 0: the library's */
    uint32_t pre_copy_timeout_ms; /* 0: the library's */
    uint32_t peer_timeout_ms;     /* 0: the library's */
    uint32_t connect_timeout_ms;  /* 0: for ever */
    uint64_t max_bandwidth;       /* 0: no limit */
    const char *predict;          /* a bench's file; NULL: none */
    const char *timeline;         /* the file's name; NULL: none */
    const char *rest;             /* what is not the devices'; NULL: nowhere */
    uint32_t channels;            /* beside the main one */
    uint64_t memory_max;          /* 0: the library's */
    bool compress;                /* these channels */
    uint32_t parallel;            /* devices at once; 0: all */

    bool json;
    bool quiet;
    bool verbose;
};

/* Entries of the commands' tables; they fill in a struct move_options. */
extern const struct args_option move_device;
extern const struct args_option move_peer;
extern const struct args_option move_downtime_limit;
extern const struct args_option move_pre_copy_timeout;
extern const struct args_option move_force_switchover;
extern const struct args_option move_switchover_ack;
extern const struct args_option move_peer_timeout;
extern const struct args_option move_max_bandwidth;
extern const struct args_option move_rest;
extern const struct args_option move_channels;
extern const struct args_option move_memory_max;
extern const struct args_option move_compress;
extern const struct args_option move_parallel;
extern const struct args_option move_paused;
extern const struct args_option move_json;
extern const struct args_option move_quiet;
extern const struct args_option move_verbose;
extern const struct args_option move_timeline;

/* What a sender or a file is given: long enough to start the other side by
 * hand. */
#define MOVE_CONNECT_TIMEOUT_MS 10000

struct move {
    const struct args_syntax *syntax;
    enum vfm_role role;
    bool is_file; /* options.where is a file's name, not a URI */
    struct move_options options;
};

/* Fills in @move->options, which hold the command's defaults, by the command
 * line, does it, and reports.  Returns the exit code. */
int move_command(struct move *move, int argc, char **argv);

static inline bool move_is_source(const struct move *move)
{
    return move->role == VFM_ROLE_SOURCE;
}

/* move-peer.c: who is at the other end. */
enum vfm_peer move_peer_of(const struct move *move);
/* What a whole machine sends is taken apart before the migration gets it. */
bool move_needs_pump(const struct move *move);
/* Of each of a source's other channels. */
struct vfm_channel_options move_channel_options(const struct move *move);
/* Whether what was asked for can be had there; else says why, and returns the
 * exit code. */
int move_check_peer(const struct move *move);

/* The command's name. */
static inline const char *move_name(const struct move *move)
{
    return move->syntax->command;
}

#endif
