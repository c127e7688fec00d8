/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_PROGRESS_H
#define VFM_TOOL_PROGRESS_H

/*
 * One line at the bottom of a terminal that says how far a migration is.
 *
 * Drawn on standard error if that is a terminal, and not at all otherwise.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/migration.h>

struct progress {
    bool is_enabled;
    bool is_drawn;
    int64_t next_ns; /* not to be redrawn before */
};

/* @quiet: never. */
void progress_init(struct progress *bar, bool quiet);

/* Draws the line if it is time to; how far it is comes from @m. */
void progress_show(struct progress *bar, const struct vfm_migration *m);

/* Draws what is waited for before there is a migration, "connecting to @where".
 */
void progress_show_connecting(struct progress *bar, const char *where);

/* How long poll() may wait for the line's sake: ms, -1 for ever. */
int progress_poll_timeout(const struct progress *bar);

/* Wipes the line, so that something else can be printed. */
void progress_clear(struct progress *bar);

/* Room for the longest line, and its terminating NUL. */
#define PROGRESS_LINE_MAX 256

/* Puts the line's text, at most @columns long, into @line. */
void progress_format(const struct vfm_progress *now, int columns,
                     char line[PROGRESS_LINE_MAX]);

#endif
