/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A multifd channel: the device-state packets of the migration's devices go to
 * it in the order of their numbers, all else is kept.
 *
 * A QEMU numbers a device's packets as it queues them, and each channel carries
 * them in that order.  So the packet that is next is always the first of some
 * channel, and a channel whose first packet is not next can be left alone.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pump.h"
#include "util/error.h"

#define MARK_BYTES  ((size_t)128 << 10)

/* Packets are taken in order: none is ahead of the one that is missing. */
#define WINDOW_SPAN 1

static int fail(const struct pump_channel *ch, int ret,
                const struct vfm_error *why, struct vfm_error *err)
{
    return error_set(err, ret, "%s: %s", vfm_channel_name(ch->tap.from),
                     why->message);
}

static int take_init(struct pump *p, struct pump_channel *ch,
                     struct vfm_error *err)
{
    unsigned int number = ch->ev.u.init.channel;

    if (p->numbers[number])
        return error_set(err, -EPROTO,
                         "offset 0: a second channel of the number %u", number);
    p->numbers[number] = true;
    return 1;
}

/* Whether the packet's turn has come; 1, 0, or an error. */
static int is_next(struct pump *p, struct pump_channel *ch,
                   struct vfm_error *err)
{
    struct pump_device *dev = ch->device;
    uint32_t index = ch->ev.u.device.index;
    uint32_t next;
    int ret = 0;

    if (dev->window == NULL)
        ret = vfm_multifd_window_new(WINDOW_SPAN, &dev->window, err);
    if (ret < 0)
        return ret;
    next = vfm_multifd_window_next(dev->window);
    if (dev->config != NULL || index < next)
        return error_set(err, -EPROTO,
                         "offset %" PRIu64 ": packet %" PRIu32
                         " of '%s' after its configuration, or a second time",
                         ch->ev.offset, index, dev->section);
    if (p->over && !p->started)
        return error_set(err, -EPROTO,
                         "offset %" PRIu64
                         ": packets of '%s', but no SWITCHOVER_START came: it "
                         "is not known when they are to be loaded",
                         ch->ev.offset, dev->section);
    return p->started && dev->begun && index == next;
}

/* The first piece of a packet decides what becomes of all of it. */
static int begin_packet(struct pump *p, struct pump_channel *ch,
                        struct vfm_error *err)
{
    const struct vfm_multifd_event *ev = &ch->ev;
    bool config = ev->type == VFM_MULTIFD_DEVICE_CONFIG;
    int ret;

    ch->device =
        ev->u.device.instance_id == 0 ? pump_find(p, ev->u.device.name) : NULL;
    if (ch->device == NULL)
        return tap_mark(&ch->tap, ev->offset, true, err) < 0 ? -EIO : 1;
    ret = is_next(p, ch, err);
    ch->stuck = ret == 0;
    if (ret <= 0)
        return ret;
    if (p->feed.owner != NULL)
        return 0;
    ret = vfm_multifd_window_add(ch->device->window, ev->u.device.index, config,
                                 err);
    if (ret == 0)
        ret = tap_mark(&ch->tap, ev->offset, false, err);
    if (ret < 0)
        return ret;
    if (!config && ev->u.device.size > 0)
        feed_record(p, ch->device, ch, ev->u.device.size);
    return 1;
}

static int take_config(struct pump *p, struct pump_channel *ch,
                       struct vfm_error *err)
{
    int ret = begin_packet(p, ch, err);
    struct pump_device *dev = ch->device;

    if (ret <= 0 || dev == NULL)
        return ret;
    dev->config = malloc(ch->ev.len + 1);
    if (dev->config == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory",
                         vfm_channel_name(ch->tap.from));
    memcpy(dev->config, ch->ev.data, ch->ev.len);
    dev->config_len = ch->ev.len;
    return 1;
}

static int take_data(struct pump *p, struct pump_channel *ch,
                     struct vfm_error *err)
{
    const struct vfm_multifd_event *ev = &ch->ev;
    int ret = 0;

    if (ch->used == 0 && ev->offset - ch->tap.raw_at >= MARK_BYTES)
        ret = tap_mark(&ch->tap, ev->offset, ch->tap.keep, err);
    if (ret < 0)
        return ret;
    if (ch->device == NULL)
        return 1;
    ch->used += feed_bulk(&p->feed, (const uint8_t *)ev->data + ch->used,
                          ev->len - ch->used);
    if (ch->used < ev->len)
        return 0;
    if (ev->u.device.remaining == 0)
        feed_record_end(p, ch->device);
    return 1;
}

static int take(struct pump *p, struct pump_channel *ch, struct vfm_error *err)
{
    switch (ch->ev.type) {
    case VFM_MULTIFD_INIT:
        return take_init(p, ch, err);
    case VFM_MULTIFD_DEVICE:
        return begin_packet(p, ch, err);
    case VFM_MULTIFD_DEVICE_DATA:
        return take_data(p, ch, err);
    case VFM_MULTIFD_DEVICE_CONFIG:
        return take_config(p, ch, err);
    case VFM_MULTIFD_RAM_DATA:
        if (ch->ev.offset - ch->tap.raw_at < MARK_BYTES)
            return 1;
        return tap_mark(&ch->tap, ch->ev.offset, true, err) < 0 ? -EIO : 1;
    case VFM_MULTIFD_RAM:
    case VFM_MULTIFD_SYNC:
    default:
        return tap_mark(&ch->tap, ch->ev.offset, true, err) < 0 ? -EIO : 1;
    }
}

static int next_event(struct pump_channel *ch, struct vfm_error *err)
{
    struct tap *tap = &ch->tap;
    size_t used;
    int ret =
        vfm_multifd_decoder_next(ch->dec, tap->raw + tap->start + tap->fed,
                                 tap->raw_len - tap->fed, &used, &ch->ev, err);

    tap->fed += used;
    ch->has_event = ret == 1;
    ch->used = 0;
    if (ret != 0)
        return ret;
    if (tap->ended)
        return vfm_multifd_decoder_finish(ch->dec, err);
    return tap_fill(tap, err);
}

int pump_channel_run(struct pump *p, struct pump_channel *ch,
                     struct vfm_error *err)
{
    bool free_to_write = p->feed.owner == NULL || p->feed.owner == ch;
    struct vfm_error why = { 0 };
    int ret;

    ch->stuck = false;
    if (ch->has_event && ch->device != NULL &&
        (!free_to_write || !feed_has_room(&p->feed)))
        return 0;
    if (ch->has_event) {
        if (!feed_has_room(&p->feed))
            return 0;
        ret = take(p, ch, &why);
        ch->has_event = ret == 0;
        return ret < 0 ? fail(ch, ret, &why, err) : ret;
    }
    ret = next_event(ch, &why);
    return ret < 0 ? fail(ch, ret, &why, err) : ret;
}

/* Nobody can bring it any more: each channel has ended, or begins with a packet
 * that comes after it. */
static bool nobody_has_it(const struct pump *p)
{
    for (unsigned int i = 0; i < p->num_channels; i++) {
        const struct pump_channel *ch = p->channels[i];

        if (!ch->stuck && !(ch->tap.ended && !ch->has_event &&
                            ch->tap.fed == ch->tap.raw_len))
            return false;
    }
    return true;
}

int pump_check_missing(const struct pump *p, struct vfm_error *err)
{
    for (size_t i = 0; p->over && i < p->num_devices; i++) {
        const struct pump_device *dev = &p->devices[i];

        if (!dev->full || dev->config != NULL || !nobody_has_it(p))
            continue;
        return error_set(
            err, -ENODATA,
            "'%s': packet %" PRIu32
            " of its state is missing: no channel has it",
            dev->section,
            dev->window != NULL ? vfm_multifd_window_next(dev->window) : 0);
    }
    return 0;
}
