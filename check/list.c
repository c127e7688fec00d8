/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * All the checks there are, in the order in which they run.
 */
#include <stddef.h>
#include <string.h>

#include "check/groups.h"

/* Resets first: a device that no reset brings back ends all that comes after,
 * and there it is told why. */
const struct check_group check_groups[] = {
    { "resets", "a reset in every state", checks_resets },
    { "features", "what the device says that it can do", checks_features },
    { "states", "every pair of states", checks_states },
    { "loads", "states that are loaded, and what the device is then",
      checks_loads },
    { "refusals", "states that are none", checks_refusals },
    { "registers", "what a driver of the device finds in it",
      checks_registers },
    { "dma", "who is quiet, and goes on", checks_dma },
    { "logs", "what a log of DMA has", checks_logs },
    { "log-errors", "logs that cannot be", checks_log_errors },
    { "interrupts", "none in STOP, none twice, none lost", checks_interrupts },
    { "sessions", "where a state is read and written", checks_sessions },
    { "pieces", "how a state is cut into reads and writes", checks_pieces },
    { "precopy", "a state that is read while the device runs", checks_precopy },
    { "estimates", "how much is left, and how much then comes",
      checks_estimates },
    { "timing", "how long each step takes", checks_timing },
    { "repeats", "the same again and again", checks_repeats },
    { NULL, NULL, NULL },
};

const struct check *check_find(const char *name,
                               const struct check_group **group)
{
    for (const struct check_group *g = check_groups; g->name != NULL; g++)
        for (const struct check *c = g->checks; c->name != NULL; c++)
            if (strcmp(c->name, name) == 0) {
                *group = g;
                return c;
            }
    *group = NULL;
    return NULL;
}

const char *check_severity_name(enum check_severity severity)
{
    switch (severity) {
    case CHECK_MUST:
        return "must";
    case CHECK_SHOULD:
        return "should";
    case CHECK_QUIRK:
        return "quirk";
    }
    return "?";
}

const char *check_outcome_name(enum check_outcome outcome)
{
    switch (outcome) {
    case CHECK_PASSED:
        return "passed";
    case CHECK_FAILED:
        return "failed";
    case CHECK_FOUND:
        return "quirk";
    case CHECK_SKIPPED:
        return "skipped";
    }
    return "?";
}
