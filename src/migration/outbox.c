/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * One piece of outgoing bytes, gathered from three places.
 */
#include <errno.h>

#include "migration/outbox.h"

void outbox_begin(struct outbox *box)
{
    encoder_init(&box->head, box->head_buf, sizeof(box->head_buf));
    encoder_init(&box->tail, box->tail_buf, sizeof(box->tail_buf));
    box->body = NULL;
    box->body_len = 0;
    box->sent = 0;
}

static size_t total(const struct outbox *box)
{
    return box->head.len + box->body_len + box->tail.len;
}

bool outbox_is_empty(const struct outbox *box)
{
    return box->sent == total(box);
}

/* The parts of the piece that were not sent yet. */
static int gather(const struct outbox *box, struct iovec iov[3])
{
    const struct iovec parts[3] = {
        { (void *)box->head.buf, box->head.len },
        { (void *)box->body, box->body_len },
        { (void *)box->tail.buf, box->tail.len },
    };
    size_t skip = box->sent;
    int n = 0;

    for (int i = 0; i < 3; i++) {
        if (skip >= parts[i].iov_len) {
            skip -= parts[i].iov_len;
            continue;
        }
        iov[n].iov_base = (char *)parts[i].iov_base + skip;
        iov[n].iov_len = parts[i].iov_len - skip;
        skip = 0;
        n++;
    }
    return n;
}

int outbox_send(struct outbox *box, struct vfm_channel *ch,
                struct vfm_error *err)
{
    struct iovec iov[3];
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
