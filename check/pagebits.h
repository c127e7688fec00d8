/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_PAGEBITS_H
#define VFM_CHECK_PAGEBITS_H

/*
 * Bitmaps of pages: what a report of a log has to say.
 *
 * Bit n of the bitmap, counted from the lowest of its first word, stands for
 * the n-th page of the range that is reported.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check/raw.h"

#define PAGEBITS_NONE SIZE_MAX

/* Sets the bits of the pages of @page_size that @written touches, in a report
 * of @reported.  What is outside is not in it. */
void pagebits_add(uint64_t *bits, struct raw_range reported, uint64_t page_size,
                  struct raw_range written);
bool pagebits_has(const uint64_t *bits, size_t page);
/* The first page of @count that is in @wanted and not in @bits; or none. */
size_t pagebits_missing(const uint64_t *bits, const uint64_t *wanted,
                        size_t count);

#endif
