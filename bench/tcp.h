/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BENCH_TCP_H
#define VFM_BENCH_TCP_H

/*
 * A connection over TCP to oneself.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Both ends of it.  Returns 0, or -1 and errno; then the program ends. */
static inline int tcp_pair(int pair[2])
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(addr);
    int lis = socket(AF_INET, SOCK_STREAM, 0);

    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (lis < 0 || pair[0] < 0 ||
        bind(lis, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(lis, 1) < 0 ||
        getsockname(lis, (struct sockaddr *)&addr, &len) < 0 ||
        connect(pair[0], (struct sockaddr *)&addr, len) < 0)
        return -1;
    pair[1] = accept(lis, NULL, NULL);
    close(lis);
    return pair[1] < 0 ? -1 : 0;
}

#endif
