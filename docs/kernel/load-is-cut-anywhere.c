/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a state is cut into writes means nothing: byte by byte is as good.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    static char state[1 << 20];
    int save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    size_t len = fact_read_all(save, state, sizeof(state));
    int load;

    fact_must_set_state(dev, UAPI_STATE_STOP);
    load = fact_must_set_state(dev, UAPI_STATE_RESUMING);
    for (size_t i = 0; i < len; i++)
        fact_check(write(load, state + i, 1) == 1, "it refused a byte");
    fact_must_set_state(dev, UAPI_STATE_RUNNING);
    return EXIT_SUCCESS;
}
