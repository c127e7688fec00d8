/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * While somebody has a device by its group, nobody else can open the group:
 * EBUSY.
 */
#include "fact.h"

int main(int argc, char **argv)
{
    char path[600];

    fact_open(argc, argv);
    fact_find_group(argv[1], path, sizeof(path));
    fact_check(open(path, O_RDWR | O_CLOEXEC) < 0, "it can be opened again");
    fact_check(errno == EBUSY, "it is refused otherwise");
    return EXIT_SUCCESS;
}
