/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_CHECK_H
#define VFM_CHECK_CHECK_H

/*
 * A check: one rule that a migratable device follows, and the code that finds
 * out.
 *
 * A check begins with the device in RUNNING and may leave it anywhere: run.c
 * brings it back.  It ends by returning 0, which is "passed", or by returning
 * what one of the functions below gives, all of which are "over".  The moves of
 * steps.h give the same, so that every line of a check is
 *
 *     if (step_go(r, UAPI_STATE_STOP) != 0)
 *         return CHECK_OVER;
 *
 * Adding one: a row in the table of its group's file.  Adding a group: a file,
 * and a row in list.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check/raw.h"

enum check_severity {
    CHECK_MUST,   /* who breaks it loses state, memory or the device */
    CHECK_SHOULD, /* who breaks it makes migrations slower or harder */
    CHECK_QUIRK,  /* worth knowing, and no failure */
};

enum check_outcome {
    CHECK_PASSED,
    CHECK_FAILED,
    CHECK_FOUND, /* a habit that is known of servers of its kind */
    CHECK_SKIPPED,
};
#define CHECK_OUTCOMES     4

/* What a check needs of the device; without it, it is skipped. */
#define NEEDS_P2P          UINT32_C(0x001)
#define NEEDS_PRE_COPY     UINT32_C(0x002)
#define NEEDS_RESET        UINT32_C(0x004)
#define NEEDS_DATA_SIZE    UINT32_C(0x008)
#define NEEDS_LOG          UINT32_C(0x010)
#define NEEDS_PRECOPY_INFO UINT32_C(0x020)
#define NEEDS_DESCRIPTORS  UINT32_C(0x040) /* of sessions: the kernel's */
#define NEEDS_DRIVER       UINT32_C(0x080) /* somebody who makes it do DMA */
#define NEEDS_MAPPING      UINT32_C(0x100) /* memory that it can reach */
#define NEEDS_COUNT        9

struct run;

typedef int check_fn(struct run *r, const void *arg);

struct check {
    const char *name; /* for ever: scripts and reports refer to it */
    enum check_severity severity;
    const char *rule; /* a sentence, and where it is from */
    const char *look; /* what to look at in a driver that fails */
    uint32_t needs;
    check_fn *run;
    const void *arg;
    uint32_t timeout_ms; /* 0: CHECK_TIMEOUT_MS */
};

#define CHECK_TIMEOUT_MS 30000

struct check_group {
    const char *name;
    const char *about;
    const struct check *checks; /* ends with one without a name */
};

/* All there are; ends with a group without a name. */
extern const struct check_group check_groups[];

/* Finds a check by its name, and its group; NULL if there is none. */
const struct check *check_find(const char *name,
                               const struct check_group **group);
const char *check_severity_name(enum check_severity severity);
const char *check_outcome_name(enum check_outcome outcome);

/* What was measured. */
struct check_figure {
    char name[32];
    uint64_t ns;
};
#define CHECK_FIGURES 4
#define CHECK_REASON  512

struct check_result {
    const struct check *check;
    const struct check_group *group;
    enum check_outcome outcome;
    char reason[CHECK_REASON]; /* why it did not pass; "" if it did */
    int64_t ns;                /* how long it took */
    struct check_figure figures[CHECK_FIGURES];
    size_t num_figures;
};

/* A step or a check is over, and the outcome has been told. */
#define CHECK_OVER (-1)

/* How a check ends otherwise.  Each takes a sentence without a full stop and
 * returns CHECK_OVER; the first one that is told counts. */
__attribute__((format(printf, 2, 3))) int check_fail(struct run *r,
                                                     const char *fmt, ...);
__attribute__((format(printf, 2, 3))) int check_found(struct run *r,
                                                      const char *fmt, ...);
__attribute__((format(printf, 2, 3))) int check_skip(struct run *r,
                                                     const char *fmt, ...);
/* A step on the way fails: that is a failure in a quirk's check too. */
__attribute__((format(printf, 2, 3))) int check_break(struct run *r,
                                                      const char *fmt, ...);
/* The device is lost with this check: it has failed, whatever was told. */
void check_lose(struct run *r, const char *why);
/* Adds a figure to the result; those too many are dropped. */
void check_add_figure(struct run *r, const char *name, uint64_t ns);

#endif
