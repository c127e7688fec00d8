/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking for the state that the device is in succeeds and hands out no
 * descriptor: the session that is open goes on.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    int save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    char byte;

    fact_check(save >= 0, "STOP_COPY opened no session");
    fact_check(fact_must_set_state(dev, UAPI_STATE_STOP_COPY) < 0,
               "it handed out a descriptor again");
    fact_check(read(save, &byte, 1) == 1, "the session is over");
    return EXIT_SUCCESS;
}
