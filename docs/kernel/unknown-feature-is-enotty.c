/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A feature that the kernel does not know is refused with ENOTTY, whether it is
 * asked for or only probed, and nothing happens.
 */
#include "fact.h"

#define UNKNOWN UINT32_C(0xfff0)

int main(int argc, char **argv)
{
    static const uint32_t ways[] = { UAPI_FEATURE_GET, UAPI_FEATURE_SET,
                                     UAPI_FEATURE_PROBE,
                                     UAPI_FEATURE_PROBE | UAPI_FEATURE_GET,
                                     UAPI_FEATURE_PROBE | UAPI_FEATURE_SET };
    int dev = fact_open(argc, argv);
    uint64_t data = 0;

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        fact_check(fact_feature(dev, ways[i] | UNKNOWN, &data, sizeof(data)) ==
                       -ENOTTY,
                   "it is known, or refused otherwise");
    fact_check(fact_get_state(dev) == UAPI_STATE_RUNNING, "it went elsewhere");
    return EXIT_SUCCESS;
}
