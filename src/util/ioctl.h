/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_IOCTL_H
#define VFM_SRC_UTIL_IOCTL_H

/* ioctl(), again when a signal came in between.  What it returned, or -errno.
 */
int ioctl_retry(int fd, unsigned long request, void *arg);

#endif
