/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options that may grow from one release to the next.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "util/error.h"
#include "util/options.h"

/* Nobody's options are that large. */
#define OPTIONS_MAX 4096

int options_copy(void *ours, size_t size, const void *theirs, const char *who,
                 struct vfm_error *err)
{
    const uint8_t *bytes = theirs;
    size_t given = size;

    memset(ours, 0, size);
    if (theirs != NULL) {
        memcpy(&given, theirs, sizeof(given));
        if (given < sizeof(given) || given > OPTIONS_MAX)
            return error_set(err, -EINVAL, "%s: options of %zu bytes", who,
                             given);
        memcpy(ours, theirs, given < size ? given : size);
    }
    for (size_t i = size; theirs != NULL && i < given; i++)
        if (bytes[i] != 0)
            return error_set(err, -E2BIG,
                             "%s: an option at byte %zu that this version "
                             "does not know",
                             who, i);
    memcpy(ours, &size, sizeof(size));
    return 0;
}
