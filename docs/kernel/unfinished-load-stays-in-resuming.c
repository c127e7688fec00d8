/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A load that lacks its end leaves the device in RESUMING when it is asked to
 * stop, however often; with the end, it stops.
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
    for (int i = 0; i < 2; i++) {
        fact_check(fact_set_state(dev, UAPI_STATE_STOP, &none) < 0,
                   "it took a part for all");
        fact_check(fact_get_state(dev) == UAPI_STATE_RESUMING,
                   "it is not in RESUMING any more");
    }
    fact_check(write(load, state + len - 1, 1) == 1,
               "it does not take the rest");
    fact_must_set_state(dev, UAPI_STATE_STOP);
    return EXIT_SUCCESS;
}
