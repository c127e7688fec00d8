/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets of a multifd channel with device state: of a VFIO device, whose
 * payload has a head of its own.
 */
#include <errno.h>
#include <inttypes.h>

#include "stream/expect.h"
#include "stream/multifd.h"
#include "util/bytes.h"

static const struct multifd_step step_device_data;
static const struct multifd_step step_device_config;

/* Where the fields are; the last three are the payload's head. */
#define DEVICE_NAME      12
#define DEVICE_INSTANCE  268
#define DEVICE_NEXT_SIZE 272
#define DEVICE_VERSION   276
#define DEVICE_INDEX     280
#define DEVICE_FLAGS     284

static bool is_config(const struct vfm_multifd_decoder *dec)
{
    return (dec->device_flags & DEVICE_PACKET_CONFIG) != 0;
}

static int check_size(struct vfm_multifd_decoder *dec, uint32_t size)
{
    uint64_t at = dec->packet + DEVICE_NEXT_SIZE;

    if (size < DEVICE_PACKET_HEAD_BYTES)
        return multifd_fail(
            dec, -EBADMSG, at,
            "a payload of %" PRIu32 " bytes is too short for its head", size);
    dec->size = size - DEVICE_PACKET_HEAD_BYTES;
    if (is_config(dec) && dec->size < VFIO_CONFIG_TAGS_BYTES)
        return multifd_fail(dec, -EBADMSG, at,
                            "a configuration record of %" PRIu32
                            " bytes is too short for its tags",
                            dec->size);
    if (is_config(dec) && dec->size > VFIO_CONFIG_MAX + VFIO_CONFIG_TAGS_BYTES)
        return multifd_fail(dec, -E2BIG, at,
                            "a configuration record of %" PRIu32
                            " bytes is above the limit of %d",
                            dec->size, VFIO_CONFIG_MAX);
    if (!is_config(dec) && dec->size > dec->options.max_device_data)
        return multifd_fail(dec, -E2BIG, at,
                            "%" PRIu32 " bytes of device data in a packet are "
                            "above the limit of %" PRIu32,
                            dec->size, dec->options.max_device_data);
    return 0;
}

static int check_head(struct vfm_multifd_decoder *dec, const uint8_t *p)
{
    if (!multifd_copy_name(dec, p + DEVICE_NAME))
        return multifd_fail(dec, -EBADMSG, dec->packet + DEVICE_NAME,
                            "the section's name has no end, or bytes that no "
                            "name has");
    if (get_be32(p + DEVICE_VERSION) != DEVICE_PACKET_VERSION)
        return multifd_fail(dec, -EBADMSG, dec->packet + DEVICE_VERSION,
                            "version %" PRIu32
                            " of a device's packet is not known",
                            get_be32(p + DEVICE_VERSION));
    if (dec->index == DEVICE_PACKET_NO_INDEX)
        return multifd_fail(dec, -EBADMSG, dec->packet + DEVICE_INDEX,
                            "a device's packet has no index");
    return 0;
}

static void device_event(const struct vfm_multifd_decoder *dec,
                         struct vfm_multifd_event *ev,
                         enum vfm_multifd_event_type type, uint64_t offset)
{
    *ev = (struct vfm_multifd_event){ .type = type, .offset = offset };
    ev->u.device.name = dec->name;
    ev->u.device.instance_id = dec->instance_id;
    ev->u.device.index = dec->index;
    ev->u.device.flags = dec->device_flags;
    ev->u.device.size = dec->size;
    ev->u.device.remaining = dec->remaining;
}

static int run_device(struct vfm_multifd_decoder *dec,
                      struct vfm_multifd_event *ev)
{
    const uint8_t *p;
    size_t len = MULTIFD_DEVICE_HEAD_BYTES;
    uint32_t size;
    int ret = input_need(&dec->in, len, &p);

    if (ret <= 0)
        return ret;
    size = get_be32(p + DEVICE_NEXT_SIZE);
    if (size >= DEVICE_PACKET_HEAD_BYTES) {
        len += DEVICE_PACKET_HEAD_BYTES;
        ret = input_need(&dec->in, len, &p);
        if (ret <= 0)
            return ret;
        dec->index = get_be32(p + DEVICE_INDEX);
        dec->device_flags = get_be32(p + DEVICE_FLAGS);
    }
    ret = check_size(dec, size);
    if (ret == 0)
        ret = check_head(dec, p);
    if (ret < 0)
        return ret;

    dec->instance_id = get_be32(p + DEVICE_INSTANCE);
    dec->remaining = dec->size;
    input_consume(&dec->in, len);
    if (is_config(dec))
        return multifd_go(dec, &step_device_config, STEP_AGAIN);
    device_event(dec, ev, VFM_MULTIFD_DEVICE, dec->packet);
    return multifd_go(
        dec, dec->remaining > 0 ? &step_device_data : &multifd_step_packet,
        STEP_EVENT);
}

const struct multifd_step multifd_step_device = { "a packet of device state",
                                                  run_device };

static int run_device_data(struct vfm_multifd_decoder *dec,
                           struct vfm_multifd_event *ev)
{
    uint64_t at = dec->in.offset;
    const uint8_t *p;
    size_t len = input_take(&dec->in, dec->remaining, &p);

    if (len == 0)
        return STEP_MORE;
    dec->remaining -= (uint32_t)len;
    device_event(dec, ev, VFM_MULTIFD_DEVICE_DATA, at);
    ev->data = p;
    ev->len = len;
    return multifd_go(
        dec, dec->remaining > 0 ? &step_device_data : &multifd_step_packet,
        STEP_EVENT);
}

static const struct multifd_step step_device_data = { "device data",
                                                      run_device_data };

uint64_t multifd_data_expected(const struct vfm_multifd_decoder *dec)
{
    if (dec->error.code != 0 || dec->step != &step_device_data)
        return 0;
    return dec->remaining;
}

static int run_device_config(struct vfm_multifd_decoder *dec,
                             struct vfm_multifd_event *ev)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, dec->size, &p);

    if (ret <= 0)
        return ret;
    if (get_be64(p) != VFIO_TAG_CONFIG ||
        get_be64(p + dec->size - VFIO_TAG_BYTES) != VFIO_TAG_END_OF_STATE)
        return multifd_fail(dec, -EBADMSG, dec->in.offset,
                            "a configuration record is not between its tags");
    input_consume(&dec->in, dec->size);
    dec->remaining = 0;
    device_event(dec, ev, VFM_MULTIFD_DEVICE_CONFIG, dec->packet);
    ev->data = p + VFIO_TAG_BYTES;
    ev->len = dec->size - VFIO_CONFIG_TAGS_BYTES;
    return multifd_go(dec, &multifd_step_packet, STEP_EVENT);
}

static const struct multifd_step step_device_config = {
    "a configuration record", run_device_config
};
