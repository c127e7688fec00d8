/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * All the drivers there are, and which of them knows a device.
 */
#include <stddef.h>

#include "check/driver.h"

static const struct driver *const drivers[] = {
    &driver_vfmig,
    &driver_mtty,
};

const struct driver *driver_find(struct raw *raw)
{
    uint16_t ids[2];

    if (raw_region_read(raw, UAPI_REGION_CONFIG, 0, ids, sizeof(ids)) < 0)
        return NULL;
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        if (drivers[i]->match(raw, ids[0], ids[1]))
            return drivers[i];
    return NULL;
}
