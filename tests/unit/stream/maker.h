/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_STREAM_MAKER_H
#define TEST_STREAM_MAKER_H

/*
 * Small streams, good and bad, and what the decoder must say to them.
 */

#include <stddef.h>
#include <stdint.h>

#include "stream/encoder.h"
#include "stream/format.h"

#define MAKER_PAGE 1024 /* small pages keep the streams small */
#define MAKER_VFIO "0000:00:01.0/vfio"
#define MAKER_ID   37

struct maker {
    struct encoder enc;
    uint8_t buf[1 << 18];
};

/* Begins with the header and a configuration. */
void make(struct maker *m);
/* Begins with nothing. */
void make_empty(struct maker *m);

void make_bytes(struct maker *m, const void *data, size_t len);
void make_text(struct maker *m, const char *text);
void make_8(struct maker *m, uint8_t value);
void make_32(struct maker *m, uint32_t value);
void make_64(struct maker *m, uint64_t value);

/* Sections of the device, whole. */
void make_vfio_start(struct maker *m);
void make_vfio_part(struct maker *m, size_t bytes);
void make_vfio_end(struct maker *m);
void make_vfio_full(struct maker *m);
/* Everything but the FULL, which is open. */
void make_vfio_open_full(struct maker *m);

/* RAM: one block "pc.ram" of 16 pages and "rom" of one. */
void make_ram_start(struct maker *m);
void make_ram_word(struct maker *m, uint64_t word, const char *block);

/* A blob's section, "cpu/vfmig-blob" of version 3: its beginning; its body, of
 * which the pattern is @bytes long; and its end. */
#define MAKER_BLOB    "cpu/vfmig-blob"
#define MAKER_BLOB_ID 38
void make_blob_begin(struct maker *m);
void make_blob(struct maker *m, size_t bytes);

/* The end of the sections and a vmdescription. */
void make_eof(struct maker *m, const char *json);

/* A whole stream of a device only, as this library writes it. */
void make_own(struct maker *m);
/* A whole stream with a bit of everything, as QEMU would write it. */
void make_qemu(struct maker *m);

size_t make_len(const struct maker *m);

/* The decoder refuses it, in one piece and byte by byte, with @code and the
 * very sentence @says. */
void refused(const struct maker *m, int code, const char *says);
void refused_with(const struct vfm_decoder_options *options,
                  const struct maker *m, int code, const char *says);
/* The decoder takes it; the text of the events has @has. */
void accepted(const struct maker *m, const char *has);
void accepted_with(const struct vfm_decoder_options *options,
                   const struct maker *m, const char *has);

/* With small pages. */
extern const struct vfm_decoder_options maker_options;

#endif
