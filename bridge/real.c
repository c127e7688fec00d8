/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking up the functions behind ours.  One is looked up when it is first
 * called, which may be before any constructor has run; two threads that do it
 * at the same time find the same.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bridge/real.h"

#define REAL_NAME(name) [REAL_##name] = #name,
static const char *const names[REAL_COUNT] = { REAL_FUNCTIONS(REAL_NAME) };

static void *_Atomic functions[REAL_COUNT];

void *real_function(enum real_number number)
{
    void *f = atomic_load_explicit(&functions[number], memory_order_relaxed);

    if (f == NULL) {
        f = dlsym(RTLD_NEXT, names[number]);
        /* There is no libc without it; and no way to say so. */
        if (f == NULL)
            abort();
        atomic_store_explicit(&functions[number], f, memory_order_relaxed);
    }
    return f;
}
