/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The body of a blob's section: a length, so many bytes, and their digest.  It
 * tells its own length, unlike what QEMU writes, so that nothing has to be kept
 * until the end of the stream.  Whose it is and whether the digest is right is
 * judged elsewhere.
 */
#include <errno.h>
#include <inttypes.h>

#include "stream/decoder.h"
#include "util/bytes.h"

static const struct step step_bytes;
static const struct step step_digest;

static void blob_event(const struct vfm_decoder *dec,
                       struct vfm_stream_event *ev,
                       enum vfm_stream_event_type type)
{
    decoder_event(dec, ev, type, dec->in.offset);
    ev->u.blob.size = dec->blob_size;
    ev->u.blob.remaining = dec->blob_remaining;
}

static int run_blob(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, BLOB_HEAD_BYTES, &p);

    if (ret <= 0)
        return ret;
    dec->blob_size = dec->blob_remaining = get_be64(p);
    if (dec->blob_size > dec->options.max_blob)
        return decoder_fail_section(dec, -E2BIG, dec->in.offset,
                                    "a blob of %" PRIu64
                                    " bytes is above the limit of %" PRIu64,
                                    dec->blob_size, dec->options.max_blob);
    blob_event(dec, ev, VFM_STREAM_BLOB_BEGIN);
    input_consume(&dec->in, BLOB_HEAD_BYTES);
    return decoder_go(dec, dec->blob_size > 0 ? &step_bytes : &step_digest,
                      STEP_EVENT);
}

const struct step step_blob = { "a blob's length", run_blob };

static int run_bytes(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    const uint8_t *p;
    uint64_t at = dec->in.offset;
    size_t len = input_take(&dec->in, dec->blob_remaining, &p);

    if (len == 0)
        return STEP_MORE;
    dec->blob_remaining -= len;
    blob_event(dec, ev, VFM_STREAM_BLOB_DATA);
    ev->offset = at;
    ev->data = p;
    ev->len = len;
    return decoder_go(dec, dec->blob_remaining > 0 ? &step_bytes : &step_digest,
                      STEP_EVENT);
}

static const struct step step_bytes = { "a blob", run_bytes };

static int run_digest(struct vfm_decoder *dec, struct vfm_stream_event *ev)
{
    const uint8_t *p;
    int ret = input_need(&dec->in, BLOB_DIGEST_BYTES, &p);

    if (ret <= 0)
        return ret;
    blob_event(dec, ev, VFM_STREAM_BLOB_END);
    ev->data = p;
    ev->len = BLOB_DIGEST_BYTES;
    input_consume(&dec->in, BLOB_DIGEST_BYTES);
    return decoder_go(dec, &step_section_end, STEP_EVENT);
}

static const struct step step_digest = { "a blob's digest", run_digest };
