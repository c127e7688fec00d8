/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/ioctl.h>

#include "util/ioctl.h"

int ioctl_retry(int fd, unsigned long request, void *arg)
{
    int ret;

    do
        ret = ioctl(fd, request, arg);
    while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}
