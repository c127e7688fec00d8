/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_LANDING_H
#define VFM_SRC_MIGRATION_LANDING_H

/*
 * Device data that is received where its device takes it from, without the
 * inbox between: device_room().
 *
 * It begins where the decoder expects nothing but data.  What the inbox holds
 * of that goes first; then each call receives into the room and, for what
 * follows the data, into the inbox, which is as much as saves a call.  The
 * decoder is shown the room in place of the inbox once it is full, or holds
 * enough while no more is there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/device.h"
#include "migration/inbox.h"

/* What is received of what follows the data: heads of sections and packets.  Of
 * data that is among it, this much is copied. */
#define LOOK_AHEAD ((size_t)1024)

struct landing {
    uint8_t *room; /* NULL: there is none */
    size_t size;   /* of it, as far as data is expected */
    size_t have;
    bool ready; /* to be decoded and written */
    bool noted; /* its bytes were counted */
};

/* Begins one if @dev has room for some of the @expected bytes of data that come
 * next.  Returns 1 if there is one now, 0 if the inbox must do, -EAGAIN if the
 * device has no room for the moment, or an error. */
int landing_begin(struct landing *l, struct vfm_device *dev, uint64_t expected,
                  struct inbox *in, struct vfm_error *err);

/* Receives until it is ready.  Returns 1 then, 0 if the peer sends no more,
 * -EAGAIN, or an error.  *@came: whether any bytes did. */
int landing_fill(struct landing *l, struct inbox *in, struct vfm_channel *ch,
                 bool *came, struct vfm_error *err);

/* Whether @data is what lies there. */
static inline bool landing_holds(const struct landing *l, const void *data)
{
    return l->ready && data == l->room;
}

#endif
