/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * zstd, in pieces.  Level 1: a channel is to gain time by it.
 */
#include <errno.h>
#include <stdlib.h>

#ifdef VFMIG_ZSTD
#include <zstd.h>
#endif

#include "stream/packing.h"
#include "util/bytes.h"
#include "util/error.h"

#ifdef VFMIG_ZSTD

#define LEVEL 1

_Static_assert(ZSTD_COMPRESSBOUND(PACKING_RAW) < PACKING_FRAME_MAX,
               "anything has room, compressed");

/* What is left of the parts. */
struct unpacked {
    const struct iovec *parts;
    int n;
    size_t at; /* in the first */
};

static struct ZSTD_CCtx_s *packer_zstd(struct packer *p)
{
    return (struct ZSTD_CCtx_s *)p;
}

static struct ZSTD_DCtx_s *unpacker_zstd(struct unpacker *u)
{
    return (struct ZSTD_DCtx_s *)u;
}

bool packing_exists(void)
{
    return true;
}

int packer_new(struct packer **pp, struct vfm_error *err)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();

    if (zstd == NULL)
        return error_set(err, -ENOMEM, "zstd: out of memory");
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    *pp = (struct packer *)zstd;
    return 0;
}

void packer_free(struct packer *p)
{
    ZSTD_freeCCtx(packer_zstd(p));
}

/* Gives zstd at most @room bytes more.  Returns how many it took; or an
 * error of zstd's. */
static size_t feed(ZSTD_CCtx *zstd, struct unpacked *src, size_t room,
                   ZSTD_outBuffer *out)
{
    size_t left = src->parts->iov_len - src->at;
    ZSTD_inBuffer in = {
        .src = (const uint8_t *)src->parts->iov_base + src->at,
        .size = left < room ? left : room,
    };

    while (in.pos < in.size) {
        size_t ret = ZSTD_compressStream2(zstd, out, &in, ZSTD_e_continue);

        if (ZSTD_isError(ret))
            return ret;
    }
    src->at += in.size;
    if (src->at == src->parts->iov_len) {
        src->parts++;
        src->n--;
        src->at = 0;
    }
    return in.size;
}

/* One piece.  Returns its size, 0 if nothing is left. */
static ssize_t pack_piece(ZSTD_CCtx *zstd, struct unpacked *src, uint8_t *to,
                          struct vfm_error *err)
{
    ZSTD_outBuffer out = { .dst = to + PACKING_HEAD,
                           .size = PACKING_FRAME_MAX };
    ZSTD_inBuffer none = { 0 };
    size_t raw = 0;
    size_t ret = 0;

    while (src->n > 0 && raw < PACKING_RAW && !ZSTD_isError(ret)) {
        ret = feed(zstd, src, PACKING_RAW - raw, &out);
        raw += ZSTD_isError(ret) ? 0 : ret;
    }
    if (raw == 0 && !ZSTD_isError(ret))
        return 0;
    if (!ZSTD_isError(ret))
        ret = ZSTD_compressStream2(zstd, &out, &none, ZSTD_e_end);
    /* There was room for anything: more than nothing left is no success. */
    if (ZSTD_isError(ret) || ret != 0)
        return error_set(err, -EIO, "zstd: cannot compress: %s",
                         ZSTD_getErrorName(ret));
    put_be32(to, (uint32_t)out.pos);
    put_be32(to + 4, (uint32_t)raw);
    return (ssize_t)(PACKING_HEAD + out.pos);
}

ssize_t packer_pack(struct packer *p, const struct iovec *parts, int n,
                    uint8_t *out, struct vfm_error *err)
{
    struct unpacked src = { parts, n, 0 };
    size_t len = 0;

    ZSTD_CCtx_reset(packer_zstd(p), ZSTD_reset_session_only);
    for (;;) {
        ssize_t ret = pack_piece(packer_zstd(p), &src, out + len, err);

        if (ret <= 0)
            return ret < 0 ? ret : (ssize_t)len;
        len += (size_t)ret;
    }
}

int unpacker_new(struct unpacker **up, struct vfm_error *err)
{
    *up = (struct unpacker *)ZSTD_createDCtx();
    return *up == NULL ? error_set(err, -ENOMEM, "zstd: out of memory") : 0;
}

void unpacker_free(struct unpacker *u)
{
    ZSTD_freeDCtx(unpacker_zstd(u));
}

ssize_t unpacker_next(struct unpacker *u, const uint8_t *in, size_t len,
                      size_t *used, uint8_t *out, struct vfm_error *err)
{
    size_t size, raw, ret;

    *used = 0;
    if (len < PACKING_HEAD)
        return 0;
    size = get_be32(in);
    raw = get_be32(in + 4);
    if (size == 0 || size > PACKING_FRAME_MAX || raw == 0 || raw > PACKING_RAW)
        return error_set(err, -EBADMSG,
                         "zstd: a piece of %zu bytes in a frame of %zu", raw,
                         size);
    if (len < PACKING_HEAD + size)
        return 0;
    ret = ZSTD_decompressDCtx(unpacker_zstd(u), out, raw, in + PACKING_HEAD,
                              size);
    if (ZSTD_isError(ret))
        return error_set(err, -EBADMSG, "zstd: a frame of %zu bytes: %s", size,
                         ZSTD_getErrorName(ret));
    if (ret != raw)
        return error_set(err, -EBADMSG,
                         "zstd: a frame holds %zu bytes where %zu were said",
                         ret, raw);
    *used = PACKING_HEAD + size;
    return (ssize_t)raw;
}

#else

static int has_none(struct vfm_error *err)
{
    return error_set(err, -EOPNOTSUPP, "zstd: is not in this build");
}

bool packing_exists(void)
{
    return false;
}

int packer_new(struct packer **pp, struct vfm_error *err)
{
    (void)pp;
    return has_none(err);
}

void packer_free(struct packer *p)
{
    (void)p;
}

ssize_t packer_pack(struct packer *p, const struct iovec *parts, int n,
                    uint8_t *out, struct vfm_error *err)
{
    (void)p;
    (void)parts;
    (void)n;
    (void)out;
    return has_none(err);
}

int unpacker_new(struct unpacker **up, struct vfm_error *err)
{
    (void)up;
    return has_none(err);
}

void unpacker_free(struct unpacker *u)
{
    (void)u;
}

ssize_t unpacker_next(struct unpacker *u, const uint8_t *in, size_t len,
                      size_t *used, uint8_t *out, struct vfm_error *err)
{
    (void)u;
    (void)in;
    (void)len;
    (void)used;
    (void)out;
    return has_none(err);
}

#endif
