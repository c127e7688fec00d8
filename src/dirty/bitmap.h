/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DIRTY_BITMAP_H
#define VFM_SRC_DIRTY_BITMAP_H

/*
 * Arithmetic on bitmaps.  Bit n is bit n mod 64 of word n / 64, which is how
 * the kernel and vfio-user lay them out.  Nothing here allocates or fails;
 * ranges are the caller's to check.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_WORD_BITS 64

static inline size_t bitmap_words(uint64_t bits)
{
    return (size_t)(bits / BITMAP_WORD_BITS + (bits % BITMAP_WORD_BITS != 0));
}

static inline bool bitmap_test(const uint64_t *map, uint64_t bit)
{
    return map[bit / BITMAP_WORD_BITS] >> bit % BITMAP_WORD_BITS & 1;
}

static inline void bitmap_set(uint64_t *map, uint64_t bit)
{
    map[bit / BITMAP_WORD_BITS] |= UINT64_C(1) << bit % BITMAP_WORD_BITS;
}

static inline void bitmap_clear(uint64_t *map, uint64_t bit)
{
    map[bit / BITMAP_WORD_BITS] &= ~(UINT64_C(1) << bit % BITMAP_WORD_BITS);
}

/* Sets or clears @count bits from @first on. */
void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t count);
void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t count);

/* How many of @count bits from @first on are set. */
uint64_t bitmap_count(const uint64_t *map, uint64_t first, uint64_t count);

/* The first bit at or after @from, below @end, that is set (or is not); @end if
 * there is none. */
uint64_t bitmap_next(const uint64_t *map, uint64_t from, uint64_t end);
uint64_t bitmap_next_zero(const uint64_t *map, uint64_t from, uint64_t end);

/* Sets in @to, from bit @to_first on, what is set among the @count bits of
 * @from from @from_first on. */
void bitmap_merge(uint64_t *to, uint64_t to_first, const uint64_t *from,
                  uint64_t from_first, uint64_t count);

#endif
