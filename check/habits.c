/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Servers that do some things in a way of their own.
 */
#include <errno.h>

#include "check/habits.h"

#define UNKNOWN       0xfff0u

/* What it says of every device.  Either mark alone is many a server's. */
#define ITS_MIGRATION (UAPI_MIGRATION_STOP_COPY | UAPI_MIGRATION_PRE_COPY)

bool habit_is_libvfio_user(struct run *r)
{
    uint64_t data = 0;
    struct raw_feature f = {
        .flags = UNKNOWN | UAPI_FEATURE_GET,
        .data = &data,
        .size = sizeof(data),
    };

    return !r->raw->has_descriptors && r->migration == ITS_MIGRATION &&
           raw_feature(r->raw, &f) == -EINVAL;
}
