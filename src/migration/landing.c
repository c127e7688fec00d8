/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving into a device's own memory.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "channel/channel.h"
#include "migration/landing.h"

/* Less is not worth a message to the device while more is on its way. */
#define ENOUGH ((size_t)128 << 10)

static void take_from_inbox(struct landing *l, struct inbox *in)
{
    size_t n = inbox_len(in);

    if (n > l->size - l->have)
        n = l->size - l->have;
    memcpy(l->room + l->have, inbox_data(in), n);
    inbox_use(in, n);
    l->have += n;
    l->ready = l->have == l->size;
}

int landing_begin(struct landing *l, struct vfm_device *dev, uint64_t expected,
                  struct inbox *in, struct vfm_error *err)
{
    void *room;
    ssize_t size;

    if (l->room != NULL)
        return 1;
    size = device_room(dev, &room, err);
    if (size <= 0)
        return (int)size;
    *l = (struct landing){
        .room = room,
        .size = expected < (size_t)size ? (size_t)expected : (size_t)size,
    };
    take_from_inbox(l, in);
    in->most = LOOK_AHEAD;
    return 1;
}

static void add(struct landing *l, struct inbox *in, size_t n)
{
    size_t here = n < l->size - l->have ? n : l->size - l->have;

    l->have += here;
    in->end += n - here;
    l->ready = l->have == l->size;
}

int landing_fill(struct landing *l, struct inbox *in, struct vfm_channel *ch,
                 bool *came, struct vfm_error *err)
{
    *came = false;
    while (!l->ready) {
        struct iovec parts[] = {
            { l->room + l->have, l->size - l->have },
            { in->buf, in->size < LOOK_AHEAD ? in->size : LOOK_AHEAD },
        };
        ssize_t n;

        /* All that was there went into the room, or it would be ready. */
        assert(inbox_len(in) == 0);
        in->start = in->end = 0;
        n = in->ended ? 0 : channel_recvv(ch, parts, 2, err);
        if (n > 0) {
            *came = true;
            add(l, in, (size_t)n);
            continue;
        }
        in->ended = n == 0;
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        l->ready = l->have >= (n == 0 ? 1 : ENOUGH);
        if (!l->ready)
            return (int)n;
    }
    return 1;
}
