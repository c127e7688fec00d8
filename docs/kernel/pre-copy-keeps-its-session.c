/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * PRE_COPY>STOP_COPY hands out no descriptor: the old one goes on, and what was
 * read of it does not come again.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    static char state[1 << 20];
    int save;
    size_t before, after;

    if ((fact_migration(dev) & UAPI_MIGRATION_PRE_COPY) == 0)
        return EXIT_SUCCESS;
    save = fact_must_set_state(dev, UAPI_STATE_PRE_COPY);
    before = fact_read_all(save, state, sizeof(state));
    fact_check(fact_must_set_state(dev, UAPI_STATE_STOP_COPY) < 0,
               "STOP_COPY handed out another descriptor");
    after = fact_read_all(save, state, sizeof(state));
    fact_must_set_state(dev, UAPI_STATE_STOP);
    save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    fact_check(before + after == fact_read_all(save, state, sizeof(state)),
               "both parts together are not what STOP_COPY alone gives");
    return EXIT_SUCCESS;
}
