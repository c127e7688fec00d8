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

struct access {
    struct vfu_region_access where;
    uint8_t *data; /* where->count bytes */
};

static int write_piece(struct client *c, const struct access *a)
{
    struct request req = { .timeout_ms = c->settings.command_timeout_ms };
    struct iovec parts[] = {
        { (void *)&a->where, sizeof(a->where) },
        { a->data, a->where.count },
    };
    int ret = client_send(c, &req, VFU_REGION_WRITE, parts, 2, NULL, 0);

    return ret == 0 ? client_wait(c, &req) : ret;
}

static int read_piece(struct client *c, const struct access *a, uint8_t *buf)
{
    size_t size = sizeof(a->where) + a->where.count;
    ssize_t n = client_command(c, VFU_REGION_READ, &a->where, sizeof(a->where),
                               buf, size);

    if (n < 0)
        return (int)n;
    if ((size_t)n < size)
        return client_lose(c, -EPROTO, "REGION_READ of %u answered by %zd",
                           a->where.count, n);
    memcpy(a->data, buf + sizeof(a->where), a->where.count);
    return 0;
}

/* Writes if there is no buffer to read answers into. */
static int do_pieces(struct client *c, struct access *a, size_t len,
                     uint32_t most, uint8_t *buf)
{
    int ret = 0;

    while (ret == 0 && len > 0) {
        a->where.count = len < most ? (uint32_t)len : most;
        ret = buf == NULL ? write_piece(c, a) : read_piece(c, a, buf);
        a->where.offset += a->where.count;
        a->data += a->where.count;
        len -= a->where.count;
    }
    return ret;
}

static uint32_t piece_size(const struct client *c, bool write)
{
    uint32_t most = write ? MAX_REGION_WRITE : c->offered_transfer;

    return c->max_transfer < most ? c->max_transfer : most;
}

int access_region(struct vfm_device *dev, bool write, uint32_t region,
                  uint64_t offset, void *buf, size_t len, struct vfm_error *err)
{
    struct client *c = device_client(dev);
    uint32_t most = piece_size(c, write);
    struct access a = { { .offset = offset, .region = region }, buf };
    uint8_t *reply = NULL;
    char what[80];
    int ret;

    if (!write) {
        reply = malloc(sizeof(a.where) + (len < most ? len : most));
        if (reply == NULL)
            return error_set(err, -ENOMEM, "%s: out of memory", c->name);
    }
    ret = do_pieces(c, &a, len, most, reply);
    free(reply);
    if (ret == 0)
        return 0;
    snprintf(what, sizeof(what), "%s region %u at 0x%" PRIx64,
             write ? "write" : "read", region, offset);
    return client_error(c, err, ret, what);
}
