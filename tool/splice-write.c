/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the stream that a plan makes, and reads it at the same time, by the
 * rules that everything is read by: what would not be taken is not written to
 * its end.
 */
#include <errno.h>
#include <stdlib.h>

#include "interrupt.h"
#include "splice.h"
#include "util/clock.h"
#include "util/error.h"

#define COPY_BYTES ((size_t)1 << 20)

struct writer {
    struct vfm_channel *channel;
    struct vfm_decoder *dec;
    uint8_t *buf;
    uint32_t timeout_ms;
};

static int writer_init(struct writer *w, struct vfm_error *err)
{
    const struct vfm_decoder_options opts = {
        .size = sizeof(opts),
        .max_vfio_data = UINT64_MAX,
        .require_vmdescription = true,
    };

    w->buf = malloc(COPY_BYTES);
    if (w->buf == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory",
                         vfm_channel_name(w->channel));
    return vfm_decoder_new(&opts, &w->dec, err);
}

static void writer_close(struct writer *w)
{
    vfm_decoder_free(w->dec);
    free(w->buf);
}

static int check(struct writer *w, const uint8_t *data, size_t len,
                 struct vfm_error *err)
{
    struct vfm_stream_event ev;
    struct vfm_error why = { 0 };
    size_t used;
    int ret;

    do {
        ret = vfm_decoder_next(w->dec, data, len, &used, &ev, &why);
        data += used;
        len -= used;
    } while (ret > 0);
    if (ret < 0)
        return error_set(err, ret, "the new stream would be wrong: %s",
                         why.message);
    return 0;
}

static int send_all(struct writer *w, const uint8_t *data, size_t len,
                    struct vfm_error *err)
{
    struct vfm_channel *ch = w->channel;

    while (len > 0) {
        const struct iovec iov = { (void *)data, len };
        ssize_t n = vfm_channel_send(ch, &iov, 1, err);
        int ret = (int)n;

        if (n == -EAGAIN)
            ret = vfm_channel_wait(ch, POLLOUT, clock_deadline(w->timeout_ms),
                                   err);
        if (ret < 0)
            return ret;
        if (n < 0)
            continue;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_bytes(struct writer *w, const uint8_t *data, size_t len,
                       struct vfm_error *err)
{
    int ret = check(w, data, len, err);

    if (ret == 0 && interrupt_is_pending())
        ret = error_set(err, -ECANCELED, "cancelled");
    return ret < 0 ? ret : send_all(w, data, len, err);
}

static int copy(struct writer *w, const struct piece_file *file,
                uint64_t offset, uint64_t len, struct vfm_error *err)
{
    int ret = 0;

    while (ret == 0 && len > 0) {
        size_t n = len < COPY_BYTES ? (size_t)len : COPY_BYTES;

        ret = piece_file_read_at(file, w->buf, n, offset, err);
        if (ret == 0)
            ret = write_bytes(w, w->buf, n, err);
        offset += n;
        len -= n;
    }
    return ret;
}

/* The stream's own bytes from @at to @end.  Behind the end of its sections
 * nobody can say any more that it was not given away. */
static int copy_stream(struct writer *w, const struct plan *plan, uint64_t at,
                       uint64_t end, bool *given, struct vfm_error *err)
{
    int ret = 0;

    if (at <= plan->eof_at && end > plan->eof_at) {
        ret = copy(w, &plan->file, at, plan->eof_at - at, err);
        at = plan->eof_at;
        *given = *given || ret == 0;
    }
    return ret < 0 ? ret : copy(w, &plan->file, at, end - at, err);
}

static int write_stream(struct writer *w, const struct plan *plan, bool *given,
                        struct vfm_error *err)
{
    uint64_t at = 0;
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < plan->num_edits; i++) {
        const struct edit *edit = &plan->edits[i];

        ret = copy_stream(w, plan, at, edit->at, given, err);
        if (ret == 0 && edit->bytes != NULL)
            ret = write_bytes(w, edit->bytes, edit->len, err);
        else if (ret == 0)
            ret = copy(w, edit->file, edit->offset, edit->len, err);
        at = edit->at + edit->skip;
    }
    if (ret == 0)
        ret = copy_stream(w, plan, at, plan->stream_bytes, given, err);
    return ret < 0 ? ret : vfm_decoder_finish(w->dec, err);
}

int plan_write(const struct plan *plan, struct vfm_channel *channel,
               uint32_t timeout_ms, bool *given, struct vfm_error *err)
{
    struct writer w = { .channel = channel, .timeout_ms = timeout_ms };
    int ret = writer_init(&w, err);

    *given = false;
    if (ret == 0)
        ret = write_stream(&w, plan, given, err);
    writer_close(&w);
    return ret;
}
