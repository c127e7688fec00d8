/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reset in RESUMING, of a load that is not whole, leaves the device in
 * RUNNING; the load's descriptor takes nothing any more, and another load can
 * begin.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    static char state[1 << 20];
    int save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    size_t len = fact_read_all(save, state, sizeof(state));
    int load, again;

    fact_must_set_state(dev, UAPI_STATE_STOP);
    load = fact_must_set_state(dev, UAPI_STATE_RESUMING);
    fact_check(write(load, state, len / 2) == (ssize_t)(len / 2),
               "it does not take a part");
    fact_reset(dev);
    fact_check(write(load, state, 1) < 0, "the old load goes on");
    again = fact_must_set_state(dev, UAPI_STATE_RESUMING);
    fact_check(again >= 0, "no other load can begin");
    fact_check(write(again, state, len) == (ssize_t)len,
               "the other load is not taken");
    fact_must_set_state(dev, UAPI_STATE_STOP);
    return EXIT_SUCCESS;
}
