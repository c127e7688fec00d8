/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * An argsz that has no room for the answer is EINVAL, and nothing happens.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    struct uapi_device_state stop = { .state = UAPI_STATE_STOP };

    fact_check(fact_feature(dev, UAPI_FEATURE_SET | UAPI_FEATURE_DEVICE_STATE,
                            &stop, sizeof(stop) - 1) == -EINVAL,
               "it is not EINVAL");
    fact_check(fact_get_state(dev) == UAPI_STATE_RUNNING, "it was stopped");
    return EXIT_SUCCESS;
}
