/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who closes the descriptor of a save in its middle has given the save up, and
 * nothing else: the device runs on, and can be saved again.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    char byte;
    int save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);

    fact_check(read(save, &byte, 1) == 1, "no data");
    close(save);
    fact_must_set_state(dev, UAPI_STATE_RUNNING);
    save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    fact_check(read(save, &byte, 1) == 1, "no data the second time");
    return EXIT_SUCCESS;
}
