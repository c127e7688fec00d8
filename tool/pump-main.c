/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main stream: what is of the migration's devices goes to it, and all but
 * what they hold to the file: there they are left as they are in the stream of
 * a QEMU that sends their states elsewhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pump.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"

/* Bytes that nobody has to wait for are written in pieces of this. */
#define MARK_BYTES     ((size_t)128 << 10)

/* The migration hears of us this often: it must not think that QEMU is dead. */
#define ALIVE_NS       NS_PER_SEC

/* Type and id; those, the length of a name, instance and version. */
#define CONTINUE_BYTES 5
#define NAMED_BYTES    14
#define FULL_EMPTY     8

static const char globalstate[] = "globalstate";

struct pump_device *pump_find(struct pump *p, const char *section)
{
    for (size_t i = 0; i < p->num_devices; i++)
        if (strcmp(p->devices[i].section, section) == 0)
            return &p->devices[i];
    return NULL;
}

static int put_end_tag(struct pump *p, struct vfm_error *err)
{
    uint8_t tag[VFIO_TAG_BYTES];

    put_be64(tag, VFIO_TAG_END_OF_STATE);
    return tap_insert(&p->main, tag, sizeof(tag), err);
}

static void put_switchover(struct pump *p)
{
    struct encoder enc = feed_encoder(&p->feed);

    if (p->switched)
        return;
    p->switched = true;
    encode_command(&enc, VFM_COMMAND_SWITCHOVER_START, NULL, 0);
    feed_commit(&p->feed, &enc);
}

static void put_begin(struct pump *p, const struct pump_device *dev)
{
    struct encoder enc = feed_encoder(&p->feed);
    uint32_t id = pump_device_id(p, dev);

    encode_section_begin(&enc, VFM_SECTION_START, id, dev->section, 0,
                         VFIO_SECTION_VERSION);
    encode_vfio_setup(&enc);
    encode_section_footer(&enc, id);
    feed_commit(&p->feed, &enc);
}

static void put_configuration(struct pump *p, const char *machine)
{
    struct encoder enc = feed_encoder(&p->feed);

    strncpy(p->machine, machine, sizeof(p->machine) - 1);
    encode_header(&enc);
    encode_configuration(&enc, machine);
    feed_commit(&p->feed, &enc);
}

static void take_command(struct pump *p)
{
    struct encoder enc = feed_encoder(&p->feed);
    uint16_t number = p->ev.u.command.number;

    if (number == VFM_COMMAND_SWITCHOVER_START) {
        p->started = true;
        put_switchover(p);
        return;
    }
    if (number != VFM_COMMAND_OPEN_RETURN_PATH && number != VFM_COMMAND_PING)
        return;
    encode_command(&enc, (enum vfm_stream_command)number, p->ev.data,
                   p->ev.len);
    feed_commit(&p->feed, &enc);
}

static int begin_section(struct pump *p, struct vfm_error *err)
{
    const struct vfm_stream_event *ev = &p->ev;
    struct pump_device *dev = pump_find(p, ev->section.name);
    int ret = 0;

    p->device = dev;
    if (ev->section.type == VFM_SECTION_END)
        put_switchover(p);
    if (dev == NULL || ev->section.kind != VFM_SECTION_KIND_VFIO)
        return 0;
    switch (ev->section.type) {
    case VFM_SECTION_START:
        dev->begun = true;
        put_begin(p, dev);
        break;
    case VFM_SECTION_PART:
        return tap_mark(&p->main, ev->offset, false, err);
    case VFM_SECTION_END:
        dev->ended = true;
        return tap_mark(&p->main, ev->offset + CONTINUE_BYTES, false, err);
    case VFM_SECTION_FULL:
        dev->full = true;
        dev->on_channels = true; /* unless the record comes now */
        return tap_mark(&p->main,
                        ev->offset + NAMED_BYTES + strlen(ev->section.name),
                        false, err);
    }
    return ret;
}

static int end_section(struct pump *p, struct vfm_error *err)
{
    const struct vfm_stream_event *ev = &p->ev;
    uint64_t footer = ev->u.section_end.footer ? FOOTER_BYTES : 0;
    int ret = 0;

    if (p->device == NULL || p->main.keep)
        return 0;
    if (ev->section.type == VFM_SECTION_FULL)
        p->device->full_bytes = ev->u.section_end.bytes;
    p->device = NULL;
    if (ev->section.type == VFM_SECTION_PART)
        return tap_mark(&p->main, ev->offset + footer, true, err);
    ret = tap_mark(&p->main, ev->offset, true, err);
    return ret < 0 ? ret : put_end_tag(p, err);
}

/* The bytes of a record.  Returns 1 when they are all there. */
static int take_data(struct pump *p, struct vfm_error *err)
{
    struct vfm_stream_event *ev = &p->ev;
    int ret = 0;

    if (p->device == NULL)
        return 1;
    if (p->used == 0 && ev->offset - p->main.raw_at >= MARK_BYTES)
        ret = tap_mark(&p->main, ev->offset, p->main.keep, err);
    if (ret < 0)
        return ret;
    p->used += feed_bulk(&p->feed, (const uint8_t *)ev->data + p->used,
                         ev->len - p->used);
    if (p->used < ev->len)
        return 0;
    if (ev->u.vfio_data.remaining == 0)
        feed_record_end(p, p->device);
    return 1;
}

static int keep_config(struct pump *p, struct vfm_error *err)
{
    struct pump_device *dev = p->device;

    if (dev == NULL)
        return 0;
    dev->on_channels = false;
    dev->config = malloc(p->ev.len + 1);
    if (dev->config == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory",
                         vfm_channel_name(p->main.from));
    memcpy(dev->config, p->ev.data, p->ev.len);
    dev->config_len = p->ev.len;
    return 0;
}

static void take_init_sent(struct pump *p)
{
    struct encoder enc = feed_encoder(&p->feed);

    if (p->device == NULL)
        return;
    encode_section_continue(&enc, VFM_SECTION_PART,
                            pump_device_id(p, p->device));
    encode_vfio_init_data_sent(&enc);
    encode_section_footer(&enc, pump_device_id(p, p->device));
    feed_commit(&p->feed, &enc);
}

static void take_opaque(struct pump *p)
{
    const struct vfm_stream_event *ev = &p->ev;

    if (strcmp(ev->section.name, globalstate) != 0 ||
        p->globalstate_len + ev->len > sizeof(p->globalstate))
        return;
    memcpy(p->globalstate + p->globalstate_len, ev->data, ev->len);
    p->globalstate_len += ev->len;
}

/* In the file the devices have nothing but the end of a record. */
static int take_description(struct pump *p, struct vfm_error *err)
{
    struct part parts[PUMP_DEVICES_MAX] = { 0 };
    const struct vfm_stream_event *ev = &p->ev;
    struct vfm_error why = { 0 };
    uint8_t head[4];
    size_t n = 0;
    size_t len;
    char *text;
    int ret;

    p->over = true;
    for (size_t i = 0; i < p->num_devices; i++) {
        if (!p->devices[i].full)
            continue; /* the migration will say so */
        parts[n].section = p->devices[i].section;
        parts[n].full_was = p->devices[i].full_bytes;
        parts[n++].full.len = FULL_EMPTY;
    }
    if (p->main.rest == NULL)
        return 0;
    ret = text_edit(ev->data, ev->len, parts, n, &text, &len, &why);
    if (ret < 0)
        return error_set(err, ret, "%s: the description: %s",
                         vfm_channel_name(p->main.from), why.message);
    put_be32(head, (uint32_t)len);
    ret = tap_mark(&p->main, ev->offset + 1, false, err);
    if (ret == 0)
        ret = tap_insert(&p->main, head, sizeof(head), err);
    if (ret == 0)
        ret = tap_insert(&p->main, text, len, err);
    free(text);
    return ret;
}

/* Returns 1 when the event is used up, 0 if it has to wait, or an error. */
static int take(struct pump *p, struct vfm_error *err)
{
    int ret = 0;

    switch (p->ev.type) {
    case VFM_STREAM_CONFIGURATION:
        put_configuration(p, p->ev.u.configuration.machine);
        break;
    case VFM_STREAM_COMMAND:
        take_command(p);
        break;
    case VFM_STREAM_SECTION_BEGIN:
        ret = begin_section(p, err);
        break;
    case VFM_STREAM_SECTION_END:
        ret = end_section(p, err);
        break;
    case VFM_STREAM_VFIO_DATA_BEGIN:
        if (p->device != NULL && p->ev.u.vfio_data.size > 0)
            feed_record(p, p->device, &p->main, p->ev.u.vfio_data.size);
        break;
    case VFM_STREAM_VFIO_DATA:
        return take_data(p, err);
    case VFM_STREAM_VFIO_INIT_DATA_SENT:
        take_init_sent(p);
        break;
    case VFM_STREAM_VFIO_CONFIG:
        ret = keep_config(p, err);
        break;
    case VFM_STREAM_OPAQUE:
        take_opaque(p);
        break;
    case VFM_STREAM_VMDESCRIPTION:
        ret = take_description(p, err);
        break;
    case VFM_STREAM_RAM_PAGE:
    case VFM_STREAM_RAM_ZERO:
        if (p->ev.offset - p->main.raw_at >= MARK_BYTES)
            ret = tap_mark(&p->main, p->ev.offset, p->main.keep, err);
        break;
    default:
        break;
    }
    return ret < 0 ? ret : 1;
}

/* The beginning has come before anything else can be said. */
static void stay_alive(struct pump *p)
{
    int64_t now = clock_now();

    if (now - p->told_at < ALIVE_NS || p->num_devices == 0 ||
        !p->devices[0].begun || p->feed.owner != NULL)
        return;
    p->told_at = now;
    feed_empty_part(p, &p->devices[0]);
}

static int next_event(struct pump *p, struct vfm_error *err)
{
    struct tap *tap = &p->main;
    size_t used;
    int ret = vfm_decoder_next(p->dec, tap->raw + tap->start + tap->fed,
                               tap->raw_len - tap->fed, &used, &p->ev, err);

    tap->fed += used;
    p->has_event = ret == 1;
    p->used = 0;
    if (ret != 0)
        return ret;
    if (tap->fed < tap->raw_len)
        return error_set(err, -EBADMSG,
                         "offset %" PRIu64
                         ": something follows the end of the stream",
                         vfm_decoder_offset(p->dec));
    if (tap->ended)
        return vfm_decoder_finish(p->dec, err);
    return tap_fill(tap, err);
}

int pump_main_run(struct pump *p, struct vfm_error *err)
{
    bool free_to_write = p->feed.owner == NULL || p->feed.owner == &p->main;
    struct vfm_error why = { 0 };
    int ret;

    if (p->over || !free_to_write || !feed_has_room(&p->feed))
        return 0;
    if (p->has_event) {
        ret = take(p, err);
        p->has_event = ret == 0;
        return ret;
    }
    ret = next_event(p, &why);
    if (ret < 0)
        return error_set(err, ret, "%s: %s", vfm_channel_name(p->main.from),
                         why.message);
    if (ret > 0 && !p->has_event)
        stay_alive(p);
    return ret;
}
