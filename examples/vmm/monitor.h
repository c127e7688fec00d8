/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_VMM_MONITOR_H
#define VFM_EXAMPLES_VMM_MONITOR_H

/*
 * Commands come in on standard input, a line each; answers and events go out on
 * standard output, a JSON object each.  The names are QMP's where it has one.
 */

#include "migrate.h"

struct monitor {
    struct vm *vm;
    struct migrate *migrate;
    bool quit;
    char line[4096];
    size_t used;
    bool ended; /* nobody says anything any more */
};

/* Takes what there is to read and does it. */
void monitor_read(struct monitor *mon);

/* Events. */
void monitor_ready(const struct vm *vm);
void monitor_listening(const char *address);
void monitor_migration_event(const struct vfm_event *ev);
void monitor_migration_over(const struct migrate *mg);
void monitor_warning(const char *text);
void monitor_failure(const char *text);

#endif
