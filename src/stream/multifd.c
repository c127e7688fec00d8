/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A multifd channel's decoder: its life, the first packet, and which kind
 * the next one is of.  Whether the packets of all channels make a whole is
 * judged elsewhere (window.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream/multifd.h"
#include "util/bytes.h"
#include "util/error.h"
#include "util/options.h"

#define PAGE_SIZE_DEFAULT 4096
#define PAGE_SIZE_MIN     1024
#define PAGE_SIZE_MAX     65536
#define DEVICE_DATA_MAX   (64 << 20)
#define CHANNELS_MAX      256

#define INIT_CHANNEL      24 /* where the first packet has its number */

static const struct multifd_step multifd_step_init;

static const char *const event_names[] = {
    [VFM_MULTIFD_INIT] = "INIT",
    [VFM_MULTIFD_RAM] = "RAM",
    [VFM_MULTIFD_RAM_DATA] = "RAM_DATA",
    [VFM_MULTIFD_SYNC] = "SYNC",
    [VFM_MULTIFD_DEVICE] = "DEVICE",
    [VFM_MULTIFD_DEVICE_DATA] = "DEVICE_DATA",
    [VFM_MULTIFD_DEVICE_CONFIG] = "DEVICE_CONFIG",
};
_Static_assert(sizeof(event_names) / sizeof(event_names[0]) ==
                   VFM_MULTIFD_DEVICE_CONFIG + 1,
               "every event has a name");

const char *vfm_multifd_event_name(enum vfm_multifd_event_type type)
{
    if ((unsigned int)type > VFM_MULTIFD_DEVICE_CONFIG ||
        event_names[type] == NULL)
        return "?";
    return event_names[type];
}

int multifd_fail(struct vfm_multifd_decoder *dec, int code, uint64_t offset,
                 const char *fmt, ...)
{
    char text[sizeof(dec->error.message)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return error_set(&dec->error, code, "offset %" PRIu64 ": %s", offset, text);
}

bool multifd_copy_name(struct vfm_multifd_decoder *dec, const uint8_t *from)
{
    size_t len = strnlen((const char *)from, MULTIFD_NAME_BYTES);

    if (len == MULTIFD_NAME_BYTES)
        return false;
    for (size_t i = 0; i < len; i++)
        if (from[i] < 0x20 || from[i] > 0x7e)
            return false;
    memcpy(dec->name, from, len + 1);
    return true;
}

/* ---------------------------------------------------------------------- */

static int set_options(struct vfm_multifd_decoder *dec,
                       const struct vfm_multifd_options *options,
                       struct vfm_error *err)
{
    struct vfm_multifd_options *o = &dec->options;
    int ret = options_copy(o, sizeof(*o), options,
                           "stream: the multifd decoder", err);

    if (ret < 0)
        return ret;
    if (o->page_size == 0)
        o->page_size = PAGE_SIZE_DEFAULT;
    if (o->max_device_data == 0)
        o->max_device_data = DEVICE_DATA_MAX;
    if (o->channels == 0)
        o->channels = CHANNELS_MAX;
    if (o->page_size < PAGE_SIZE_MIN || o->page_size > PAGE_SIZE_MAX ||
        (o->page_size & (o->page_size - 1)) != 0)
        return error_set(err, -EINVAL, "stream: %" PRIu32 " is no page size",
                         o->page_size);
    return 0;
}

int vfm_multifd_decoder_new(const struct vfm_multifd_options *options,
                            struct vfm_multifd_decoder **decp,
                            struct vfm_error *err)
{
    struct vfm_multifd_decoder *dec = calloc(1, sizeof(*dec));
    int ret;

    if (dec == NULL)
        return error_set(err, -ENOMEM, "stream: out of memory");
    ret = set_options(dec, options, err);
    if (ret < 0) {
        vfm_multifd_decoder_free(dec);
        return ret;
    }
    dec->step = &multifd_step_init;
    *decp = dec;
    return 0;
}

void vfm_multifd_decoder_free(struct vfm_multifd_decoder *dec)
{
    if (dec == NULL)
        return;
    input_free(&dec->in);
    free(dec);
}

int vfm_multifd_decoder_next(struct vfm_multifd_decoder *dec, const void *buf,
                             size_t len, size_t *used,
                             struct vfm_multifd_event *event,
                             struct vfm_error *err)
{
    int ret = dec->error.code;

    *used = 0;
    if (ret == 0) {
        input_feed(&dec->in, buf, len);
        do
            ret = dec->step->run(dec, event);
        while (ret == STEP_AGAIN);
        *used = len - dec->in.len;
        dec->taken += *used;
        if (ret == -ENOMEM && dec->error.code == 0)
            multifd_fail(dec, ret, dec->in.offset, "out of memory");
    }
    if (ret < 0 && err != NULL)
        *err = dec->error;
    return ret;
}

uint64_t vfm_multifd_decoder_offset(const struct vfm_multifd_decoder *dec)
{
    return dec->taken;
}

int vfm_multifd_decoder_finish(struct vfm_multifd_decoder *dec,
                               struct vfm_error *err)
{
    bool between =
        dec->step == &multifd_step_packet && dec->in.pending_len == 0;

    if (dec->error.code == 0 && between)
        return 0;
    if (dec->error.code == 0)
        return error_set(err, -ENODATA,
                         "offset %" PRIu64 ": the channel ends in %s",
                         dec->taken, dec->step->inside);
    if (err != NULL)
        *err = dec->error;
    return dec->error.code;
}

/* ---------------------------------------------------------------------- */

static int check_magic(struct vfm_multifd_decoder *dec, const uint8_t *p)
{
    if (get_be32(p) != MULTIFD_MAGIC)
        return multifd_fail(dec, -EBADMSG, dec->in.offset,
                            "no packet: the magic is 0x%08" PRIx32,
                            get_be32(p));
    if (get_be32(p + 4) != MULTIFD_VERSION)
        return multifd_fail(dec, -EBADMSG, dec->in.offset + 4,
                            "version %" PRIu32 " of a packet is not known",
                            get_be32(p + 4));
    return 0;
}

static int run_init(struct vfm_multifd_decoder *dec,
                    struct vfm_multifd_event *ev)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, MULTIFD_INIT_BYTES, &p);

    if (ret <= 0)
        return ret;
    ret = check_magic(dec, p);
    if (ret < 0)
        return ret;
    if (p[INIT_CHANNEL] >= dec->options.channels)
        return multifd_fail(dec, -EPROTO, INIT_CHANNEL,
                            "channel %u, but there are only %u",
                            p[INIT_CHANNEL], dec->options.channels);
    memcpy(dec->uuid, p + 8, sizeof(dec->uuid));
    *ev = (struct vfm_multifd_event){ .type = VFM_MULTIFD_INIT };
    ev->u.init.uuid = dec->uuid;
    ev->u.init.channel = p[INIT_CHANNEL];
    input_consume(&dec->in, MULTIFD_INIT_BYTES);
    return multifd_go(dec, &multifd_step_packet, STEP_EVENT);
}

static const struct multifd_step multifd_step_init = { "the first packet",
                                                       run_init };

/* The flags decide how the rest of a packet is laid out. */
static int run_packet(struct vfm_multifd_decoder *dec,
                      struct vfm_multifd_event *ev)
{
    const uint32_t known = MULTIFD_FLAG_SYNC | MULTIFD_FLAG_COMPRESSION |
                           MULTIFD_FLAG_DEVICE_STATE;
    const uint8_t *p;
    int ret = input_need(&dec->in, MULTIFD_HEAD_BYTES, &p);

    (void)ev;
    if (ret <= 0)
        return ret;
    ret = check_magic(dec, p);
    if (ret < 0)
        return ret;
    dec->packet = dec->in.offset;
    dec->flags = get_be32(p + 8);
    if ((dec->flags & MULTIFD_FLAG_COMPRESSION) != 0)
        return multifd_fail(dec, -EOPNOTSUPP, dec->packet + 8,
                            "compressed packets (flags 0x%" PRIx32
                            ") are not read",
                            dec->flags);
    if ((dec->flags & ~known) != 0 ||
        dec->flags == (MULTIFD_FLAG_SYNC | MULTIFD_FLAG_DEVICE_STATE))
        return multifd_fail(dec, -EBADMSG, dec->packet + 8,
                            "a packet's flags 0x%" PRIx32 " are not known",
                            dec->flags);
    return multifd_go(dec,
                      (dec->flags & MULTIFD_FLAG_DEVICE_STATE) != 0
                          ? &multifd_step_device
                          : &multifd_step_ram,
                      STEP_AGAIN);
}

const struct multifd_step multifd_step_packet = { "the head of a packet",
                                                  run_packet };
