/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of the return path and of the handover.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "migration/message.h"
#include "util/bytes.h"
#include "util/error.h"

#define FRAME_SIZE 4

void message_put(struct outbox *box, enum message_type type,
                 const void *payload, size_t len)
{
    uint8_t *frame = box->head_buf;

    if (len > MESSAGE_MAX)
        len = MESSAGE_MAX;
    outbox_begin(box);
    put_be16(frame, (uint16_t)type);
    put_be16(frame + 2, (uint16_t)len);
    if (len > 0)
        memcpy(frame + FRAME_SIZE, payload, len);
    box->head.len = FRAME_SIZE + len;
}

void message_put_u64(struct outbox *box, enum message_type type, unsigned int n,
                     uint64_t a, uint64_t b)
{
    uint8_t payload[16];

    put_be64(payload, a);
    put_be64(payload + 8, b);
    message_put(box, type, payload, n * sizeof(uint64_t));
}

int message_next(struct inbox *in, struct message *msg, struct vfm_error *err)
{
    const uint8_t *frame = inbox_data(in);

    if (inbox_len(in) < FRAME_SIZE)
        return 0;
    msg->type = (enum message_type)get_be16(frame);
    msg->len = get_be16(frame + 2);
    msg->payload = frame + FRAME_SIZE;
    if (msg->len > MESSAGE_MAX)
        return error_set(err, -EPROTO,
                         "peer: message 0x%04x of %u bytes is too long",
                         (unsigned int)msg->type, msg->len);
    if (inbox_len(in) < FRAME_SIZE + (size_t)msg->len)
        return 0;
    inbox_use(in, FRAME_SIZE + (size_t)msg->len);
    return 1;
}

uint64_t message_u64(const struct message *msg, unsigned int n)
{
    size_t offset = n * sizeof(uint64_t);

    return msg->len < offset + sizeof(uint64_t)
               ? 0
               : get_be64(msg->payload + offset);
}

void message_text(const struct message *msg, char *text, size_t size)
{
    snprintf(text, size, "%.*s", (int)msg->len, (const char *)msg->payload);
}
