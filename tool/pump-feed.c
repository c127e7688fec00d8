/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream that the migration gets: its devices', each whole and in order,
 * whatever connections their pieces came on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pump.h"
#include "stream/vmdescription.h"
#include "util/error.h"

#define FEED_BYTES       ((size_t)512 << 10)

/* A configuration record, or the description of all devices. */
#define FEED_ROOM        ((size_t)128 << 10)

/* Behind the devices' numbers. */
#define GLOBALSTATE_ID   (PUMP_DEVICES_MAX + 1)
#define GLOBALSTATE_NAME "globalstate"

#define CONFIG_TAGS_SIZE 16

bool feed_has_room(const struct feed *f)
{
    return FEED_BYTES - f->len >= FEED_ROOM;
}

static int make_buffer(struct feed *f, struct vfm_error *err)
{
    if (f->buf == NULL)
        f->buf = malloc(FEED_BYTES);
    return f->buf != NULL ? 0
                          : error_set(err, -ENOMEM, "%s: out of memory",
                                      vfm_channel_name(f->to));
}

int feed_flush(struct feed *f, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret = make_buffer(f, err);

    while (ret == 0 && f->at < f->len && !f->gone) {
        const struct iovec iov = { f->buf + f->at, f->len - f->at };
        ssize_t n = vfm_channel_send(f->to, &iov, 1, &why);

        if (n == -EAGAIN)
            break;
        if (n == -EPIPE || n == -ECONNRESET)
            f->gone = true; /* it says itself why */
        else if (n < 0)
            ret = error_set(err, (int)n, "%s", why.message);
        else
            f->at += (size_t)n;
    }
    if (f->gone)
        f->at = f->len;
    if (ret == 0 && f->at > 0) {
        memmove(f->buf, f->buf + f->at, f->len - f->at);
        f->len -= f->at;
        f->at = 0;
    }
    return ret;
}

size_t feed_bulk(struct feed *f, const void *data, size_t len)
{
    size_t room = FEED_BYTES - f->len;
    size_t n = room > FEED_ROOM ? room - FEED_ROOM : 0;

    if (n > len)
        n = len;
    memcpy(f->buf + f->len, data, n);
    f->len += n;
    return n;
}

struct encoder feed_encoder(struct feed *f)
{
    struct encoder enc;

    encoder_init(&enc, f->buf + f->len, FEED_BYTES - f->len);
    return enc;
}

void feed_commit(struct feed *f, const struct encoder *enc)
{
    f->len += enc->len;
}

/* All of it fits: who calls this has looked for room. */
static void feed_copy(struct feed *f, const void *data, size_t len)
{
    memcpy(f->buf + f->len, data, len);
    f->len += len;
}

uint32_t pump_device_id(const struct pump *p, const struct pump_device *dev)
{
    return 1 + (uint32_t)(dev - p->devices);
}

void feed_record(struct pump *p, const struct pump_device *dev, void *owner,
                 uint64_t size)
{
    struct encoder enc = feed_encoder(&p->feed);

    encode_section_continue(&enc, VFM_SECTION_PART, pump_device_id(p, dev));
    encode_vfio_data_head(&enc, size);
    feed_commit(&p->feed, &enc);
    p->feed.owner = owner;
}

void feed_record_end(struct pump *p, const struct pump_device *dev)
{
    struct encoder enc = feed_encoder(&p->feed);

    encode_vfio_end(&enc);
    encode_section_footer(&enc, pump_device_id(p, dev));
    feed_commit(&p->feed, &enc);
    p->feed.owner = NULL;
}

void feed_empty_part(struct pump *p, const struct pump_device *dev)
{
    struct encoder enc = feed_encoder(&p->feed);

    encode_section_continue(&enc, VFM_SECTION_PART, pump_device_id(p, dev));
    encode_vfio_end(&enc);
    encode_section_footer(&enc, pump_device_id(p, dev));
    feed_commit(&p->feed, &enc);
}

static void put_device_end(struct pump *p, const struct pump_device *dev)
{
    struct encoder enc = feed_encoder(&p->feed);

    encode_section_continue(&enc, VFM_SECTION_END, pump_device_id(p, dev));
    encode_vfio_end(&enc);
    encode_section_footer(&enc, pump_device_id(p, dev));
    feed_commit(&p->feed, &enc);
}

static void put_device_full(struct pump *p, const struct pump_device *dev)
{
    struct encoder enc = feed_encoder(&p->feed);

    encode_section_begin(&enc, VFM_SECTION_FULL, pump_device_id(p, dev),
                         dev->section, 0, VFIO_SECTION_VERSION);
    encode_vfio_config_head(&enc);
    feed_commit(&p->feed, &enc);
    feed_copy(&p->feed, dev->config, dev->config_len);
    enc = feed_encoder(&p->feed);
    encode_vfio_end(&enc);
    encode_section_footer(&enc, pump_device_id(p, dev));
    feed_commit(&p->feed, &enc);
}

/* Whether the VM runs is in a section of its own. */
static void put_globalstate(struct pump *p)
{
    struct encoder enc = feed_encoder(&p->feed);

    if (p->globalstate_len == 0)
        return;
    encode_section_begin(&enc, VFM_SECTION_FULL, GLOBALSTATE_ID,
                         GLOBALSTATE_NAME, 0, 1);
    feed_commit(&p->feed, &enc);
    feed_copy(&p->feed, p->globalstate, p->globalstate_len);
    enc = feed_encoder(&p->feed);
    encode_section_footer(&enc, GLOBALSTATE_ID);
    feed_commit(&p->feed, &enc);
}

static int put_description(struct pump *p, struct vfm_error *err)
{
    struct vmdescription_section sections[PUMP_DEVICES_MAX + 1] = { 0 };
    struct vmdescription description = {
        .machine = p->machine,
        .page_size = 4096,
        .sections = sections,
        .num_sections = p->num_devices,
    };
    struct encoder enc;
    size_t len;
    char *json;
    int ret;

    for (size_t i = 0; i < p->num_devices; i++) {
        sections[i].name = p->devices[i].section;
        sections[i].bytes = p->devices[i].config_len + CONFIG_TAGS_SIZE;
    }
    if (p->globalstate_len > 0)
        sections[description.num_sections++] =
            (struct vmdescription_section){ .name = GLOBALSTATE_NAME,
                                            .bytes = p->globalstate_len };
    ret = vmdescription_build(&description, &json, &len, err);
    if (ret < 0)
        return ret;
    enc = feed_encoder(&p->feed);
    encode_eof(&enc);
    encode_vmdescription_head(&enc, len);
    feed_commit(&p->feed, &enc);
    feed_copy(&p->feed, json, len);
    free(json);
    return 1;
}

/* ENDs, then FULLs, then the rest, as far as there is room. */
int feed_end(struct pump *p, struct vfm_error *err)
{
    unsigned int n = (unsigned int)p->num_devices;

    while (feed_has_room(&p->feed)) {
        unsigned int step = p->step++;

        if (step < n) {
            put_device_end(p, &p->devices[step]);
        } else if (step < 2 * n) {
            put_device_full(p, &p->devices[step - n]);
        } else if (step == 2 * n) {
            put_globalstate(p);
            return put_description(p, err);
        }
    }
    return 0;
}
