/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets of a multifd channel with guest pages, and barriers.  Which blocks
 * there are and how long they are stands in the main stream.
 */
#include <errno.h>
#include <inttypes.h>

#include "stream/multifd.h"
#include "util/bytes.h"

static const struct multifd_step step_sync;
static const struct multifd_step step_ram_data;

/* Where the fields are. */
#define RAM_PAGES_ALLOC   12
#define RAM_NORMAL        16
#define RAM_NEXT_SIZE     20
#define RAM_PACKET_NUMBER 24
#define RAM_ZERO          32
#define RAM_NAME          64

/* Numbers of pages, each bounded before it is used with the next. */
static int read_counts(struct vfm_multifd_decoder *dec, const uint8_t *p,
                       uint32_t pages)
{
    uint32_t alloc = get_be32(p + RAM_PAGES_ALLOC);

    dec->num_normal = get_be32(p + RAM_NORMAL);
    dec->num_zero = get_be32(p + RAM_ZERO);
    if (alloc > pages || dec->num_normal > alloc ||
        dec->num_zero > alloc - dec->num_normal)
        return multifd_fail(dec, -EBADMSG, dec->packet + RAM_PAGES_ALLOC,
                            "%" PRIu32 " and %" PRIu32 " pages of %" PRIu32
                            " in a packet for %" PRIu32,
                            dec->num_normal, dec->num_zero, alloc, pages);
    dec->remaining = dec->num_normal * dec->options.page_size;
    if (get_be32(p + RAM_NEXT_SIZE) != dec->remaining)
        return multifd_fail(dec, -EBADMSG, dec->packet + RAM_NEXT_SIZE,
                            "%" PRIu32 " bytes are said to follow, but %" PRIu32
                            " pages do",
                            get_be32(p + RAM_NEXT_SIZE), dec->num_normal);
    return 0;
}

static int read_pages(struct vfm_multifd_decoder *dec, const uint8_t *p)
{
    uint32_t count = dec->num_normal + dec->num_zero;

    if (count > 0 && !multifd_copy_name(dec, p + RAM_NAME))
        return multifd_fail(dec, -EBADMSG, dec->packet + RAM_NAME,
                            "the block's name has no end, or bytes that no "
                            "name has");
    for (uint32_t i = 0; i < count; i++) {
        dec->addresses[i] = get_be64(p + MULTIFD_RAM_HEAD_BYTES + 8 * i);
        if (dec->addresses[i] % dec->options.page_size != 0)
            return multifd_fail(
                dec, -EBADMSG, dec->packet + MULTIFD_RAM_HEAD_BYTES + 8 * i,
                "0x%" PRIx64 " is no address of a page", dec->addresses[i]);
    }
    return 0;
}

static void ram_event(const struct vfm_multifd_decoder *dec,
                      struct vfm_multifd_event *ev,
                      enum vfm_multifd_event_type type)
{
    *ev = (struct vfm_multifd_event){ .type = type, .offset = dec->packet };
    ev->u.ram.block = dec->name;
    ev->u.ram.packet_number = dec->packet_number;
    ev->u.ram.addresses = dec->addresses;
    ev->u.ram.normal = dec->num_normal;
    ev->u.ram.zero = dec->num_zero;
    ev->u.ram.size = dec->num_normal * dec->options.page_size;
}

/* What follows the bulk of a packet. */
static const struct multifd_step *after_data(
    const struct vfm_multifd_decoder *dec)
{
    return (dec->flags & MULTIFD_FLAG_SYNC) != 0 ? &step_sync
                                                 : &multifd_step_packet;
}

static int run_ram(struct vfm_multifd_decoder *dec,
                   struct vfm_multifd_event *ev)
{
    uint32_t pages = MULTIFD_PACKET_COVERS / dec->options.page_size;
    size_t len = MULTIFD_RAM_HEAD_BYTES + 8 * (size_t)pages;
    const uint8_t *p;
    int ret = input_need(&dec->in, len, &p);

    if (ret <= 0)
        return ret;
    ret = read_counts(dec, p, pages);
    if (ret == 0)
        ret = read_pages(dec, p);
    if (ret < 0)
        return ret;
    dec->packet_number = get_be64(p + RAM_PACKET_NUMBER);
    input_consume(&dec->in, len);

    /* Old senders put pages into a barrier's packet. */
    if (dec->num_normal + dec->num_zero == 0)
        return multifd_go(dec, after_data(dec), STEP_AGAIN);
    ram_event(dec, ev, VFM_MULTIFD_RAM);
    return multifd_go(
        dec, dec->remaining > 0 ? &step_ram_data : after_data(dec), STEP_EVENT);
}

const struct multifd_step multifd_step_ram = { "a packet of pages", run_ram };

static int run_ram_data(struct vfm_multifd_decoder *dec,
                        struct vfm_multifd_event *ev)
{
    uint64_t at = dec->in.offset;
    const uint8_t *p;
    size_t len = input_take(&dec->in, dec->remaining, &p);

    if (len == 0)
        return STEP_MORE;
    dec->remaining -= (uint32_t)len;
    ram_event(dec, ev, VFM_MULTIFD_RAM_DATA);
    ev->offset = at;
    ev->data = p;
    ev->len = len;
    return multifd_go(
        dec, dec->remaining > 0 ? &step_ram_data : after_data(dec), STEP_EVENT);
}

static const struct multifd_step step_ram_data = { "pages", run_ram_data };

static int run_sync(struct vfm_multifd_decoder *dec,
                    struct vfm_multifd_event *ev)
{
    *ev = (struct vfm_multifd_event){ .type = VFM_MULTIFD_SYNC,
                                      .offset = dec->packet };
    ev->u.ram.packet_number = dec->packet_number;
    return multifd_go(dec, &multifd_step_packet, STEP_EVENT);
}

static const struct multifd_step step_sync = { "a barrier", run_sync };
