/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * STOP_COPY: data, then 0, as often as one asks; never ENOMSG.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    int save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    static char state[1 << 20];

    fact_check(fact_read_all(save, state, sizeof(state)) > 0, "no data");
    for (int i = 0; i < 3; i++)
        fact_check(read(save, state, sizeof(state)) == 0, "not 0 at the end");
    return EXIT_SUCCESS;
}
