/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bitmaps of pages.
 */
#include "check/pagebits.h"

#define WORD 64u

void pagebits_add(uint64_t *bits, struct raw_range reported, uint64_t page_size,
                  struct raw_range written)
{
    uint64_t begin = written.iova;
    uint64_t end = written.iova + written.length;
    uint64_t last = reported.iova + reported.length;

    if (begin < reported.iova)
        begin = reported.iova;
    if (end > last)
        end = last;
    if (begin >= end)
        return;
    for (uint64_t page = (begin - reported.iova) / page_size;
         page <= (end - 1 - reported.iova) / page_size; page++)
        bits[page / WORD] |= UINT64_C(1) << page % WORD;
}

bool pagebits_has(const uint64_t *bits, size_t page)
{
    return (bits[page / WORD] >> page % WORD & 1) != 0;
}

size_t pagebits_missing(const uint64_t *bits, const uint64_t *wanted,
                        size_t count)
{
    for (size_t page = 0; page < count; page++)
        if (pagebits_has(wanted, page) && !pagebits_has(bits, page))
            return page;
    return PAGEBITS_NONE;
}
