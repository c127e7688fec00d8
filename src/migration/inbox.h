/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_INBOX_H
#define VFM_SRC_MIGRATION_INBOX_H

/*
 * What was received and not yet used: one buffer of a fixed size, whatever the
 * peer sends.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/channel.h>

struct inbox {
    uint8_t *buf;
    size_t size;
    size_t start;
    size_t end;
    size_t most; /* to receive at once; 0: as much as there is room for */
    bool ended;  /* the peer sends no more */
};

/* Returns 0 or -ENOMEM. */
int inbox_init(struct inbox *in, size_t size);
void inbox_close(struct inbox *in);

static inline const uint8_t *inbox_data(const struct inbox *in)
{
    return in->buf + in->start;
}

static inline size_t inbox_len(const struct inbox *in)
{
    return in->end - in->start;
}

static inline void inbox_use(struct inbox *in, size_t len)
{
    in->start += len;
}

/* Receives once.  Returns how many bytes came, 0 if the peer sends no more,
 * -EAGAIN, -ENOBUFS if there is no room, or an error. */
ssize_t inbox_fill(struct inbox *in, struct vfm_channel *ch,
                   struct vfm_error *err);

#endif
