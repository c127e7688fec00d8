/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small streams.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "event-log.h"
#include "maker.h"
#include "util/bytes.h"

const struct vfm_decoder_options maker_options = {
    .size = sizeof(maker_options),
    .page_size = MAKER_PAGE,
};

void make_empty(struct maker *m)
{
    encoder_init(&m->enc, m->buf, sizeof(m->buf));
}

void make(struct maker *m)
{
    make_empty(m);
    encode_header(&m->enc);
    encode_configuration(&m->enc, "test");
}

void make_bytes(struct maker *m, const void *data, size_t len)
{
    assert(m->enc.error == 0 && len <= sizeof(m->buf) - m->enc.len);
    memcpy(m->buf + m->enc.len, data, len);
    m->enc.len += len;
}

void make_text(struct maker *m, const char *text)
{
    make_bytes(m, text, strlen(text));
}

void make_8(struct maker *m, uint8_t value)
{
    make_bytes(m, &value, 1);
}

void make_32(struct maker *m, uint32_t value)
{
    uint8_t p[4];

    put_be32(p, value);
    make_bytes(m, p, sizeof(p));
}

void make_64(struct maker *m, uint64_t value)
{
    uint8_t p[8];

    put_be64(p, value);
    make_bytes(m, p, sizeof(p));
}

static void make_pattern(struct maker *m, size_t len, unsigned int seed)
{
    for (size_t i = 0; i < len; i++)
        make_8(m, (uint8_t)(i * 7 + seed));
}

/* ---------------------------------------------------------------------- */

void make_vfio_start(struct maker *m)
{
    encode_section_begin(&m->enc, VFM_SECTION_START, MAKER_ID, MAKER_VFIO, 0,
                         1);
    encode_vfio_setup(&m->enc);
    encode_section_footer(&m->enc, MAKER_ID);
}

void make_vfio_part(struct maker *m, size_t bytes)
{
    encode_section_continue(&m->enc, VFM_SECTION_PART, MAKER_ID);
    encode_vfio_data_head(&m->enc, bytes);
    make_pattern(m, bytes, 1);
    encode_vfio_end(&m->enc);
    encode_section_footer(&m->enc, MAKER_ID);
}

void make_vfio_end(struct maker *m)
{
    encode_section_continue(&m->enc, VFM_SECTION_END, MAKER_ID);
    encode_vfio_data_head(&m->enc, 9);
    make_pattern(m, 9, 2);
    encode_vfio_data_head(&m->enc, 0);
    encode_vfio_data_head(&m->enc, 3);
    make_pattern(m, 3, 3);
    encode_vfio_end(&m->enc);
    encode_section_footer(&m->enc, MAKER_ID);
}

static void begin_vfio_full(struct maker *m)
{
    encode_section_begin(&m->enc, VFM_SECTION_FULL, MAKER_ID, MAKER_VFIO, 0, 1);
}

/* In the record are the tags of an end, one with a wrong footer behind it. */
static void make_config(struct maker *m)
{
    encode_vfio_config_head(&m->enc);
    make_pattern(m, 5, 4);
    encode_vfio_end(&m->enc);
    encode_section_footer(&m->enc, MAKER_ID + 1);
    make_8(m, 0xff);
    encode_vfio_end(&m->enc);
    make_pattern(m, 2, 5);
    encode_vfio_end(&m->enc);
}

void make_vfio_full(struct maker *m)
{
    begin_vfio_full(m);
    make_config(m);
    encode_section_footer(&m->enc, MAKER_ID);
}

void make_vfio_open_full(struct maker *m)
{
    make(m);
    make_vfio_start(m);
    make_vfio_end(m);
    begin_vfio_full(m);
}

void make_blob_begin(struct maker *m)
{
    encode_section_begin(&m->enc, VFM_SECTION_FULL, MAKER_BLOB_ID, MAKER_BLOB,
                         0, 3);
}

void make_blob(struct maker *m, size_t bytes)
{
    static const uint8_t digest[BLOB_DIGEST_BYTES] = "0123456789abcdef";

    make_blob_begin(m);
    encode_blob_head(&m->enc, bytes);
    make_pattern(m, bytes, 11);
    encode_blob_digest(&m->enc, digest);
    encode_section_footer(&m->enc, MAKER_BLOB_ID);
}

void make_eof(struct maker *m, const char *json)
{
    encode_eof(&m->enc);
    if (json == NULL)
        return;
    encode_vmdescription_head(&m->enc, strlen(json));
    make_text(m, json);
}

void make_own(struct maker *m)
{
    make(m);
    encode_command(&m->enc, VFM_COMMAND_OPEN_RETURN_PATH, NULL, 0);
    encode_ping(&m->enc, 1);
    make_vfio_start(m);
    make_vfio_part(m, 11);
    encode_section_continue(&m->enc, VFM_SECTION_PART, MAKER_ID);
    encode_vfio_init_data_sent(&m->enc);
    encode_section_footer(&m->enc, MAKER_ID);
    make_vfio_part(m, 0);
    encode_command(&m->enc, VFM_COMMAND_SWITCHOVER_START, NULL, 0);
    make_vfio_end(m);
    make_blob(m, 70);
    make_vfio_full(m);
    make_eof(m, "{\"vfmig\": {}}");
}

/* ---------------------------------------------------------------------- */

static void make_block(struct maker *m, const char *name, uint64_t bytes)
{
    make_8(m, (uint8_t)strlen(name));
    make_text(m, name);
    make_64(m, bytes);
}

void make_ram_start(struct maker *m)
{
    encode_section_begin(&m->enc, VFM_SECTION_START, 1, "ram", 0, 4);
    make_64(m, 17 * MAKER_PAGE | RAM_FLAG_MEM_SIZE);
    make_block(m, "pc.ram", 16 * MAKER_PAGE);
    make_block(m, "rom", MAKER_PAGE);
    make_64(m, RAM_FLAG_MULTIFD_FLUSH);
    make_64(m, RAM_FLAG_EOS);
    encode_section_footer(&m->enc, 1);
}

void make_ram_word(struct maker *m, uint64_t word, const char *block)
{
    make_64(m, word);
    if (block == NULL)
        return;
    make_8(m, (uint8_t)strlen(block));
    make_text(m, block);
}

static void make_ram_part(struct maker *m, enum vfm_section_type type)
{
    encode_section_continue(&m->enc, type, 1);
    make_ram_word(m, RAM_FLAG_PAGE, "pc.ram");
    make_pattern(m, MAKER_PAGE, 6);
    make_ram_word(m, MAKER_PAGE | RAM_FLAG_ZERO | RAM_FLAG_CONTINUE, NULL);
    make_8(m, 0);
    make_ram_word(m, RAM_FLAG_ZERO, "rom");
    make_8(m, 0);
    make_ram_word(m, 15 * MAKER_PAGE | RAM_FLAG_XBZRLE, "pc.ram");
    make_8(m, 1);
    make_bytes(m, "\0\3abc", 5);
    make_64(m, RAM_FLAG_MULTIFD_FLUSH);
    make_64(m, RAM_FLAG_EOS);
    encode_section_footer(&m->enc, 1);
}

static void make_opaque(struct maker *m, uint32_t id, const char *name,
                        uint32_t instance_id, size_t bytes)
{
    encode_section_begin(&m->enc, VFM_SECTION_FULL, id, name, instance_id, 2);
    make_pattern(m, bytes, id);
    encode_section_footer(&m->enc, id);
}

/* What looks like the end of the stream, but is a device's body. */
static const char false_end[] = "\0\6\0\0\0\x10{\"devices\": []}\n"
                                "\0\6\0\0\0\x0f{\"devices\": []}"
                                "\0\6\0\1\0\0{\"abcd\0\6\0\0\0\x10{\"abcd";

static void make_devices(struct maker *m)
{
    make_opaque(m, 2, "timer", 0, 24);
    make_opaque(m, 3, "dma", 0, 0);
    make_opaque(m, 4, "dma", 1, 7);
    encode_section_begin(&m->enc, VFM_SECTION_FULL, 5, "trap", 0, 0);
    make_bytes(m, false_end, sizeof(false_end));
    encode_section_footer(&m->enc, 5);
    make_vfio_full(m);
    make_opaque(m, 6, "last", 0, 1);
}

void make_qemu(struct maker *m)
{
    char json[1024];

    make(m);
    make_text(m, "\5\x1a"
                 "configuration/capabilities");
    make_32(m, 1);
    make_32(m, 2);
    make_text(m, "\5first\6second");
    make_text(m, "\5\x12"
                 "configuration/uuid");
    make_32(m, 1);
    make_pattern(m, 16, 8);
    encode_command(&m->enc, VFM_COMMAND_OPEN_RETURN_PATH, NULL, 0);
    make_ram_start(m);
    make_vfio_start(m);
    make_ram_part(m, VFM_SECTION_PART);
    make_vfio_part(m, 20);
    make_ram_part(m, VFM_SECTION_END);
    make_vfio_end(m);
    make_devices(m);
    /* Sizes in all the ways that they are told. */
    snprintf(json, sizeof(json),
             "{\"page_size\": 1024, \"devices\": ["
             "{\"name\": \"timer\", \"instance_id\": 0, \"fields\": ["
             "{\"size\": 2, \"array_len\": 3}, {\"size\": 1}],"
             " \"subsections\": [{\"vmsd_name\": \"abc\", \"fields\": ["
             "{\"size\": 8}]}]},"
             "{\"name\": \"dma\", \"instance_id\": 0, \"size\": 0},"
             "{\"name\": \"dma\", \"instance_id\": 1, \"size\": 7},"
             "{\"name\": \"trap\", \"instance_id\": 0, \"size\": %zu},"
             "{\"name\": \"" MAKER_VFIO "\", \"instance_id\": 0, "
             "\"size\": 45},"
             "{\"name\": \"last\", \"instance_id\": 0, \"size\": 1}]}",
             sizeof(false_end));
    make_eof(m, json);
}

/* ---------------------------------------------------------------------- */

size_t make_len(const struct maker *m)
{
    assert(m->enc.error == 0);
    return m->enc.len;
}

static void check_refusal(const struct vfm_decoder_options *options,
                          const struct maker *m, size_t piece, int code,
                          const char *says)
{
    struct vfm_error err = { 0 };
    struct event_log log;
    int ret = decode(options, m->buf, make_len(m), 0, piece, &log, NULL, &err);

    if (ret != code || strcmp(err.message, says) != 0)
        fprintf(stderr, "%d '%s' instead of %d '%s'\n", ret, err.message, code,
                says);
    assert(ret == code && err.code == code);
    assert(strcmp(err.message, says) == 0);
    event_log_free(&log);
}

void refused_with(const struct vfm_decoder_options *options,
                  const struct maker *m, int code, const char *says)
{
    check_refusal(options, m, SIZE_MAX, code, says);
    check_refusal(options, m, 1, code, says);
}

void refused(const struct maker *m, int code, const char *says)
{
    refused_with(&maker_options, m, code, says);
}

void accepted_with(const struct vfm_decoder_options *options,
                   const struct maker *m, const char *has)
{
    struct vfm_error err = { 0 };
    struct event_log log;
    size_t used;
    int ret =
        decode(options, m->buf, make_len(m), 0, SIZE_MAX, &log, &used, &err);

    if (ret != 0 || strstr(log.text, has) == NULL)
        fprintf(stderr, "%d '%s', no '%s' in\n%s\n", ret, err.message, has,
                log.text);
    assert(ret == 0 && used == make_len(m));
    assert(strstr(log.text, has) != NULL);
    event_log_free(&log);
}

void accepted(const struct maker *m, const char *has)
{
    accepted_with(&maker_options, m, has);
}
