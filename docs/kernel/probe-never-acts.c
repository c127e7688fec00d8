/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * PROBE tells whether a feature is there for that access, and does nothing;
 * an unknown feature is ENOTTY.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    struct uapi_device_state stop = { .state = UAPI_STATE_STOP };
    uint64_t none = 0;

    fact_check(fact_feature(dev,
                            UAPI_FEATURE_PROBE | UAPI_FEATURE_SET |
                                UAPI_FEATURE_DEVICE_STATE,
                            &stop, sizeof(stop)) == 0,
               "its state cannot be set");
    fact_check(fact_get_state(dev) == UAPI_STATE_RUNNING, "it was stopped");
    fact_check(fact_feature(dev, UAPI_FEATURE_PROBE | UAPI_FEATURE_GET | 0xff00,
                            &none, sizeof(none)) == -ENOTTY,
               "an unknown feature is not ENOTTY");
    return EXIT_SUCCESS;
}
