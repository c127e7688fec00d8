/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session's descriptor takes O_NONBLOCK, and then a read gives data, an end,
 * or EAGAIN; poll() says that there is data while there is.
 */
#include <poll.h>

#include "fact.h"

int main(int argc, char **argv)
{
    int dev = fact_open(argc, argv);
    int save = fact_must_set_state(dev, UAPI_STATE_STOP_COPY);
    struct pollfd pfd = { .fd = save, .events = POLLIN };
    int flags = fcntl(save, F_GETFL);
    size_t len = 0;
    ssize_t n;
    char byte;

    fact_check(flags >= 0 && fcntl(save, F_SETFL, flags | O_NONBLOCK) == 0,
               "it does not take O_NONBLOCK");
    do {
        fact_check(poll(&pfd, 1, 10000) == 1 && (pfd.revents & POLLIN) != 0,
                   "poll() does not say that it can be read");
        n = read(save, &byte, 1);
        fact_check(n >= 0 || errno == EAGAIN, "it cannot be read");
        len += n > 0 ? 1 : 0;
    } while (n != 0);
    fact_check(len > 0, "it has no state");
    return EXIT_SUCCESS;
}
