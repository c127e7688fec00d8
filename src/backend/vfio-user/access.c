/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses to regions on behalf of a guest: they are waited for, and do not
 * care what else is under way on the connection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "backend/vfio-user/client.h"

void access_describe(const struct device_access *a, bool write, char *text,
                     size_t size)
{
    snprintf(text, size, "%s region %u at 0x%" PRIx64, write ? "write" : "read",
             a->region, a->offset);
}

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
    access_describe(&a, write, what, sizeof(what));
    return client_error(c, err, ret, what);
}
