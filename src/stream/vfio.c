/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The body of a device's section: records, each with a tag of 8 bytes.  What
 * the device's data means is the device's secret; what is in the
 * configuration record is read by pci-config.c.
 */
#include <errno.h>
#include <inttypes.h>

#include "stream/decoder.h"
#include "stream/expect.h"
#include "util/bytes.h"

static const struct step step_config;
static const struct step step_data;

#define IN(type) (1u << VFM_SECTION_##type)

static int read_end(struct vfm_decoder *dec, struct vfm_stream_event *ev);
static int read_config(struct vfm_decoder *dec, struct vfm_stream_event *ev);
static int read_setup(struct vfm_decoder *dec, struct vfm_stream_event *ev);
static int read_data(struct vfm_decoder *dec, struct vfm_stream_event *ev);
static int read_init_sent(struct vfm_decoder *dec, struct vfm_stream_event *ev);
static int read_load_ready(struct vfm_decoder *dec,
                           struct vfm_stream_event *ev);

/* Where a tag may stand: the only place that knows. */
static const struct {
    const char *name;
    unsigned int allowed; /* IN() of the section's types */
    int (*read)(struct vfm_decoder *dec, struct vfm_stream_event *ev);
} tags[] = {
    [1] = { "END_OF_STATE", IN(START) | IN(PART) | IN(END) | IN(FULL),
            read_end },
    [2] = { "CONFIG", IN(FULL), read_config },
    [3] = { "SETUP", IN(START), read_setup },
    [4] = { "DATA", IN(PART) | IN(END), read_data },
    [5] = { "INIT_DATA_SENT", IN(PART), read_init_sent },
    [6] = { "CONFIG_LOAD_READY", IN(FULL), read_load_ready },
};
#define NUM_TAGS (sizeof(tags) / sizeof(tags[0]))

static int run_tag(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    uint64_t number;
    const uint8_t *p;
    int ret = input_need(&dec->in, VFIO_TAG_BYTES, &p);

    if (ret <= 0)
        return ret;
    number = get_be64(p) - VFIO_TAG(0);
    if (number == 0 || number >= NUM_TAGS)
        return decoder_fail_section(dec, -EBADMSG, dec->in.offset,
                                    "the tag 0x%016" PRIx64 " is not known",
                                    get_be64(p));
    if ((tags[number].allowed & 1u << dec->type) == 0)
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "the record %s does not belong here",
                                    tags[number].name);
    return tags[number].read(dec, ev);
}

const struct step step_vfio_tag = { "the records", run_tag };

/* Set-up is all that START holds; a device whose configuration is not here
 * has sent it on another channel. */
static int read_end(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    (void)ev;
    if (dec->type == VFM_SECTION_START && !dec->setup_seen)
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "the record SETUP is missing");
    if (dec->type == VFM_SECTION_FULL && !dec->options.allow_multifd)
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "the record CONFIG is missing: it was sent "
                                    "on a multifd channel, or not at all");
    input_consume(&dec->in, VFIO_TAG_BYTES);
    return decoder_go(dec, &step_section_end, STEP_AGAIN);
}

static int read_setup(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    if (dec->setup_seen)
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "the record SETUP came twice");
    dec->setup_seen = true;
    decoder_event(dec, ev, VFM_STREAM_VFIO_SETUP, dec->in.offset);
    input_consume(&dec->in, VFIO_TAG_BYTES);
    return STEP_EVENT;
}

static int read_init_sent(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    decoder_event(dec, ev, VFM_STREAM_VFIO_INIT_DATA_SENT, dec->in.offset);
    input_consume(&dec->in, VFIO_TAG_BYTES);
    return decoder_go(dec, &step_section_end, STEP_EVENT);
}

static int read_load_ready(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    if (!dec->options.allow_multifd)
        return decoder_fail_section(dec, -EPROTO, dec->in.offset,
                                    "the record CONFIG_LOAD_READY, but there "
                                    "is no multifd channel");
    decoder_event(dec, ev, VFM_STREAM_VFIO_CONFIG_LOAD_READY, dec->in.offset);
    input_consume(&dec->in, VFIO_TAG_BYTES);
    return decoder_go(dec, &step_section_end, STEP_EVENT);
}

/* ---------------------------------------------------------------------- */

static int read_data(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    uint64_t size;
    const uint8_t *p;
    int ret = input_need(&dec->in, VFIO_TAG_BYTES + 8, &p);

    if (ret <= 0)
        return ret;
    size = get_be64(p + VFIO_TAG_BYTES);
    if (size > dec->options.max_vfio_data)
        return decoder_fail_section(dec, -E2BIG, at + VFIO_TAG_BYTES,
                                    "a record of %" PRIu64
                                    " bytes is above the limit of %" PRIu64,
                                    size, dec->options.max_vfio_data);
    input_consume(&dec->in, VFIO_TAG_BYTES + 8);
    dec->data_size = size;
    dec->data_remaining = size;
    decoder_event(dec, ev, VFM_STREAM_VFIO_DATA_BEGIN, at);
    ev->u.vfio_data.size = size;
    ev->u.vfio_data.remaining = size;
    return decoder_go(dec, size > 0 ? &step_data : &step_vfio_tag, STEP_EVENT);
}

static int run_data(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    uint64_t at = dec->in.offset;
    const uint8_t *p;
    size_t len = input_take(&dec->in, dec->data_remaining, &p);

    if (len == 0)
        return STEP_MORE;
    dec->data_remaining -= len;
    decoder_event(dec, ev, VFM_STREAM_VFIO_DATA, at);
    ev->data = p;
    ev->len = len;
    ev->u.vfio_data.size = dec->data_size;
    ev->u.vfio_data.remaining = dec->data_remaining;
    return decoder_go(
        dec, dec->data_remaining > 0 ? &step_data : &step_vfio_tag, STEP_EVENT);
}

static const struct step step_data = { "a DATA record", run_data };

uint64_t decoder_data_expected(const struct vfm_decoder *dec)
{
    if (dec->error.code != 0 || dec->held.replaying || dec->step != &step_data)
        return 0;
    return dec->data_remaining;
}

/* ---------------------------------------------------------------------- */

static int read_config(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    (void)ev;
    input_consume(&dec->in, VFIO_TAG_BYTES);
    dec->config_scanned = 0;
    return decoder_go(dec, &step_config, STEP_AGAIN);
}

/* The record has no length.  It ends at a tag that has the footer of this
 * very section behind it. */
static bool ends_config(struct vfm_decoder *dec, const uint8_t *p)
{
    if (p[0] != 0xff || get_be64(p) != VFIO_TAG_END_OF_STATE)
        return false;
    return dec->footers != FOOTERS_PRESENT ||
           (p[VFIO_TAG_BYTES] == ITEM_FOOTER &&
            get_be32(p + VFIO_TAG_BYTES + 1) == decoder_section(dec)->id);
}

/* All that was looked at is consumed, or it would be looked at twice. */
static int config_event(struct vfm_decoder *dec, struct vfm_stream_event *ev,
                        const uint8_t *p, size_t len, size_t tail)
{
    decoder_event(dec, ev, VFM_STREAM_VFIO_CONFIG, dec->in.offset);
    ev->data = p;
    ev->len = len;
    input_consume(&dec->in, len + tail);
    return decoder_go(
        dec, tail > VFIO_TAG_BYTES ? &step_section_end_read : &step_section_end,
        STEP_EVENT);
}

static int run_config(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    size_t tail =
        VFIO_TAG_BYTES + (dec->footers == FOOTERS_PRESENT ? FOOTER_BYTES : 0);
    size_t limit = VFIO_CONFIG_MAX + tail;
    size_t have = input_available(&dec->in);
    const uint8_t *p;
    int ret;

    if (have > limit)
        have = limit;
    ret = input_need(&dec->in, have, &p);
    if (ret <= 0)
        return ret;
    for (; dec->config_scanned + tail <= have; dec->config_scanned++)
        if (ends_config(dec, p + dec->config_scanned))
            return config_event(dec, ev, p, dec->config_scanned, tail);
    if (have == limit)
        return decoder_fail_section(dec, -E2BIG, dec->in.offset,
                                    "no end of the record CONFIG within %d "
                                    "bytes",
                                    VFIO_CONFIG_MAX);
    return input_need(&dec->in, have + 1, &p);
}

static const struct step step_config = { "the record CONFIG", run_config };
