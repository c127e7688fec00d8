/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_MIGRATION_PAIR_H
#define VFM_TESTS_MIGRATION_PAIR_H

/*
 * A whole migration in one process and one thread: a source and a target with
 * fake devices, and between them a socket pair, or a relay that cuts the
 * connection after so many bytes.
 *
 *     pair_init()   devices, from a struct pair_setup; then arrange faults
 *     pair_run()    both sides to their end, or the test fails
 *     pair_check()  what must be true whatever happened
 *     pair_close()  and that nothing leaked
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/migration.h>

#include "fake-device.h"

#define PAIR_DEVICES_MAX 3
#define PAIR_DATA_MAX    ((size_t)6 << 20)
#define PAIR_NEVER       UINT32_MAX

/* The features by which devices differ. */
#define PAIR_SC          VFM_MIGRATION_STOP_COPY
#define PAIR_PRE         (PAIR_SC | VFM_MIGRATION_PRE_COPY)
#define PAIR_P2P         (PAIR_SC | VFM_MIGRATION_P2P)
#define PAIR_ALL         (PAIR_PRE | VFM_MIGRATION_P2P)

struct pair_setup {
    uint64_t migration;
    unsigned int num_devices;
    size_t size;          /* of each device's state; device i has i more */
    size_t pre_copy_size; /* as struct fake_device has them */
    size_t initial_size;
    size_t reinit_size;
    size_t piece; /* 0: the fake's own */
    size_t room;  /* at the target; 0: none */
    uint32_t config_size;
    unsigned int delay; /* on both sides */
    unsigned int io_delay;
    bool paused;
    bool no_data_size;
    bool no_precopy_info;
    bool target_first; /* when both have something to do */
};

struct pair;

struct pair_side {
    struct pair *pair;
    bool is_source;
    struct vfm_migration *m;
    struct vfm_channel *ch;
    struct fake_device devices[PAIR_DEVICES_MAX];

    /* To be arranged after pair_init(). */
    struct vfm_migration_options options;
    int stop_error; /* what the callbacks return */
    int start_error;
    int slow_error;
    unsigned int cancel_in;     /* a stage, or PAIR_NEVER */
    unsigned int cancel_before; /* the dispatch of that number */

    /* What happened. */
    bool over;
    int ret;
    struct vfm_error err;
    enum vfm_outcome outcome;
    enum vfm_stage stage;
    bool vm_to_run;
    struct vfm_progress progress;
    struct vfm_spent spent;
    struct vfm_ram_stats ram;
    struct vfm_device_stats stats[PAIR_DEVICES_MAX];
    char digests[PAIR_DEVICES_MAX][VFM_DIGEST_SIZE];
    unsigned int dispatches;
    unsigned int stages_seen; /* a bit each */
    unsigned int vm_stops;
    unsigned int vm_starts;
    unsigned int slowed; /* times */
    unsigned int slow_percent;
    bool vm_runs;
    unsigned int warnings;
    char warning[256]; /* the last one */
    char warned[1024]; /* all of them */
    enum vfm_state initial;
};

struct pair_relay {
    int fds[2];     /* to the source, to the target; -1: closed */
    size_t cut[2];  /* bytes from there, then the end; SIZE_MAX: never */
    bool freezes;   /* instead of ending it stands still */
    bool ages[2];   /* what comes from there is of a version without clocks */
    size_t done[2]; /* bytes that came from there */
    bool ended[2];
    uint8_t *record[2]; /* what came is kept here, if not NULL */
    uint8_t buf[2][65536];
    size_t start[2];
    size_t end[2];
};

struct pair {
    struct pair_setup setup;

    /* To be arranged after pair_init(): the channels stay open when a side is
     * over; more for a side's migration than
     * devices, and what happens between two steps. */
    bool keeps_channels;
    const char *first_id; /* of the first device; NULL: dev0 */
    void (*prepare)(struct pair_side *side);
    void (*over)(struct pair_side *side); /* before it is closed */
    void (*meanwhile)(struct pair *p);

    char title[256]; /* what is done to it, for messages */
    struct pair_side source;
    struct pair_side target;
    bool has_relay;
    struct pair_relay relay;
    unsigned int clock;
    int64_t deadline;
    unsigned int fds_before;
    bool vm_order_broken; /* a callback came at the wrong time */
    bool two_vms;
};

/* The state that all sources' devices hold; device i's begins at byte i. */
extern uint8_t pair_data[PAIR_DATA_MAX + PAIR_DEVICES_MAX];

void pair_init(struct pair *p, const struct pair_setup *setup);
/* Between the two runs a relay that cuts after so many bytes. */
void pair_use_relay(struct pair *p, size_t from_source, size_t from_target);
/* In one, or in steps: pair_end() takes the rest of them. */
void pair_run(struct pair *p);
void pair_begin(struct pair *p);
void pair_step(struct pair *p);
void pair_end(struct pair *p);
void pair_check(struct pair *p);
void pair_close(struct pair *p);

/* Whether the source was to be cancelled before a dispatch that was none of it:
 * it is no use to go on.  One migration takes a few more than another. */
static inline bool pair_is_past(const struct pair *p)
{
    return p->source.cancel_before > p->source.dispatches + 8;
}

/* All of it, for a pair in which nothing goes wrong. */
void pair_succeeds(struct pair *p);

/* One side alone, on @fd, which becomes its channel's. */
void side_begin(struct pair_side *side, int fd);
/* The same on a channel to @uri. */
void side_begin_uri(struct pair_side *side, const char *uri);
/* One dispatch, if there is anything to do within @timeout_ms; false if there
 * was not. */
bool side_step(struct pair_side *side, int timeout_ms);
/* To its end; the test fails if that takes seconds. */
void side_run(struct pair_side *side);

unsigned int count_fds(void);

#endif
