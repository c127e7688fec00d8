/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * One piece of outgoing bytes, gathered from where they are.
 */

#include "migration/outbox.h"

/* Parts that are handed to the channel in one call: what a socket takes at
 * once is in far fewer. */
#define SEND_PARTS 256

void outbox_begin(struct outbox *box)
{
    encoder_init(&box->head, box->head_buf, sizeof(box->head_buf));
    encoder_init(&box->tail, box->tail_buf, sizeof(box->tail_buf));
    box->body = NULL;
    box->body_parts = 0;
    box->body_len = 0;
    box->sent = 0;
    box->parts_sent = 0;
    box->bytes_sent = 0;
}

void outbox_set_body(struct outbox *box, const void *data, size_t len)
{
    box->one = (struct iovec){ (void *)data, len };
    outbox_set_parts(box, &box->one, 1, len);
}

void outbox_set_parts(struct outbox *box, const struct iovec *parts, int n,
                      size_t len)
{
    box->body = parts;
    box->body_parts = n;
    box->body_len = len;
}

static size_t total(const struct outbox *box)
{
    return box->head.len + box->body_len + box->tail.len;
}

bool outbox_is_empty(const struct outbox *box)
{
    return box->sent == total(box);
}

/* Adds @part to @iov, without the first *@skip bytes of it. */
static void add(struct iovec *iov, int *n, const void *base, size_t len,
                size_t *skip)
{
    if (*skip >= len) {
        *skip -= len;
        return;
    }
    iov[*n].iov_base = (char *)base + *skip;
    iov[*n].iov_len = len - *skip;
    *skip = 0;
    (*n)++;
}

/* Passes over the body's parts that were sent: they are not looked at again. */
static void forget_sent_parts(struct outbox *box)
{
    while (box->parts_sent < box->body_parts) {
        size_t end = box->bytes_sent + box->body[box->parts_sent].iov_len;

        if (box->head.len + end > box->sent)
            return;
        box->bytes_sent = end;
        box->parts_sent++;
    }
}

/* The parts of the piece that were not sent yet, or the first of them. */
static int gather(struct outbox *box, struct iovec iov[SEND_PARTS])
{
    size_t skip = box->sent;
    int n = 0;

    add(iov, &n, box->head.buf, box->head.len, &skip);
    forget_sent_parts(box);
    skip -= n == 0 ? box->bytes_sent : 0;
    for (int i = box->parts_sent; i < box->body_parts; i++) {
        if (n == SEND_PARTS)
            return n;
        add(iov, &n, box->body[i].iov_base, box->body[i].iov_len, &skip);
    }
    if (n < SEND_PARTS)
        add(iov, &n, box->tail.buf, box->tail.len, &skip);
    return n;
}

int outbox_send(struct outbox *box, struct vfm_channel *ch,
                struct vfm_error *err)
{
    struct iovec iov[SEND_PARTS];
    size_t len;
    int ret = encoder_finish(&box->head, &len, err);

    if (ret == 0)
        ret = encoder_finish(&box->tail, &len, err);
    while (ret == 0 && !outbox_is_empty(box)) {
        ssize_t n = vfm_channel_send(ch, iov, gather(box, iov), err);

        if (n < 0)
            ret = (int)n;
        else
            box->sent += (size_t)n;
    }
    return ret;
}
