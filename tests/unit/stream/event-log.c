/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events as text.
 */
#undef NDEBUG
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "event-log.h"

void event_log_open(struct event_log *log)
{
    *log = (struct event_log){ 0 };
    log->f = open_memstream(&log->text, &log->size);
    assert(log->f != NULL);
}

static void write_bulk(struct event_log *log)
{
    char hex[DIGEST_HEX_SIZE];

    if (log->bulk == NULL)
        return;
    digest_hex(log->bulk, hex);
    fprintf(log->f, "bulk %d %" PRIu64 " %s\n", log->bulk_type, log->bulk_bytes,
            hex);
    digest_free(log->bulk);
    log->bulk = NULL;
    log->bulk_bytes = 0;
}

void event_log_end(struct event_log *log)
{
    write_bulk(log);
    fclose(log->f);
    log->f = NULL;
}

void event_log_free(struct event_log *log)
{
    if (log->f != NULL)
        event_log_end(log);
    free(log->text);
}

static void take_bulk(struct event_log *log, int type, const void *data,
                      size_t len)
{
    assert(len > 0);
    if (log->bulk == NULL)
        log->bulk = digest_new();
    assert(log->bulk != NULL);
    log->bulk_type = type;
    log->bulk_bytes += len;
    digest_update(log->bulk, data, len);
}

static void write_data(struct event_log *log, const void *data, size_t len)
{
    struct digest *digest = digest_new();
    char hex[DIGEST_HEX_SIZE];

    assert(digest != NULL);
    if (len > 0)
        digest_update(digest, data, len);
    digest_hex(digest, hex);
    fprintf(log->f, " data %zu %s\n", len, hex);
    digest_free(digest);
}

static void write_details(struct event_log *log,
                          const struct vfm_stream_event *ev)
{
    switch (ev->type) {
    case VFM_STREAM_CONFIGURATION:
        fprintf(log->f, " '%s' %zu %" PRIu32 " %d", ev->u.configuration.machine,
                ev->u.configuration.num_capabilities,
                ev->u.configuration.page_bits,
                ev->u.configuration.uuid != NULL);
        for (size_t i = 0; i < ev->u.configuration.num_capabilities; i++)
            fprintf(log->f, " %s", ev->u.configuration.capabilities[i]);
        break;
    case VFM_STREAM_COMMAND:
        fprintf(log->f, " %u", ev->u.command.number);
        break;
    case VFM_STREAM_SECTION_END:
        fprintf(log->f, " %" PRIu64 " %d", ev->u.section_end.bytes,
                ev->u.section_end.footer);
        break;
    case VFM_STREAM_VFIO_DATA_BEGIN:
        fprintf(log->f, " %" PRIu64, ev->u.vfio_data.size);
        break;
    case VFM_STREAM_RAM_BLOCK:
    case VFM_STREAM_RAM_PAGE:
    case VFM_STREAM_RAM_ZERO:
    case VFM_STREAM_RAM_XBZRLE:
        fprintf(log->f, " '%s' %" PRIu64 " 0x%" PRIx64, ev->u.ram.block,
                ev->u.ram.block_size, ev->u.ram.address);
        break;
    case VFM_STREAM_BLOB_BEGIN:
    case VFM_STREAM_BLOB_END:
        fprintf(log->f, " %" PRIu64 " %" PRIu64, ev->u.blob.size,
                ev->u.blob.remaining);
        break;
    default:
        break;
    }
}

void event_log_take(struct event_log *log, const struct vfm_stream_event *ev)
{
    log->counts[ev->type]++;
    if (ev->type == VFM_STREAM_VFIO_DATA || ev->type == VFM_STREAM_OPAQUE ||
        ev->type == VFM_STREAM_BLOB_DATA) {
        take_bulk(log, (int)ev->type, ev->data, ev->len);
        return;
    }
    write_bulk(log);
    fprintf(log->f, "%" PRIu64 " %s", ev->offset,
            vfm_stream_event_name(ev->type));
    if (ev->section.type != 0)
        fprintf(log->f, " %s %" PRIu32 " '%s' %" PRIu32 " v%" PRIu32,
                vfm_section_type_name(ev->section.type), ev->section.id,
                ev->section.name, ev->section.instance_id, ev->section.version);
    write_details(log, ev);
    write_data(log, ev->data, ev->len);
}

void event_log_take_multifd(struct event_log *log,
                            const struct vfm_multifd_event *ev)
{
    log->counts[ev->type]++;
    if (ev->type == VFM_MULTIFD_RAM_DATA ||
        ev->type == VFM_MULTIFD_DEVICE_DATA) {
        take_bulk(log, (int)ev->type, ev->data, ev->len);
        return;
    }
    write_bulk(log);
    fprintf(log->f, "%" PRIu64 " %s", ev->offset,
            vfm_multifd_event_name(ev->type));
    if (ev->type == VFM_MULTIFD_INIT)
        fprintf(log->f, " %u", ev->u.init.channel);
    if (ev->type == VFM_MULTIFD_RAM)
        fprintf(log->f, " '%s' %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32,
                ev->u.ram.block, ev->u.ram.packet_number, ev->u.ram.normal,
                ev->u.ram.zero, ev->u.ram.size);
    if (ev->type == VFM_MULTIFD_DEVICE || ev->type == VFM_MULTIFD_DEVICE_CONFIG)
        fprintf(log->f,
                " '%s' %" PRIu32 " index %" PRIu32 " 0x%" PRIx32 " %" PRIu32,
                ev->u.device.name, ev->u.device.instance_id, ev->u.device.index,
                ev->u.device.flags, ev->u.device.size);
    write_data(log, ev->data, ev->len);
}

/* ---------------------------------------------------------------------- */

static uint8_t *own_copy(const void *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    assert(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

static int decode_piece(struct vfm_decoder *dec, const void *data, size_t len,
                        size_t *taken, struct event_log *log,
                        struct vfm_error *err)
{
    struct vfm_stream_event ev;
    uint8_t *copy = own_copy(data, len);
    size_t used;
    int ret;

    *taken = 0;
    while ((ret = vfm_decoder_next(dec, copy + *taken, len - *taken, &used, &ev,
                                   err)) == 1) {
        *taken += used;
        event_log_take(log, &ev);
    }
    *taken += used;
    assert(ret != 0 || *taken == len || vfm_decoder_done(dec));
    free(copy);
    return ret;
}

int decode(const struct vfm_decoder_options *options, const void *data,
           size_t len, size_t first, size_t piece, struct event_log *log,
           size_t *used, struct vfm_error *err)
{
    struct vfm_decoder *dec;
    size_t at = 0;
    size_t taken;
    int ret = vfm_decoder_new(options, &dec, err);

    assert(ret == 0);
    event_log_open(log);
    while (ret == 0 && at < len && !vfm_decoder_done(dec)) {
        size_t n = at == 0 && first > 0 ? first : piece;

        if (n > len - at)
            n = len - at;
        ret =
            decode_piece(dec, (const uint8_t *)data + at, n, &taken, log, err);
        at += taken;
    }
    assert(vfm_decoder_offset(dec) == at);
    if (ret == 0)
        ret = vfm_decoder_finish(dec, err);
    event_log_end(log);
    if (used != NULL)
        *used = at;
    vfm_decoder_free(dec);
    return ret;
}

static int decode_multifd_piece(struct vfm_multifd_decoder *dec,
                                const void *data, size_t len,
                                struct event_log *log, struct vfm_error *err)
{
    struct vfm_multifd_event ev;
    uint8_t *copy = own_copy(data, len);
    size_t taken = 0;
    size_t used;
    int ret;

    while ((ret = vfm_multifd_decoder_next(dec, copy + taken, len - taken,
                                           &used, &ev, err)) == 1) {
        taken += used;
        event_log_take_multifd(log, &ev);
    }
    taken += used;
    assert(ret != 0 || taken == len);
    free(copy);
    return ret;
}

int decode_multifd(const struct vfm_multifd_options *options, const void *data,
                   size_t len, size_t first, size_t piece,
                   struct event_log *log, struct vfm_error *err)
{
    struct vfm_multifd_decoder *dec;
    size_t at = 0;
    int ret = vfm_multifd_decoder_new(options, &dec, err);

    assert(ret == 0);
    event_log_open(log);
    while (ret == 0 && at < len) {
        size_t n = at == 0 && first > 0 ? first : piece;

        if (n > len - at)
            n = len - at;
        ret =
            decode_multifd_piece(dec, (const uint8_t *)data + at, n, log, err);
        at += n;
    }
    if (ret == 0)
        ret = vfm_multifd_decoder_finish(dec, err);
    event_log_end(log);
    vfm_multifd_decoder_free(dec);
    return ret;
}
