/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_MULTIFD_H
#define VFM_SRC_STREAM_MULTIFD_H

/*
 * The decoder of a multifd channel: steps, as in decoder.h.
 *
 *   multifd.c         its life, the first packet, the kind of a packet
 *   multifd-ram.c     packets with guest pages, barriers
 *   multifd-device.c  packets with device state
 */

#include <vfmig/stream.h>

#include "stream/format.h"
#include "stream/input.h"
#include "stream/step.h"

/* Of the smallest page, in one packet. */
#define MULTIFD_PAGES_MAX (MULTIFD_PACKET_COVERS / 1024)

struct multifd_step {
    const char *inside; /* as in struct step */
    int (*run)(struct vfm_multifd_decoder *dec, struct vfm_multifd_event *ev);
};

struct vfm_multifd_decoder {
    struct vfm_multifd_options options;
    struct vfm_error error; /* the first one; code 0: none */
    struct input in;
    uint64_t taken;
    const struct multifd_step *step;

    /* The packet we are in.  The event's texts point here. */
    uint64_t packet; /* where it begins */
    uint32_t flags;
    char name[MULTIFD_NAME_BYTES];
    uint8_t uuid[16];
    uint32_t remaining; /* of its bulk data */

    uint64_t packet_number;
    uint32_t num_normal;
    uint32_t num_zero;
    uint64_t addresses[MULTIFD_PAGES_MAX];

    uint32_t instance_id;
    uint32_t index;
    uint32_t device_flags;
    uint32_t size;
};

extern const struct multifd_step multifd_step_packet;
extern const struct multifd_step multifd_step_ram;
extern const struct multifd_step multifd_step_device;

/* Fails with "offset N: " and the rest. */
__attribute__((format(printf, 4, 5))) int multifd_fail(
    struct vfm_multifd_decoder *dec, int code, uint64_t offset, const char *fmt,
    ...);

static inline int multifd_go(struct vfm_multifd_decoder *dec,
                             const struct multifd_step *step, int ret)
{
    dec->step = step;
    return ret;
}

/* Copies a name padded with zeroes to MULTIFD_NAME_BYTES; false if it has no
 * end or bytes that no name has. */
bool multifd_copy_name(struct vfm_multifd_decoder *dec, const uint8_t *from);

#endif
