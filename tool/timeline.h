/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_TIMELINE_H
#define VFM_TOOL_TIMELINE_H

/*
 * --timeline: what happened when, as a trace that the viewers of Chrome and
 * Perfetto show: the stages in a row, below them the downtime and what was
 * waited for, below that what each device did.  A source's has the other side's
 * below its own, on one clock.
 *
 * Times are those of the wall clock here.
 */

#include <stdint.h>
#include <stdio.h>

#include <vfmig/migration.h>

/* Events that are kept; a migration with more has what is shown of it cut. */
#define TIMELINE_MAX 4096

struct timeline_event {
    int64_t at;
    struct vfm_event event; /* without its text */
};

/* Zeroed: there is none, and all of this does nothing. */
struct timeline {
    FILE *file;
    const char *name;
    struct timeline_event *events;
    size_t count;
};

/* Opens the file @name; nothing is done if that is NULL.  Better now than when
 * the devices have moved.  Returns 0 or a negative errno value. */
int timeline_open(struct timeline *timeline, const char *name,
                  struct vfm_error *err);

/* Keeps @event; its device's id must live as long as the timeline. */
void timeline_add(struct timeline *timeline, const struct vfm_event *event);

/* Writes what @who, such as "send", has seen of @m, which is over.  Returns 0
 * or a negative errno value. */
int timeline_write(struct timeline *timeline, const char *who,
                   const struct vfm_migration *m, struct vfm_error *err);

void timeline_close(struct timeline *timeline);

#endif
