/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A multifd channel's decoder on any bytes, in pieces of any size; the first
 * byte chooses the size.  Both ways must end alike.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vfmig/stream.h>

#include "util/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    int code;
    struct vfm_error err;
    char digest[DIGEST_HEX_SIZE];
};

static void require(int condition)
{
    if (!condition)
        abort();
}

static void digest_event(struct digest *digest,
                         const struct vfm_multifd_event *ev)
{
    if (ev->type != VFM_MULTIFD_DEVICE_DATA &&
        ev->type != VFM_MULTIFD_RAM_DATA) {
        digest_update(digest, &ev->type, sizeof(ev->type));
        digest_update(digest, &ev->offset, sizeof(ev->offset));
        digest_update(digest, &ev->len, sizeof(ev->len));
    }
    if (ev->type == VFM_MULTIFD_RAM)
        digest_update(digest, ev->u.ram.addresses,
                      (ev->u.ram.normal + ev->u.ram.zero) *
                          sizeof(ev->u.ram.addresses[0]));
    if (ev->type == VFM_MULTIFD_DEVICE)
        digest_update(digest, ev->u.device.name, strlen(ev->u.device.name));
    if (ev->len > 0)
        digest_update(digest, ev->data, ev->len);
}

/* The window takes whatever comes, and keeps its order. */
static void note_packet(struct vfm_multifd_window *win,
                        const struct vfm_multifd_event *ev)
{
    uint32_t next = vfm_multifd_window_next(win);

    if (ev->type != VFM_MULTIFD_DEVICE && ev->type != VFM_MULTIFD_DEVICE_CONFIG)
        return;
    vfm_multifd_window_add(win, ev->u.device.index,
                           ev->type == VFM_MULTIFD_DEVICE_CONFIG, NULL);
    require(vfm_multifd_window_next(win) >= next);
}

static int decode_piece(struct vfm_multifd_decoder *dec, const uint8_t *data,
                        size_t len, struct vfm_multifd_window *win,
                        struct digest *digest, struct vfm_error *err)
{
    struct vfm_multifd_event ev;
    uint8_t *copy = malloc(len > 0 ? len : 1);
    uint8_t *p = copy;
    size_t used;
    int ret;

    require(copy != NULL);
    memcpy(copy, data, len);
    while ((ret = vfm_multifd_decoder_next(dec, p, len, &used, &ev, err)) ==
           1) {
        require(used <= len);
        p += used;
        len -= used;
        digest_event(digest, &ev);
        note_packet(win, &ev);
    }
    require(ret < 0 || used == len);
    free(copy);
    return ret;
}

static void decode(const uint8_t *data, size_t size, size_t piece,
                   struct result *result)
{
    struct vfm_multifd_options options = {
        .size = sizeof(options),
        /* The smallest packets. */
        .page_size = 65536,
    };
    struct digest *digest = digest_new();
    struct vfm_multifd_window *win;
    struct vfm_multifd_decoder *dec;
    int ret = vfm_multifd_window_new(100, &win, NULL);

    if (ret == 0)
        ret = vfm_multifd_decoder_new(&options, &dec, NULL);
    require(ret == 0 && digest != NULL);
    memset(result, 0, sizeof(*result));
    for (size_t at = 0; ret == 0 && at < size; at += piece) {
        size_t len = piece < size - at ? piece : size - at;

        ret = decode_piece(dec, data + at, len, win, digest, &result->err);
        if (piece > size)
            break;
    }
    if (ret == 0)
        ret = vfm_multifd_decoder_finish(dec, &result->err);
    result->code = ret;
    digest_hex(digest, result->digest);
    digest_free(digest);
    vfm_multifd_window_free(win);
    vfm_multifd_decoder_free(dec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole;
    struct result pieces;

    if (size < 1)
        return 0;
    decode(data + 1, size - 1, SIZE_MAX / 2, &whole);
    decode(data + 1, size - 1, (size_t)data[0] + 1, &pieces);
    require(whole.code == pieces.code);
    if (whole.code < 0)
        require(strcmp(whole.err.message, pieces.err.message) == 0);
    require(strcmp(whole.digest, pieces.digest) == 0);
    return 0;
}
