/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_BENCH_H
#define VFM_TOOL_BENCH_H

/*
 * What moving a device takes: figures that `vfmig bench` measures, and that
 * `vfmig predict` reads again.
 *
 * A figure has a sample from each round; what counts is their median, and how
 * far they are apart.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <vfmig/channel.h>
#include <vfmig/device.h>
#include <vfmig/error.h>

#include "bench-wire.h"
#include "device-arg.h"

#define BENCH_ROUNDS_MAX     64
#define BENCH_ROUNDS_DEFAULT 5

/* Of the file's format; a reader takes no other. */
#define BENCH_VERSION        1

enum bench_figure {
    /* A device that is saved. */
    BENCH_PRE_COPY_NS, /* RUNNING to PRE_COPY */
    BENCH_STOP_NS,     /* from there to STOP_COPY */
    BENCH_END_NS,      /* STOP_COPY to STOP */
    BENCH_RUN_NS,      /* STOP to RUNNING */
    BENCH_PRE_COPY_BYTES,
    BENCH_STOP_COPY_BYTES,
    BENCH_SAVE_RATE, /* bytes per second */

    /* One that is loaded. */
    BENCH_RESUME_NS, /* STOP to RESUMING */
    BENCH_CHECK_NS,  /* RESUMING to STOP */
    BENCH_LOAD_RATE,

    BENCH_RTT_NS, /* there and back again */
    BENCH_LINK_RATE,

    /* A trial: from one device to another, over the link. */
    BENCH_TRIAL_STOPPED_NS, /* from the stop until the source knows that all is
                             * loaded */
    BENCH_TRIAL_STOP_NS,    /* of that: the source's device, stopping */
    BENCH_TRIAL_CHECK_NS,   /* of that: the target's device, checking */
    BENCH_TRIAL_START_NS,   /* not of that: the target's device, starting */
    BENCH_TRIAL_BYTES,      /* that were moved while it was stopped */
    BENCH_TRIAL_BUSY,       /* thousandths of the processors' time; the busier
                             * side's */
    BENCH_FIGURES,
};

enum bench_unit {
    BENCH_UNIT_NS,
    BENCH_UNIT_BYTES,
    BENCH_UNIT_RATE,
    BENCH_UNIT_PERMILLE
};

/* What the figures are called: a member of an object of the file. */
struct bench_name {
    const char *section;
    const char *name;
    enum bench_unit unit;
    const char *words; /* for people */
};

extern const struct bench_name bench_names[BENCH_FIGURES];

struct bench_value {
    bool is_known;
    uint64_t median;
    uint64_t min;
    uint64_t max;
};

struct bench {
    uint64_t samples[BENCH_FIGURES][BENCH_ROUNDS_MAX];
    unsigned int count[BENCH_FIGURES];
};

/* Adds a sample; more than there is room for are left out. */
void bench_add(struct bench *bench, enum bench_figure figure, uint64_t sample);

struct bench_value bench_value(const struct bench *bench,
                               enum bench_figure figure);

/* Has the device saved and, with @load, loaded with that again; @rounds times.
 * It ends in the state that it was in, and holds what it did, or @err says what
 * became of it and *@is_lost whether it lost what it held. */
int bench_device(struct bench *bench, struct vfm_device *dev,
                 unsigned int rounds, bool load, bool *is_lost,
                 struct vfm_error *err);

/* Whether a device in this state can be measured: 0 or -EBUSY. */
int bench_check_state(struct vfm_device *dev, struct vfm_error *err);

/* What one side knows of a trial. */
struct bench_move {
    bool is_measured;         /* it went as far as a trial goes */
    uint64_t stopped_ns;      /* source: BENCH_TRIAL_STOPPED_NS */
    uint64_t stop_ns;         /* source */
    uint64_t stop_copy_bytes; /* source */
    uint64_t check_ns;        /* target */
    uint64_t busy_permille;   /* of this side's processors; 0: unknown */
};

/* A trial, until its result is fetched. */
struct bench_trial {
    struct vfm_device *dev; /* NULL: there are none */
    uint64_t run;           /* the same for all of a bench */
    bool is_pending;
    struct bench_move move;
};

/* One connection to a listener: the link, and a trial if that side has a device
 * too.  After one that succeeded the result is pending. */
int bench_link(struct bench *bench, struct vfm_channel *ch,
               struct bench_trial *trial, bool is_last, bool *is_lost,
               struct vfm_error *err);

/* Another connection, for what the target knows of the trial. */
int bench_fetch(struct bench *bench, struct vfm_channel *ch,
                const struct bench_trial *trial, bool is_last,
                struct vfm_error *err);

enum { BENCH_SERVE_MORE = 1, BENCH_SERVE_LAST };

/* The other side of both, from one connection to the next; zeroed at first. */
struct bench_server {
    struct vfm_device *dev; /* may be NULL */
    struct wire result;     /* of the last trial */
    bool has_run;           /* somebody is served: */
    uint64_t run;           /* this one */
    bool is_stranger;       /* it was no bench that called, or not that one */
    bool is_lost; /* the device was left with what it was loaded with */
};

/* Answers one connection.  Returns BENCH_SERVE_* or an error. */
int bench_serve(struct vfm_channel *ch, struct bench_server *server,
                struct vfm_error *err);

void bench_print(const struct bench *bench, const char *device,
                 const char *link);
void bench_print_json(const struct bench *bench, const char *device,
                      const char *link, FILE *out);

/* Thousandths of the processors' time that were busy since the last call with
 * this structure, zeroed at first; 0 if nobody can tell: the kernel does not,
 * or it was too short. */
struct bench_busy {
    uint64_t idle;
    uint64_t total;
};
uint64_t bench_busy(struct bench_busy *busy);

#endif
