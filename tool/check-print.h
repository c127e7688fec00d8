/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_CHECK_PRINT_H
#define VFM_TOOL_CHECK_PRINT_H

/*
 * What `vfmig check` prints: its results, and what checks there are.
 */

#include <stdio.h>

#include "check/run.h"

struct check_report {
    const char *device; /* as on the command line */
    const struct check_result *results;
    size_t count;
    const char *error; /* why not all of it was checked, or NULL */
};

/* How many results have @outcome. */
size_t check_report_count(const struct check_report *report,
                          enum check_outcome outcome);
/* Whether a check of @severity failed. */
bool check_report_failed(const struct check_report *report,
                         enum check_severity severity);

/* For people: the groups from result *@next on that are complete, as the last
 * one is with @is_over, when the sums come, too.  *@next is moved behind them.
 */
void check_print_table(FILE *out, const struct check_report *report,
                       bool is_over, size_t *next);
/* What TAP 14, JUnit and JSON want. */
void check_print_tap(FILE *out, const struct check_report *report);
void check_print_junit(FILE *out, const struct check_report *report);
void check_print_json(FILE *out, const struct check_report *report);

/* The checks that @selection lets through. */
void check_list_table(FILE *out, const struct check_selection *selection);
void check_list_markdown(FILE *out, const struct check_selection *selection);
void check_list_json(FILE *out, const struct check_selection *selection);
/* All there is to know of one. */
void check_explain(FILE *out, const struct check *check,
                   const struct check_group *group);

#endif
