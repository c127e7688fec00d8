/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Structures that may grow from one release to the next: options that come in,
 * answers that go out.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "util/error.h"
#include "util/options.h"

/* Nobody's structures are that large: what is, was not set. */
#define SIZE_LIMIT 4096

int options_copy(void *ours, size_t size, const void *theirs, const char *who,
                 struct vfm_error *err)
{
    const uint8_t *bytes = theirs;
    size_t given = size;

    memset(ours, 0, size);
    if (theirs != NULL) {
        memcpy(&given, theirs, sizeof(given));
        if (given < sizeof(given) || given > SIZE_LIMIT)
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

int answer_copy(void *theirs, size_t min, const void *ours, size_t size)
{
    size_t given;

    memcpy(&given, theirs, sizeof(given));
    if (given < min || given > SIZE_LIMIT)
        return -EINVAL;
    memset(theirs, 0, given);
    memcpy(theirs, ours, given < size ? given : size);
    memcpy(theirs, &given, sizeof(given));
    return 0;
}
