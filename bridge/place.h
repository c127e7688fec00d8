/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_PLACE_H
#define VFM_BRIDGE_PLACE_H

/*
 * Where the devices appear, and what vfmig-run tells the library of them.
 *
 * The numbers are ones that no machine uses: a PCI domain of our own, group
 * and character device from the same number on.  So a device of the bridge
 * never hides one of the machine.
 */

#include <stddef.h>

#define PLACE_MAX        16

/* Environment: the folder that stands in for parts of /sys and /dev, and the
 * servers' sockets, absolute, with colons in between. */
#define PLACE_ENV_TREE   "VFMIG_UAPI_TREE"
#define PLACE_ENV_SOCKET "VFMIG_UAPI_SOCKETS"
/* Set: a device is not reset when it is opened. */
#define PLACE_ENV_KEEP   "VFMIG_UAPI_KEEP"

/* Device @n, from 0: "5646:00:01.0", group and cdev 5646. */
#define PLACE_BDF        "5646:00:%02x.0"
#define PLACE_BDF_ARG(n) ((unsigned)(n) + 1)
#define PLACE_GROUP(n)   (5646 + (int)(n))

struct place {
    char socket[108];
    char bdf[16];
    int group;
};

#endif
