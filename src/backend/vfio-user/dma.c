/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands of the server: reads and writes of memory that the device cannot
 * reach by itself.  They come on the main socket, between a request of ours
 * and its reply, or on the twin, and are answered where they came from.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/vfio-user/client.h"
#include "util/options.h"

static unsigned int wire_index(const struct client *c, const struct wire *w)
{
    return w == &c->twin;
}

/* The longest body a command may have: a write of as much as we allow. */
static size_t max_body(const struct client *c)
{
    return sizeof(struct vfu_dma_access) + c->offered_transfer;
}

int dma_begin(struct client *c, struct wire *w)
{
    unsigned int i = wire_index(c, w);
    size_t size = w->body_size;

    if (size > max_body(c))
        return client_lose(c, -EPROTO, "command %u of the server has %u bytes",
                           w->header.command, w->header.size);
    if (size > c->dma_cap[i]) {
        uint8_t *buf = realloc(c->dma_buf[i], size);

        if (buf == NULL)
            return client_lose(c, -ENOMEM, "out of memory for a command");
        c->dma_buf[i] = buf;
        c->dma_cap[i] = size;
    }
    wire_expect_body(w, c->dma_buf[i], size);
    return 0;
}

/* Answers the command in @w: with @size bytes at @body, or the error. */
static int answer(struct client *c, struct wire *w, int error,
                  const struct vfu_dma_access *access, const void *data,
                  size_t size)
{
    struct vfu_header header = {
        .id = w->header.id,
        .command = w->header.command,
        .size = sizeof(header),
        .flags = VFU_TYPE_REPLY,
    };
    struct iovec parts[] = {
        { &header, sizeof(header) },
        { (void *)access, sizeof(*access) },
        { (void *)data, size },
    };
    int num_parts = 3;
    int ret;

    if ((w->header.flags & VFU_FLAG_NO_REPLY) != 0)
        return 0;
    if (error < 0) {
        num_parts = 1;
        header.flags |= VFU_FLAG_ERROR;
        header.error = (uint32_t)-error;
    } else {
        header.size += (uint32_t)(sizeof(*access) + size);
    }
    ret = wire_send(w, parts, num_parts, NULL, 0);
    if (ret < 0)
        client_lose(c, ret, "sending failed: %s", strerror(-ret));
    return ret;
}

static int serve_read(struct client *c, struct wire *w,
                      const struct vfu_dma_access *access)
{
    uint8_t *data;
    int ret;

    if (w->body_size != sizeof(*access) || access->count == 0 ||
        access->count > c->offered_transfer)
        return answer(c, w, -EINVAL, NULL, NULL, 0);
    if (c->dma_ops.read == NULL)
        return answer(c, w, -EFAULT, NULL, NULL, 0);
    data = calloc(1, access->count);
    if (data == NULL)
        return answer(c, w, -ENOMEM, NULL, NULL, 0);

    ret = c->dma_ops.read(c->dma_opaque, access->iova, data, access->count);
    ret = answer(c, w, ret, access, data, access->count);
    free(data);
    return ret;
}

static int serve_write(struct client *c, struct wire *w,
                       const struct vfu_dma_access *access, const void *data)
{
    int ret;

    if (w->body_size - sizeof(*access) != access->count || access->count == 0)
        return answer(c, w, -EINVAL, NULL, NULL, 0);
    if (c->dma_ops.write == NULL)
        return answer(c, w, -EFAULT, NULL, NULL, 0);

    log_note_write(c, access->iova, access->count);
    ret = c->dma_ops.write(c->dma_opaque, access->iova, data, access->count);
    return answer(c, w, ret, access, NULL, 0);
}

int dma_serve(struct client *c, struct wire *w)
{
    const uint8_t *body = c->dma_buf[wire_index(c, w)];
    uint16_t command = w->header.command;
    struct vfu_dma_access access;

    if (command != VFU_DMA_READ && command != VFU_DMA_WRITE)
        return answer(c, w, -EOPNOTSUPP, NULL, NULL, 0);
    if (w->body_size < sizeof(access))
        return answer(c, w, -EINVAL, NULL, NULL, 0);
    memcpy(&access, body, sizeof(access));
    if (access.iova + access.count < access.iova)
        return answer(c, w, -EINVAL, NULL, NULL, 0);

    if (command == VFU_DMA_READ)
        return serve_read(c, w, &access);
    return serve_write(c, w, &access, body + sizeof(access));
}

int vfm_vfio_user_set_dma_ops(struct vfm_device *dev,
                              const struct vfm_dma_ops *ops, void *opaque,
                              struct vfm_error *err)
{
    struct vfm_dma_ops ours;
    struct client *c;
    int ret = client_of(dev, &c, err);

    if (ret == 0)
        ret = options_copy(&ours, sizeof(ours), ops, dev->name, err);
    if (ret < 0)
        return ret;
    c->dma_ops = ours;
    c->dma_opaque = opaque;
    return 0;
}
