/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * XXH3-128 by libxxhash.  What is digested, and when it must agree, is the
 * business of those who call.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>
#ifdef HAVE_XXH_DISPATCH
/* The processor's widest vectors, found out once.  A static libxxhash may come
 * without: who links that has those that every processor has. */
#include <xxh_x86dispatch.h>
#pragma weak XXH3_128bits_dispatch
#pragma weak XXH3_128bits_update_dispatch
#undef XXH3_128bits
#undef XXH3_128bits_update
#define IS_WIDE (XXH3_128bits_update_dispatch != NULL)
#else
#define IS_WIDE                      false
#define XXH3_128bits_dispatch        XXH3_128bits
#define XXH3_128bits_update_dispatch XXH3_128bits_update
#endif

#include "util/digest.h"

/* The library's state is opaque and asks for an alignment of its own. */
static XXH3_state_t *state(const struct digest *digest)
{
    return (XXH3_state_t *)digest;
}

struct digest *digest_new(void)
{
    XXH3_state_t *new = XXH3_createState();

    if (new != NULL)
        XXH3_128bits_reset(new);
    return (struct digest *)new;
}

void digest_free(struct digest *digest)
{
    XXH3_freeState(state(digest));
}

void digest_update(struct digest *digest, const void *data, size_t len)
{
    if (IS_WIDE)
        XXH3_128bits_update_dispatch(state(digest), data, len);
    else
        XXH3_128bits_update(state(digest), data, len);
}

void digest_of(const void *data, size_t len, uint8_t digest[DIGEST_BYTES])
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, IS_WIDE
                                             ? XXH3_128bits_dispatch(data, len)
                                             : XXH3_128bits(data, len));
    memcpy(digest, canonical.digest, DIGEST_BYTES);
}

void digest_hex(const struct digest *digest, char hex[DIGEST_HEX_SIZE])
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state(digest)));
    for (size_t i = 0; i < sizeof(canonical.digest); i++)
        snprintf(hex + 2 * i, 3, "%02x", canonical.digest[i]);
}
