/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What multifd channels tell: pages, barriers, and pieces of device state,
 * whose numbers have no gaps over all channels together.
 */
#include <errno.h>
#include <stdio.h>

#include "proxy.h"
#include "util/error.h"

/* How far apart channels can be, in packets of a MiB. */
#define WINDOW_SPAN 65536

static int take_init(struct watch *w, struct watched_channel *ch,
                     const struct vfm_multifd_event *ev, struct vfm_error *err)
{
    unsigned int number = ev->u.init.channel;

    snprintf(ch->name, sizeof(ch->name), "multifd %u", number);
    if (w->channels[number])
        return error_set(err, -EPROTO, "a second channel of the number %u",
                         number);
    w->channels[number] = true;
    w->num_channels++;
    proxy_timeline_tell(w->timeline, ch->name, "channel", ev->offset,
                        "says which channel it is");
    return 0;
}

static int take_packet(struct watch *w, struct watched_channel *ch,
                       const struct vfm_multifd_event *ev,
                       struct vfm_error *err)
{
    struct watched_device *dev = watch_device(w, ev->u.device.name);
    bool config = ev->type == VFM_MULTIFD_DEVICE_CONFIG;
    int ret = 0;

    if (dev == NULL)
        return error_set(err, -E2BIG, "more than %d devices", WATCHED_DEVICES);
    if (dev->window == NULL)
        ret = vfm_multifd_window_new(WINDOW_SPAN, &dev->window, err);
    if (ret == 0)
        ret = vfm_multifd_window_add(dev->window, ev->u.device.index, config,
                                     err);
    if (ret < 0)
        return ret;
    if (dev->packets++ == 0)
        proxy_timeline_tell(w->timeline, ch->name, "device", ev->offset,
                            "'%s': first packet", dev->name);
    dev->multifd_bytes += config ? 0 : ev->u.device.size;
    if (config)
        proxy_timeline_tell(w->timeline, ch->name, "device", ev->offset,
                            "'%s': configuration, packet %u", dev->name,
                            ev->u.device.index);
    return w->over ? watch_check_switchover(w, err) : 0;
}

int watch_multifd_event(struct watch *w, struct watched_channel *ch,
                        const struct vfm_multifd_event *ev,
                        struct vfm_error *err)
{
    switch (ev->type) {
    case VFM_MULTIFD_INIT:
        return take_init(w, ch, ev, err);
    case VFM_MULTIFD_RAM:
        w->pages += ev->u.ram.normal;
        w->zero_pages += ev->u.ram.zero;
        w->page_bytes += ev->u.ram.size;
        return 0;
    case VFM_MULTIFD_SYNC:
        ch->syncs++;
        if (ch->syncs > w->rounds)
            w->rounds = ch->syncs;
        return 0;
    case VFM_MULTIFD_DEVICE:
    case VFM_MULTIFD_DEVICE_CONFIG:
        return take_packet(w, ch, ev, err);
    case VFM_MULTIFD_RAM_DATA:
    case VFM_MULTIFD_DEVICE_DATA:
    default:
        return 0;
    }
}
