/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_DEMO_PROGRAMS_H
#define VFM_EXAMPLES_DEMO_PROGRAMS_H

/* The emulated devices that the demo starts and stops. */

#include <sys/types.h>

struct program {
    pid_t pid;
    char dir[64];
    char socket[96];
};

/* Starts the device program at @path with @size of memory, part of which it
 * rewrites while it runs, and waits until it listens.  Returns 0, or says on
 * stderr why not. */
int program_start(struct program *p, const char *path, const char *size,
                  const char *name);

/* Ends it and removes what it left. */
void program_stop(struct program *p);

#endif
