/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loading session: MIG_DATA_WRITEs, several under way.
 *
 * The first refusal fails the session.  It may come while later writes are
 * under way; their answers are received and mean nothing.
 */
#include <errno.h>
#include <string.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"

static void answered(struct client *c, struct request *req)
{
    struct write_slot *slot = (struct write_slot *)req;

    if (req->error < 0 && !slot->stale && c->writer.failure.code == 0)
        client_error(c, &c->writer.failure, req->error, "write its state");
}

static struct write_slot *find_free(struct client *c)
{
    bool by_area = c->area.base != NULL;
    uint32_t depth = by_area ? c->area.slots : c->write_depth;

    for (uint32_t i = 0; i < depth; i++)
        if (!c->writer.slots[i].req.outstanding &&
            &c->writer.slots[i] != c->writer.room &&
            (!by_area || area_slot_is_free(c, i)))
            return &c->writer.slots[i];
    return NULL;
}

static uint8_t *slot_data(const struct client *c, const struct write_slot *slot)
{
    return area_slot(c, (unsigned int)(slot - c->writer.slots));
}

static bool is_in_room(const struct client *c, const void *data)
{
    return c->writer.room != NULL && data == slot_data(c, c->writer.room);
}

static int send_area_write(struct client *c, struct write_slot *slot,
                           const void *data, size_t len)
{
    unsigned int i = (unsigned int)(slot - c->writer.slots);
    struct vfu_mig_area_data head = area_request(c, i, len);
    struct iovec part = { &head, sizeof(head) };

    if (slot != c->writer.room)
        memcpy(area_slot(c, i), data, len);
    return client_try_send(c, &slot->req, VFU_MIG_AREA_WRITE, &part, 1);
}

static int send_data_write(struct client *c, struct write_slot *slot,
                           const void *data, size_t len)
{
    struct vfu_mig_data head = {
        .argsz = (uint32_t)(sizeof(head) + len),
        .size = (uint32_t)len,
    };
    struct iovec parts[] = {
        { &head, sizeof(head) },
        { (void *)data, len },
    };

    return client_try_send(c, &slot->req, VFU_MIG_DATA_WRITE, parts, 2);
}

static int send_write(struct client *c, struct write_slot *slot,
                      const void *data, size_t len)
{
    slot->stale = false;
    slot->req.timeout_ms = c->settings.data_timeout_ms;
    slot->req.is_data = true;
    slot->req.done = answered;
    return c->area.base != NULL ? send_area_write(c, slot, data, len)
                                : send_data_write(c, slot, data, len);
}

/* The error that ended the session or the connection, or 0. */
static int session_error(struct client *c, struct vfm_error *err)
{
    const struct vfm_error *failure = &c->writer.failure;

    if (c->lost.code != 0)
        return client_error(c, err, c->lost.code, "write its state");
    if (failure->code != 0)
        return error_set(err, failure->code, "%s", failure->message);
    return 0;
}

/* Finds a slot for the next write.  Returns 0, -EAGAIN or an error. */
static int take_slot(struct client *c, struct write_slot **slot,
                     struct vfm_error *err)
{
    int ret;

    *slot = find_free(c);
    if (*slot == NULL) {
        client_pump(c);
        *slot = find_free(c);
    }
    ret = session_error(c, err);
    if (ret < 0)
        return ret;
    return *slot == NULL ? -EAGAIN : 0;
}

ssize_t writer_write(struct vfm_device *dev, const void *data, size_t len,
                     struct vfm_error *err)
{
    struct client *c = device_client(dev);
    struct write_slot *slot = is_in_room(c, data) ? c->writer.room : NULL;
    int ret;

    c->wants_room = false;
    if (len == 0)
        return 0;
    ret = slot != NULL ? session_error(c, err) : take_slot(c, &slot, err);
    if (ret < 0)
        return ret;

    if (len > c->write_size)
        len = c->write_size;
    ret = send_write(c, slot, data, len);
    if (ret == -EAGAIN) {
        c->wants_room = true;
        return ret;
    }
    if (ret < 0)
        return client_error(c, err, ret, "write its state");
    if (slot == c->writer.room)
        c->writer.room = NULL;
    return (ssize_t)len;
}

ssize_t writer_room(struct vfm_device *dev, void **room, struct vfm_error *err)
{
    struct client *c = device_client(dev);
    struct write_slot *slot;
    int ret;

    if (c->area.base == NULL)
        return 0;
    c->wants_room = false;
    if (c->writer.room == NULL) {
        ret = take_slot(c, &slot, err);
        if (ret < 0)
            return ret;
        c->writer.room = slot;
    }
    *room = slot_data(c, c->writer.room);
    return c->write_size;
}

int writer_flush(struct vfm_device *dev, struct vfm_error *err)
{
    struct client *c = device_client(dev);
    int ret;

    client_pump(c);
    ret = session_error(c, err);
    if (ret < 0)
        return ret;
    for (int i = 0; i < MAX_DEPTH; i++)
        if (c->writer.slots[i].req.outstanding && !c->writer.slots[i].stale)
            return -EAGAIN;
    return 0;
}

void writer_end(struct client *c)
{
    for (int i = 0; i < MAX_DEPTH; i++)
        c->writer.slots[i].stale = true;
    c->writer.room = NULL;
    c->writer.failure = (struct vfm_error){ 0 };
    c->wants_room = false;
}
