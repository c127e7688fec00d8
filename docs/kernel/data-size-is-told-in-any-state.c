/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that tells the size of its state does so in every state.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    static const uint32_t states[] = {
        UAPI_STATE_RUNNING, UAPI_STATE_PRE_COPY, UAPI_STATE_STOP_COPY,
        UAPI_STATE_STOP,    UAPI_STATE_RESUMING,
    };
    int dev = fact_open(argc, argv);
    uint64_t bytes = 0;

    if (fact_feature(dev, UAPI_FEATURE_GET | UAPI_FEATURE_DATA_SIZE, &bytes,
                     sizeof(bytes)) == -ENOTTY)
        return EXIT_SUCCESS;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (states[i] == UAPI_STATE_PRE_COPY &&
            (fact_migration(dev) & UAPI_MIGRATION_PRE_COPY) == 0)
            continue;
        fact_must_set_state(dev, states[i]);
        fact_check(fact_feature(dev, UAPI_FEATURE_GET | UAPI_FEATURE_DATA_SIZE,
                                &bytes, sizeof(bytes)) == 0,
                   "it does not tell the size");
    }
    return EXIT_SUCCESS;
}
