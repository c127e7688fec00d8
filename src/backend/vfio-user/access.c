/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses to regions on behalf of a guest: they are waited for, and do not
 * care what else is under way on the connection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"

static int make_access(struct client *c, bool write, struct device_access *a)
{
    struct pieces pieces;
    unsigned int failed;
    int ret = pieces_start(c, &pieces, write, a, 1);

    while (ret == 0) {
        ret = pieces_finish(c, &pieces, &failed);
        if (ret != -EAGAIN)
            break;
        client_wait(c, pieces_waited_for(&pieces));
        ret = 0;
    }
    pieces_end(&pieces);
    return ret;
}

int access_region(struct vfm_device *dev, bool write, uint32_t region,
                  uint64_t offset, void *buf, size_t len, struct vfm_error *err)
{
    struct client *c = device_client(dev);
    struct device_access a = {
        .region = region,
        .offset = offset,
        .buf = buf,
        .len = len,
    };
    int ret = make_access(c, write, &a);
    char what[80];

    if (ret == 0)
        return 0;
    snprintf(what, sizeof(what), "%s region %u at 0x%" PRIx64,
             write ? "write" : "read", region, offset);
    return client_error(c, err, ret, what);
}
