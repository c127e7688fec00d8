/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_REPORT_H
#define VFM_TOOL_REPORT_H

/*
 * What a migration came to: a summary for people or one JSON object.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <vfmig/migration.h>

#include "move.h"
#include "predict.h"

/* Warnings that are kept for the JSON object; more are only said. */
#define REPORT_MAX_WARNINGS 64

struct report {
    const struct move *move;
    const struct vfm_migration *migration; /* NULL: it did not come to one */
    const char *error;                     /* NULL: none */
    struct prediction prediction; /* of the downtime, if --predict is given */
    char *warnings[REPORT_MAX_WARNINGS];
    size_t warning_count;
};

/* Keeps a copy of @text. */
void report_add_warning(struct report *report, const char *text);

/* Prints one object on standard output, whatever the outcome. */
void report_print_json(const struct report *report);

/* Prints a summary of a migration that ended well on @out. */
void report_print_summary(const struct report *report, FILE *out);

/* Frees what @report holds. */
void report_finish(struct report *report);

#endif
