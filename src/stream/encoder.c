/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The small parts of a migration stream, into a bounded buffer.
 *
 * Which part belongs where is the migration's business, and so is the data
 * between a head and a tail.
 */
#include <errno.h>
#include <string.h>

#include "stream/encoder.h"
#include "stream/format.h"
#include "util/bytes.h"
#include "util/error.h"

static void fail(struct encoder *enc, int error, const char *what)
{
    if (enc->error != 0)
        return;
    enc->error = error;
    enc->what = what;
}

/* Room for @len bytes of @what, or NULL and the encoder has failed. */
static uint8_t *claim(struct encoder *enc, size_t len, const char *what)
{
    uint8_t *p = enc->buf + enc->len;

    if (enc->error == 0 && len > enc->size - enc->len)
        fail(enc, -ENOBUFS, what);
    if (enc->error != 0)
        return NULL;
    enc->len += len;
    return p;
}

static void put8(struct encoder *enc, uint8_t value, const char *what)
{
    uint8_t *p = claim(enc, 1, what);

    if (p != NULL)
        *p = value;
}

static void put16(struct encoder *enc, uint16_t value, const char *what)
{
    uint8_t *p = claim(enc, 2, what);

    if (p != NULL)
        put_be16(p, value);
}

static void put32(struct encoder *enc, uint32_t value, const char *what)
{
    uint8_t *p = claim(enc, 4, what);

    if (p != NULL)
        put_be32(p, value);
}

static void put64(struct encoder *enc, uint64_t value, const char *what)
{
    uint8_t *p = claim(enc, 8, what);

    if (p != NULL)
        put_be64(p, value);
}

static void put_bytes(struct encoder *enc, const void *data, size_t len,
                      const char *what)
{
    uint8_t *p = claim(enc, len, what);

    if (p != NULL && len > 0)
        memcpy(p, data, len);
}

/* Copies @name into @size zeroed bytes. */
static void put_padded(struct encoder *enc, const char *name, size_t size,
                       const char *what)
{
    uint8_t *p = claim(enc, size, what);

    if (p == NULL)
        return;
    memset(p, 0, size);
    memcpy(p, name, strlen(name));
}

static size_t name_length(struct encoder *enc, const char *name,
                          const char *what)
{
    size_t len = strlen(name);

    if (len > STREAM_NAME_MAX)
        fail(enc, -ENAMETOOLONG, what);
    return len;
}

void encoder_init(struct encoder *enc, void *buf, size_t size)
{
    *enc = (struct encoder){ .buf = buf, .size = size };
}

int encoder_finish(const struct encoder *enc, size_t *len,
                   struct vfm_error *err)
{
    if (enc->error != 0)
        return error_set(err, enc->error, "stream: cannot write %s: %s",
                         enc->what, strerror(-enc->error));
    *len = enc->len;
    return 0;
}

void encode_header(struct encoder *enc)
{
    put32(enc, STREAM_MAGIC, "the header");
    put32(enc, STREAM_VERSION, "the header");
}

void encode_configuration(struct encoder *enc, const char *machine)
{
    static const char what[] = "the configuration";
    size_t len = name_length(enc, machine, what);

    put8(enc, ITEM_CONFIGURATION, what);
    put32(enc, (uint32_t)len, what);
    put_bytes(enc, machine, len, what);
}

void encode_command(struct encoder *enc, enum vfm_stream_command command,
                    const void *payload, size_t len)
{
    static const char what[] = "a command";

    if (len > UINT16_MAX)
        fail(enc, -EINVAL, what);
    put8(enc, ITEM_COMMAND, what);
    put16(enc, (uint16_t)command, what);
    put16(enc, (uint16_t)len, what);
    put_bytes(enc, payload, len, what);
}

void encode_ping(struct encoder *enc, uint32_t value)
{
    uint8_t payload[4];

    put_be32(payload, value);
    encode_command(enc, VFM_COMMAND_PING, payload, sizeof(payload));
}

void encode_section_begin(struct encoder *enc, enum vfm_section_type type,
                          uint32_t id, const char *name, uint32_t instance_id,
                          uint32_t version)
{
    static const char what[] = "the beginning of a section";
    size_t len = name_length(enc, name, what);

    if (type != VFM_SECTION_START && type != VFM_SECTION_FULL)
        fail(enc, -EINVAL, what);
    put8(enc, (uint8_t)type, what);
    put32(enc, id, what);
    put8(enc, (uint8_t)len, what);
    put_bytes(enc, name, len, what);
    put32(enc, instance_id, what);
    put32(enc, version, what);
}

void encode_section_continue(struct encoder *enc, enum vfm_section_type type,
                             uint32_t id)
{
    static const char what[] = "the beginning of a section";

    if (type != VFM_SECTION_PART && type != VFM_SECTION_END)
        fail(enc, -EINVAL, what);
    put8(enc, (uint8_t)type, what);
    put32(enc, id, what);
}

void encode_section_footer(struct encoder *enc, uint32_t id)
{
    put8(enc, ITEM_FOOTER, "a footer");
    put32(enc, id, "a footer");
}

void encode_vfio_setup(struct encoder *enc)
{
    put64(enc, VFIO_TAG_SETUP, "a device's set-up");
    put64(enc, VFIO_TAG_END_OF_STATE, "a device's set-up");
}

void encode_vfio_data_head(struct encoder *enc, uint64_t size)
{
    put64(enc, VFIO_TAG_DATA, "a data record");
    put64(enc, size, "a data record");
}

void encode_vfio_end(struct encoder *enc)
{
    put64(enc, VFIO_TAG_END_OF_STATE, "the end of a device's records");
}

void encode_vfio_init_data_sent(struct encoder *enc)
{
    put64(enc, VFIO_TAG_INIT_DATA_SENT, "the end of the initial data");
}

void encode_vfio_config_head(struct encoder *enc)
{
    put64(enc, VFIO_TAG_CONFIG, "a configuration record");
}

void encode_vfio_config_load_ready(struct encoder *enc)
{
    put64(enc, VFIO_TAG_CONFIG_LOAD_READY, "the order to load configurations");
}

void encode_ram_blocks_head(struct encoder *enc, uint64_t total)
{
    if (total % RAM_PAGE_BYTES != 0)
        fail(enc, -EINVAL, "the list of blocks");
    put64(enc, total | RAM_FLAG_MEM_SIZE, "the list of blocks");
}

void encode_ram_block(struct encoder *enc, const char *name, uint64_t bytes)
{
    static const char what[] = "a block of memory";
    size_t len = name_length(enc, name, what);

    put8(enc, (uint8_t)len, what);
    put_bytes(enc, name, len, what);
    put64(enc, bytes, what);
}

void encode_ram_end(struct encoder *enc)
{
    put64(enc, RAM_FLAG_EOS, "the end of a part of memory");
}

void encode_blob_head(struct encoder *enc, uint64_t size)
{
    put64(enc, size, "a blob's length");
}

void encode_blob_digest(struct encoder *enc,
                        const uint8_t digest[BLOB_DIGEST_BYTES])
{
    put_bytes(enc, digest, BLOB_DIGEST_BYTES, "a blob's digest");
}

void encode_eof(struct encoder *enc)
{
    put8(enc, ITEM_EOF, "the end");
}

void encode_vmdescription_head(struct encoder *enc, size_t len)
{
    static const char what[] = "the vmdescription";

    if (len > UINT32_MAX)
        fail(enc, -EINVAL, what);
    put8(enc, ITEM_VMDESCRIPTION, what);
    put32(enc, (uint32_t)len, what);
}

void encode_multifd_init(struct encoder *enc, const uint8_t *uuid,
                         uint8_t channel)
{
    static const char what[] = "a channel's first packet";
    uint8_t *p = claim(enc, MULTIFD_INIT_BYTES, what);

    if (p == NULL)
        return;
    memset(p, 0, MULTIFD_INIT_BYTES);
    put_be32(p, MULTIFD_MAGIC);
    put_be32(p + 4, MULTIFD_VERSION);
    if (uuid != NULL)
        memcpy(p + 8, uuid, 16);
    p[24] = channel;
}

void encode_multifd_sync(struct encoder *enc)
{
    const size_t len =
        MULTIFD_RAM_HEAD_BYTES + 8 * (MULTIFD_PACKET_COVERS / RAM_PAGE_BYTES);
    uint8_t *p = claim(enc, len, "a barrier");

    if (p == NULL)
        return;
    memset(p, 0, len);
    put_be32(p, MULTIFD_MAGIC);
    put_be32(p + 4, MULTIFD_VERSION);
    put_be32(p + 8, MULTIFD_FLAG_SYNC);
}

void encode_multifd_device_head(struct encoder *enc, const char *name,
                                uint32_t instance_id, uint32_t index,
                                bool config, size_t size)
{
    static const char what[] = "a packet of device state";

    name_length(enc, name, what);
    if (size > UINT32_MAX - DEVICE_PACKET_HEAD_BYTES ||
        index == DEVICE_PACKET_NO_INDEX)
        fail(enc, -EINVAL, what);
    put32(enc, MULTIFD_MAGIC, what);
    put32(enc, MULTIFD_VERSION, what);
    put32(enc, MULTIFD_FLAG_DEVICE_STATE, what);
    put_padded(enc, name, MULTIFD_NAME_BYTES, what);
    put32(enc, instance_id, what);
    put32(enc, (uint32_t)(size + DEVICE_PACKET_HEAD_BYTES), what);
    put32(enc, DEVICE_PACKET_VERSION, what);
    put32(enc, index, what);
    put32(enc, config ? DEVICE_PACKET_CONFIG : 0, what);
}
