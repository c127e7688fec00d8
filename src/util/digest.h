/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_DIGEST_H
#define VFM_SRC_UTIL_DIGEST_H

/*
 * XXH3 with 128 bits, fed piece by piece: finds damage, proves no origin.
 */

#include <stddef.h>
#include <stdint.h>

/* 32 hexadecimal digits, as the reference implementation prints them, and
 * the terminating zero. */
#define DIGEST_HEX_SIZE 33

struct digest;

/* Returns NULL if there is no memory. */
struct digest *digest_new(void);
/* NULL is allowed. */
void digest_free(struct digest *digest);

void digest_update(struct digest *digest, const void *data, size_t len);

/* Of @len bytes in one piece, most significant byte first. */
#define DIGEST_BYTES 16
void digest_of(const void *data, size_t len, uint8_t digest[DIGEST_BYTES]);

/* The digest of all bytes so far; more may follow. */
void digest_hex(const struct digest *digest, char hex[DIGEST_HEX_SIZE]);

#endif
