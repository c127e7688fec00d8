/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that was just made is RUNNING.  The uAPI does not say so; we take it
 * that what nobody has stopped runs.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);

    fact_check(fact_get_state(dev) == UAPI_STATE_RUNNING,
               "it is in another state");
    return EXIT_SUCCESS;
}
