/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A load without all of its data fails on the way out of RESUMING, and a reset
 * brings the device back.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    static char state[1 << 20];
    int save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    size_t len = fact_read_all(save, state, sizeof(state));
    int load, none;

    fact_must_set_state(dev, UAPI_STATE_STOP);
    load = fact_must_set_state(dev, UAPI_STATE_RESUMING);
    fact_check(write(load, state, len - 1) == (ssize_t)(len - 1),
               "it does not take a part");
    fact_check(fact_set_state(dev, UAPI_STATE_STOP, &none) < 0,
               "it took a part for all");
    fact_reset(dev);
    return EXIT_SUCCESS;
}
