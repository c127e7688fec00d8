/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A compressed channel's pieces, of any bytes; and what is packed of the same
 * bytes comes out as it went in.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stream/packing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

/* Returns how many bytes came out of all pieces; they go to @to if it is not
 * NULL. */
static size_t unpack_all(struct unpacker *u, const uint8_t *in, size_t len,
                         uint8_t *to)
{
    uint8_t *out = malloc(PACKING_RAW);
    size_t total = 0;
    size_t used;
    ssize_t n;

    require(out != NULL);
    while ((n = unpacker_next(u, in, len, &used, out, NULL)) > 0) {
        require((size_t)n <= PACKING_RAW && used <= len);
        if (to != NULL)
            memcpy(to + total, out, (size_t)n);
        total += (size_t)n;
        in += used;
        len -= used;
    }
    free(out);
    return total;
}

static void there_and_back(struct unpacker *u, const uint8_t *data, size_t size)
{
    const struct iovec parts[] = {
        { (void *)data, size / 3 },
        { (void *)(data + size / 3), size - size / 3 },
    };
    uint8_t *packed = malloc(PACKING_MAX(size));
    uint8_t *back = malloc(size + 1);
    struct packer *p = NULL;
    ssize_t n;

    require(packed != NULL && back != NULL && packer_new(&p, NULL) == 0);
    n = packer_pack(p, parts, 2, packed, NULL);
    require(n >= 0 && (size_t)n <= PACKING_MAX(size));
    require(unpack_all(u, packed, (size_t)n, back) == size);
    require(memcmp(data, back, size) == 0);
    packer_free(p);
    free(packed);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unpacker *u;

    if (!packing_exists() || unpacker_new(&u, NULL) < 0)
        return 0;
    unpack_all(u, data, size, NULL);
    there_and_back(u, data, size);
    unpacker_free(u);
    return 0;
}
