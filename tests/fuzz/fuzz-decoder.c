/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main stream's decoder on any bytes, in pieces of any size.
 *
 * The first two bytes choose options and pieces, the rest is the stream.  It
 * is decoded twice, in one piece and in many: both must end alike, with the
 * same events.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vfmig/stream.h>

#include "util/digest.h"

#define CHOICE_BYTES 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    int code;
    struct vfm_error err;
    char digest[DIGEST_HEX_SIZE];
    uint64_t offset;
    unsigned int events;
};

static void require(int condition)
{
    if (!condition)
        abort();
}

static int is_bulk(const struct vfm_stream_event *ev)
{
    return ev->type == VFM_STREAM_VFIO_DATA || ev->type == VFM_STREAM_OPAQUE ||
           ev->type == VFM_STREAM_BLOB_DATA;
}

/* Everything of an event but the borders of chunks. */
static void digest_event(struct digest *digest,
                         const struct vfm_stream_event *ev)
{
    if (!is_bulk(ev)) {
        digest_update(digest, &ev->type, sizeof(ev->type));
        digest_update(digest, &ev->offset, sizeof(ev->offset));
        digest_update(digest, &ev->len, sizeof(ev->len));
        if (ev->section.type != 0)
            digest_update(digest, ev->section.name, strlen(ev->section.name));
    }
    if (ev->len > 0)
        digest_update(digest, ev->data, ev->len);
}

static int decode_piece(struct vfm_decoder *dec, const uint8_t *data,
                        size_t len, struct digest *digest,
                        struct result *result)
{
    struct vfm_stream_event ev;
    uint8_t *copy = malloc(len > 0 ? len : 1);
    uint8_t *p = copy;
    size_t used;
    int ret;

    require(copy != NULL);
    memcpy(copy, data, len);
    while ((ret = vfm_decoder_next(dec, p, len, &used, &ev, &result->err)) ==
           1) {
        require(used <= len);
        p += used;
        len -= used;
        /* An event for nothing would be one without end. */
        require(result->events++ < 1000000);
        if (is_bulk(&ev))
            require(ev.len > 0);
        digest_event(digest, &ev);
    }
    require(ret < 0 || used == len || vfm_decoder_done(dec));
    free(copy);
    return ret;
}

static void decode(const struct vfm_decoder_options *options,
                   const uint8_t *data, size_t size, size_t piece,
                   struct result *result)
{
    struct digest *digest = digest_new();
    struct vfm_decoder *dec;
    int ret = vfm_decoder_new(options, &dec, NULL);

    require(ret == 0 && digest != NULL);
    memset(result, 0, sizeof(*result));
    for (size_t at = 0; ret == 0 && at < size; at += piece) {
        size_t len = piece < size - at ? piece : size - at;

        ret = decode_piece(dec, data + at, len, digest, result);
        if (piece > size)
            break;
    }
    if (ret == 0)
        ret = vfm_decoder_finish(dec, &result->err);
    result->code = ret;
    result->offset = vfm_decoder_offset(dec);
    digest_hex(digest, result->digest);
    digest_free(digest);
    vfm_decoder_free(dec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vfm_decoder_options options = { .size = sizeof(options) };
    struct result whole;
    struct result pieces;

    if (size < CHOICE_BYTES)
        return 0;
    options.page_size = (data[0] & 1) != 0 ? 1024 : 4096;
    options.allow_multifd = (data[0] & 2) != 0;
    options.require_vmdescription = (data[0] & 4) != 0;
    options.require_configuration = (data[0] & 8) != 0;
    options.max_held = 4096;
    options.max_vmdescription = 4096;
    options.max_blob = 4096;

    decode(&options, data + CHOICE_BYTES, size - CHOICE_BYTES, SIZE_MAX / 2,
           &whole);
    decode(&options, data + CHOICE_BYTES, size - CHOICE_BYTES,
           (size_t)data[1] + 1, &pieces);
    require(whole.code == pieces.code);
    if (whole.code < 0)
        require(strcmp(whole.err.message, pieces.err.message) == 0);
    require(strcmp(whole.digest, pieces.digest) == 0);
    return 0;
}
