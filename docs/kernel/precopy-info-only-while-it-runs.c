/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO_MIG_GET_PRECOPY_INFO answers in PRE_COPY, and is EINVAL in STOP_COPY.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    struct uapi_precopy_info info = { .argsz = sizeof(info) };
    int save;

    if ((fact_migration(dev) & UAPI_MIGRATION_PRE_COPY) == 0)
        return EXIT_SUCCESS;
    save = fact_must_set_state(dev, UAPI_STATE_PRE_COPY);
    fact_check(ioctl(save, UAPI_GET_PRECOPY_INFO, &info) == 0, "no answer");
    fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    fact_check(ioctl(save, UAPI_GET_PRECOPY_INFO, &info) < 0 && errno == EINVAL,
               "it is not EINVAL in STOP_COPY");
    return EXIT_SUCCESS;
}
