/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_ENCODER_H
#define VFM_SRC_STREAM_ENCODER_H

#include <stddef.h>
#include <stdint.h>

#include <vfmig/stream.h>

#include "stream/format.h"

/*
 * Writes the small parts of a migration stream into a buffer.
 *
 * Bulk data is never copied: a record is a head from here, the data by
 * reference, and a tail from here, as three pieces of one iovec.
 *
 * Errors     Sticky: after the first one nothing more is written, and
 *            encoder_finish() returns it; so a sequence needs one check.
 *              -ENOBUFS       the buffer is full
 *              -ENAMETOOLONG  a name has more than 255 characters
 *              -EINVAL        a value that the format cannot hold
 * Ownership  The buffer is the caller's.
 */
struct encoder {
    uint8_t *buf;
    size_t size;
    size_t len;       /* what was written so far */
    int error;        /* the first one, or 0 */
    const char *what; /* what could not be written */
};

/* Enough for any one call below, but for the data it is handed. */
#define ENCODER_PIECE_MAX 320

void encoder_init(struct encoder *enc, void *buf, size_t size);

/* Returns 0 and the number of bytes in *@len, or the first error. */
int encoder_finish(const struct encoder *enc, size_t *len,
                   struct vfm_error *err);

/* "QEVM", version 3. */
void encode_header(struct encoder *enc);

/* The configuration section: @machine only, no subsections. */
void encode_configuration(struct encoder *enc, const char *machine);

void encode_command(struct encoder *enc, enum vfm_stream_command command,
                    const void *payload, size_t len);
void encode_ping(struct encoder *enc, uint32_t value);

/* Begins a START or FULL section, which carry their name. */
void encode_section_begin(struct encoder *enc, enum vfm_section_type type,
                          uint32_t id, const char *name, uint32_t instance_id,
                          uint32_t version);
/* Begins a PART or END section. */
void encode_section_continue(struct encoder *enc, enum vfm_section_type type,
                             uint32_t id);
void encode_section_footer(struct encoder *enc, uint32_t id);

/* The whole body of a VFIO START section. */
void encode_vfio_setup(struct encoder *enc);
/* @size bytes of device data must follow. */
void encode_vfio_data_head(struct encoder *enc, uint64_t size);
/* Ends the body of a PART, END or FULL section. */
void encode_vfio_end(struct encoder *enc);
/* Ends the body of a PART section, in place of encode_vfio_end(). */
void encode_vfio_init_data_sent(struct encoder *enc);
/* The configuration record must follow, then encode_vfio_end(). */
void encode_vfio_config_head(struct encoder *enc);
/* Is the whole body of a FULL section. */
void encode_vfio_config_load_ready(struct encoder *enc);

/* The body of RAM's START section: this, the blocks, which have @total bytes,
 * and encode_ram_end(). */
void encode_ram_blocks_head(struct encoder *enc, uint64_t total);
void encode_ram_block(struct encoder *enc, const char *name, uint64_t bytes);
/* Ends the body of a RAM section. */
void encode_ram_end(struct encoder *enc);

/* @size bytes of the blob must follow, then their digest. */
void encode_blob_head(struct encoder *enc, uint64_t size);
void encode_blob_digest(struct encoder *enc,
                        const uint8_t digest[BLOB_DIGEST_BYTES]);

void encode_eof(struct encoder *enc);
/* @len bytes of JSON must follow. */
void encode_vmdescription_head(struct encoder *enc, size_t len);

/* @uuid may be NULL. */
void encode_multifd_init(struct encoder *enc, const uint8_t *uuid,
                         uint8_t channel);
/* A barrier, of a sender whose pages have 4 KiB. */
void encode_multifd_sync(struct encoder *enc);
/* Packet @index of a device; @size bytes must follow: device data, or with
 * @config the configuration record between its two tags. */
void encode_multifd_device_head(struct encoder *enc, const char *name,
                                uint32_t instance_id, uint32_t index,
                                bool config, size_t size);

#endif
