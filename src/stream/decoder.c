/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main stream's decoder: its life, its errors, and the loop that runs
 * the steps.  What stands in a stream is in the steps (decoder.h lists them).
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream/decoder.h"
#include "util/error.h"
#include "util/options.h"

#define MAX_VFIO_DATA     (UINT64_C(1) << 30)
#define MAX_VMDESCRIPTION ((size_t)16 << 20)
#define MAX_HELD          ((size_t)16 << 20)
#define MAX_BLOB          (UINT64_C(64) << 20)
#define PAGE_SIZE_DEFAULT 4096
#define PAGE_SIZE_MIN     1024
#define PAGE_SIZE_MAX     (1 << 20)

static const char *const event_names[] = {
    [VFM_STREAM_HEADER] = "HEADER",
    [VFM_STREAM_CONFIGURATION] = "CONFIGURATION",
    [VFM_STREAM_COMMAND] = "COMMAND",
    [VFM_STREAM_SECTION_BEGIN] = "SECTION_BEGIN",
    [VFM_STREAM_SECTION_END] = "SECTION_END",
    [VFM_STREAM_VFIO_SETUP] = "VFIO_SETUP",
    [VFM_STREAM_VFIO_DATA_BEGIN] = "VFIO_DATA_BEGIN",
    [VFM_STREAM_VFIO_DATA] = "VFIO_DATA",
    [VFM_STREAM_VFIO_INIT_DATA_SENT] = "VFIO_INIT_DATA_SENT",
    [VFM_STREAM_VFIO_CONFIG] = "VFIO_CONFIG",
    [VFM_STREAM_VFIO_CONFIG_LOAD_READY] = "VFIO_CONFIG_LOAD_READY",
    [VFM_STREAM_RAM_BLOCK] = "RAM_BLOCK",
    [VFM_STREAM_RAM_PAGE] = "RAM_PAGE",
    [VFM_STREAM_RAM_ZERO] = "RAM_ZERO",
    [VFM_STREAM_RAM_XBZRLE] = "RAM_XBZRLE",
    [VFM_STREAM_RAM_FLUSH] = "RAM_FLUSH",
    [VFM_STREAM_BLOB_BEGIN] = "BLOB_BEGIN",
    [VFM_STREAM_BLOB_DATA] = "BLOB_DATA",
    [VFM_STREAM_BLOB_END] = "BLOB_END",
    [VFM_STREAM_OPAQUE] = "OPAQUE",
    [VFM_STREAM_EOF] = "EOF",
    [VFM_STREAM_VMDESCRIPTION] = "VMDESCRIPTION",
    [VFM_STREAM_WARNING] = "WARNING",
};
_Static_assert(sizeof(event_names) / sizeof(event_names[0]) ==
                   VFM_STREAM_WARNING + 1,
               "every event has a name");

const char *vfm_stream_event_name(enum vfm_stream_event_type type)
{
    if ((unsigned int)type > VFM_STREAM_WARNING || event_names[type] == NULL)
        return "?";
    return event_names[type];
}

const char *vfm_section_type_name(enum vfm_section_type type)
{
    switch (type) {
    case VFM_SECTION_START:
        return "START";
    case VFM_SECTION_PART:
        return "PART";
    case VFM_SECTION_END:
        return "END";
    case VFM_SECTION_FULL:
        return "FULL";
    }
    return "?";
}

int decoder_fail(struct vfm_decoder *dec, int code, uint64_t offset,
                 const char *fmt, ...)
{
    char text[sizeof(dec->error.message)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return error_set(&dec->error, code, "offset %" PRIu64 ": %s", offset, text);
}

int decoder_fail_section(struct vfm_decoder *dec, int code, uint64_t offset,
                         const char *fmt, ...)
{
    char text[sizeof(dec->error.message)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return decoder_fail(dec, code, offset, "section '%s' (%s): %s",
                        decoder_section(dec)->name,
                        vfm_section_type_name(dec->type), text);
}

void decoder_event(const struct vfm_decoder *dec, struct vfm_stream_event *ev,
                   enum vfm_stream_event_type type, uint64_t offset)
{
    const struct section *section;

    *ev = (struct vfm_stream_event){ .type = type, .offset = offset };
    if (dec->type == 0)
        return;
    section = &dec->sections[dec->current];
    ev->section = (struct vfm_stream_section){
        .type = dec->type,
        .kind = section->kind,
        .id = section->id,
        .instance_id = section->instance_id,
        .version = section->version,
        .name = section->name,
    };
}

bool decoder_copy_name(char to[STREAM_NAME_MAX + 1], const uint8_t *from,
                       size_t len)
{
    assert(len <= STREAM_NAME_MAX);
    for (size_t i = 0; i < len; i++)
        if (from[i] < 0x20 || from[i] > 0x7e)
            return false;
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int set_options(struct vfm_decoder *dec,
                       const struct vfm_decoder_options *options,
                       struct vfm_error *err)
{
    struct vfm_decoder_options *o = &dec->options;
    int ret = options_copy(o, sizeof(*o), options, "stream: the decoder", err);

    if (ret < 0)
        return ret;
    if (o->max_vfio_data == 0)
        o->max_vfio_data = MAX_VFIO_DATA;
    if (o->max_vmdescription == 0)
        o->max_vmdescription = MAX_VMDESCRIPTION;
    if (o->max_blob == 0)
        o->max_blob = MAX_BLOB;
    if (o->max_held == 0)
        o->max_held = MAX_HELD;
    /* Limits are added up; nobody has a quarter of the address space. */
    o->max_vmdescription = smaller(o->max_vmdescription, SIZE_MAX / 4);
    o->max_held = smaller(o->max_held, SIZE_MAX / 4);
    if (o->page_size == 0)
        o->page_size = PAGE_SIZE_DEFAULT;
    if (o->page_size < PAGE_SIZE_MIN || o->page_size > PAGE_SIZE_MAX ||
        (o->page_size & (o->page_size - 1)) != 0)
        return error_set(err, -EINVAL, "stream: %" PRIu32 " is no page size",
                         o->page_size);
    dec->page_size = o->page_size;
    return 0;
}

int vfm_decoder_new(const struct vfm_decoder_options *options,
                    struct vfm_decoder **decp, struct vfm_error *err)
{
    struct vfm_decoder *dec = calloc(1, sizeof(*dec));
    int ret;

    if (dec == NULL)
        return error_set(err, -ENOMEM, "stream: out of memory");
    ret = set_options(dec, options, err);
    if (ret < 0) {
        vfm_decoder_free(dec);
        return ret;
    }
    dec->step = &step_header;
    *decp = dec;
    return 0;
}

void vfm_decoder_free(struct vfm_decoder *dec)
{
    if (dec == NULL)
        return;
    input_free(&dec->in);
    free(dec->sections);
    free(dec->blocks);
    free(dec->held.buf);
    vmdescription_free(dec->sizes);
    free(dec);
}

/* Runs steps over one window.  Returns what the last one did, and in *@left
 * how much of the window it left. */
static int run_steps(struct vfm_decoder *dec, const void *window, size_t len,
                     size_t *left, struct vfm_stream_event *ev)
{
    int ret;

    input_feed(&dec->in, window, len);
    do
        ret = dec->step->run(dec, ev);
    while (ret == STEP_AGAIN);
    *left = dec->in.len;
    if (ret == -ENOMEM && dec->error.code == 0)
        decoder_fail(dec, ret, dec->in.offset, "out of memory");
    return ret;
}

static int run_held(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    struct held *held = &dec->held;
    size_t left;
    int ret = run_steps(dec, held->buf + held->replayed,
                        held->len - held->replayed, &left, ev);

    held->replayed = held->len - left;
    return ret;
}

int vfm_decoder_next(struct vfm_decoder *dec, const void *buf, size_t len,
                     size_t *used, struct vfm_stream_event *event,
                     struct vfm_error *err)
{
    size_t left;
    int ret = STEP_REFEED;

    *used = 0;
    if (dec->error.code == 0 && !dec->held.replaying) {
        ret = run_steps(dec, buf, len, &left, event);
        *used = len - left;
        dec->taken += *used;
    }
    if (dec->error.code == 0 && ret == STEP_REFEED)
        ret = run_held(dec, event);

    if (dec->error.code == 0)
        return ret;
    if (err != NULL)
        *err = dec->error;
    return dec->error.code;
}

bool vfm_decoder_done(const struct vfm_decoder *dec)
{
    return dec->step == &step_done;
}

uint64_t vfm_decoder_offset(const struct vfm_decoder *dec)
{
    return dec->taken;
}

static bool may_end(const struct vfm_decoder *dec)
{
    return dec->step == &step_done ||
           (dec->step->inside == NULL && dec->in.pending_len == 0);
}

int vfm_decoder_finish(struct vfm_decoder *dec, struct vfm_error *err)
{
    const char *inside = dec->step->inside;
    int ret;

    if (dec->error.code == 0 && may_end(dec))
        return 0;
    if (dec->error.code == 0) {
        if (inside == NULL)
            inside = "the vmdescription";
        ret = dec->type == 0
                  ? decoder_fail(dec, -ENODATA, dec->taken,
                                 "the stream ends in %s", inside)
                  : decoder_fail_section(dec, -ENODATA, dec->taken,
                                         "the stream ends in %s", inside);
    } else {
        ret = dec->error.code;
    }
    if (err != NULL)
        *err = dec->error;
    /* It may be asked before its time: more may come. */
    if (ret == -ENODATA)
        dec->error.code = 0;
    return ret;
}
