/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_BUFFER_H
#define VFM_EMULATOR_BUFFER_H

/*
 * Memory that is there before it is needed: while a state is saved and loaded
 * nobody runs, and what a page costs that is touched for the first time they
 * would wait for.
 */

#include <stdlib.h>
#include <string.h>

/* Returns @size bytes for free(), or NULL.  What they hold is not zero: the
 * compiler would make a calloc() of it, which touches nothing. */
static inline void *buffer_new(size_t size)
{
    void *p = malloc(size);

    return p == NULL ? NULL : memset(p, 0xff, size);
}

#endif
