/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * When the states of a session are left, its descriptor is dead: reading it
 * fails, and does not end as a state does.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    int save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    char byte;

    fact_must_set_state(dev, UAPI_STATE_STOP);
    fact_check(read(save, &byte, 1) < 0, "it can still be read");
    return EXIT_SUCCESS;
}
