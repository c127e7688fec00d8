/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_PROCESS_H
#define VFM_CHECK_PROCESS_H

/*
 * What a process has, as far as /proc tells.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    uint64_t descriptors;
    uint64_t memory; /* bytes of its own that are resident */
    bool hoards;     /* a sanitizer keeps what it has freed, to watch it */
};

/* Returns 0 or a negative errno: the process is somebody else's, or gone. */
int process_measure(pid_t pid, struct process_usage *usage);

#endif
