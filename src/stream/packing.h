/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_PACKING_H
#define VFM_SRC_STREAM_PACKING_H

/*
 * A channel's bytes, compressed by zstd, in pieces that need little memory: of
 * at most PACKING_RAW bytes each, and each with a head,
 *
 *     u32  bytes of the zstd frame that follows (big endian, as all here)
 *     u32  bytes that are in it, 1 to PACKING_RAW
 *
 * A frame needs nothing of those before it.  What an unpacker allocates does
 * not depend on what comes: a frame that says that it holds more than the head
 * says, or less, is an error.
 *
 * Without libzstd there is none of it: packing_exists() says so, and the rest
 * fails with -EOPNOTSUPP.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <vfmig/error.h>

#define PACKING_RAW       ((size_t)64 << 10)
#define PACKING_HEAD      ((size_t)8)

/* The longest frame: what zstd makes of bytes that it cannot compress, and
 * some. */
#define PACKING_FRAME_MAX (PACKING_RAW + ((size_t)1 << 10))

/* Enough for a piece, and for those that @raw bytes become. */
#define PACKING_PIECE_MAX (PACKING_HEAD + PACKING_FRAME_MAX)
#define PACKING_MAX(raw)  (((raw) / PACKING_RAW + 1) * PACKING_PIECE_MAX)

struct packer;
struct unpacker;

bool packing_exists(void);

int packer_new(struct packer **pp, struct vfm_error *err);
void packer_free(struct packer *p);

/* Packs the @n parts into @out.  Returns how many bytes that is, at most
 * PACKING_MAX() of theirs; or a negative errno. */
ssize_t packer_pack(struct packer *p, const struct iovec *parts, int n,
                    uint8_t *out, struct vfm_error *err);

int unpacker_new(struct unpacker **up, struct vfm_error *err);
void unpacker_free(struct unpacker *u);

/* Unpacks the first piece of the @len bytes at @in to @out, where PACKING_RAW
 * bytes have room.  Returns how many bytes came out, and in *@used how many
 * went in; 0 if the piece is not all there; -EBADMSG for what no packer makes.
 */
ssize_t unpacker_next(struct unpacker *u, const uint8_t *in, size_t len,
                      size_t *used, uint8_t *out, struct vfm_error *err);

#endif
