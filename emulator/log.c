/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA logging: one bitmap per mapping, at the page size that START agreed
 * on, over absolute page numbers.  A report may have any page size and any
 * range, across mappings and holes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/dma.h"

#define WORD_BITS 64u

static uint64_t last_of(uint64_t iova, uint64_t size)
{
    return iova + (size - 1);
}

static bool power_of_two(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

int log_attach(struct dma *d, struct mapping *m)
{
    uint64_t page = d->log.page_size;
    uint64_t pages;

    if (!d->log.active)
        return 0;
    m->log_first = m->iova / page;
    pages = last_of(m->iova, m->size) / page - m->log_first + 1;
    m->log_words = (pages - 1) / WORD_BITS + 1;
    if (m->log_words > LOG_BYTES_MAX / 8 ||
        m->log_words * 8 > LOG_BYTES_MAX - d->log.bytes)
        return -ENOMEM;
    m->log = calloc(m->log_words, 8);
    if (m->log == NULL)
        return -ENOMEM;
    d->log.bytes += m->log_words * 8;
    return 0;
}

void log_detach(struct dma *d, struct mapping *m)
{
    if (m->log == NULL)
        return;
    d->log.bytes -= m->log_words * 8;
    free(m->log);
    m->log = NULL;
}

void log_forget(struct dma *d)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->mappings[i].log != NULL)
            memset(d->mappings[i].log, 0, d->mappings[i].log_words * 8);
}

void log_stop(struct dma *d)
{
    for (size_t i = 0; i < d->count; i++)
        log_detach(d, &d->mappings[i]);
    free(d->log.ranges);
    d->log = (struct dirty_log){ 0 };
}

static int by_address(const void *a, const void *b)
{
    const struct vfu_log_range *x = a, *y = b;

    return (x->iova > y->iova) - (x->iova < y->iova);
}

/* Takes a sorted copy of the ranges, which must not overlap. */
static int take_ranges(struct dirty_log *log,
                       const struct vfu_log_range *ranges, uint32_t count)
{
    if (count == 0)
        return 0;
    if (count > LOG_RANGES_MAX)
        return -E2BIG;
    log->ranges = calloc(count, sizeof(*ranges));
    if (log->ranges == NULL)
        return -ENOMEM;
    log->num_ranges = count;
    memcpy(log->ranges, ranges, count * sizeof(*ranges));
    qsort(log->ranges, count, sizeof(*ranges), by_address);
    for (uint32_t i = 0; i < count; i++) {
        const struct vfu_log_range *r = &log->ranges[i];

        if (r->length == 0 || r->length - 1 > UINT64_MAX - r->iova ||
            r->iova % LOG_PAGE_MIN != 0 || r->length % LOG_PAGE_MIN != 0)
            return -EINVAL;
        if (i > 0 && last_of(r[-1].iova, r[-1].length) >= r->iova)
            return -EINVAL;
    }
    return 0;
}

int log_start(struct dma *d, uint64_t *page_size,
              const struct vfu_log_range *ranges, uint32_t num_ranges)
{
    int ret;

    if (d->log.active)
        return -EBUSY;
    if (!power_of_two(*page_size) || *page_size < LOG_PAGE_MIN) {
        if (d->mutant != MUTANT_LOG_PAGE_SIZE_UNCHECKED)
            return -EINVAL;
        *page_size = LOG_PAGE_MIN;
    }
    if (*page_size > LOG_PAGE_MAX)
        *page_size = LOG_PAGE_MAX;
    d->log = (struct dirty_log){ .active = true, .page_size = *page_size };
    ret = take_ranges(&d->log, ranges, num_ranges);
    for (size_t i = 0; ret == 0 && i < d->count; i++)
        ret = log_attach(d, &d->mappings[i]);
    if (ret < 0)
        log_stop(d);
    return ret;
}

static void set_bits(const struct dma *d, struct mapping *m, uint64_t first,
                     uint64_t last)
{
    for (uint64_t p = first; p <= last; p++) {
        uint64_t bit = p - m->log_first;

        if (bit / WORD_BITS >= m->log_words)
            break; /* a mutant may count one too far */
        if (d->mutant == MUTANT_LOG_MISSES_WORD_END &&
            bit % WORD_BITS == WORD_BITS - 1)
            continue;
        m->log[bit / WORD_BITS] |= UINT64_C(1) << bit % WORD_BITS;
    }
}

/* Marks the part of [@first, @last], in bytes, that range @r asks for. */
static void mark_range(const struct dma *d, struct mapping *m,
                       const struct vfu_log_range *r, uint64_t first,
                       uint64_t last)
{
    uint64_t page = d->log.page_size;
    uint64_t r_last = last_of(r->iova, r->length);

    if (r->iova > last || r_last < first)
        return;
    set_bits(d, m, (first > r->iova ? first : r->iova) / page,
             (last < r_last ? last : r_last) / page);
}

/* Makes the bug's mistake with what is to be marked; false: nothing is. */
static bool mutant_spoil_mark(const struct dma *d, uint64_t *first,
                              uint64_t *last)
{
    uint64_t page = d->log.page_size;

    switch (d->mutant) {
    case MUTANT_LOG_MISSES_LAST_PAGE:
        if (*last / page > *first / page)
            *last = *last / page * page - 1;
        return true;
    case MUTANT_LOG_OFF_BY_ONE:
        *first += page;
        *last += page;
        return true;
    default:
        return !d->log_sleeps;
    }
}

void log_mark(struct dma *d, struct mapping *m, uint64_t iova, uint64_t size)
{
    uint64_t page = d->log.page_size;
    uint64_t last = last_of(iova, size);

    if (m->log == NULL || size == 0 || !mutant_spoil_mark(d, &iova, &last))
        return;
    if (d->log.ranges == NULL) {
        set_bits(d, m, iova / page, last / page);
        return;
    }
    for (uint32_t i = 0; i < d->log.num_ranges; i++)
        mark_range(d, m, &d->log.ranges[i], iova, last);
}

uint64_t log_report_size(uint64_t iova, uint64_t length, uint64_t page_size)
{
    uint64_t pages;

    if (!power_of_two(page_size) || page_size < LOG_PAGE_MIN || length == 0 ||
        length - 1 > UINT64_MAX - iova)
        return 0;
    pages = (length - 1) / page_size + 1;
    return ((pages - 1) / WORD_BITS + 1) * 8;
}

struct report {
    uint64_t iova;
    uint64_t last;
    uint64_t page_size;
    uint64_t bits;
    uint8_t *bitmap;
    enum mutant mutant;
};

/* Reports one dirty page of the log.  One that sticks out of the report
 * stays marked, for what the next report covers of it. */
static void report_page(const struct report *r, struct mapping *m, uint64_t bit,
                        uint64_t log_page)
{
    uint64_t first = (m->log_first + bit) * log_page;
    uint64_t last = first + (log_page - 1);
    uint64_t m_last = last_of(m->iova, m->size);

    first = first > m->iova ? first : m->iova;
    last = last < m_last ? last : m_last;
    if (first >= r->iova && last <= r->last &&
        r->mutant != MUTANT_LOG_NOT_CLEARED)
        m->log[bit / WORD_BITS] &= ~(UINT64_C(1) << bit % WORD_BITS);
    first = first > r->iova ? first : r->iova;
    last = last < r->last ? last : r->last;
    for (uint64_t p = (first - r->iova) / r->page_size;
         p <= (last - r->iova) / r->page_size && p < r->bits; p++)
        r->bitmap[p / 8] |= (uint8_t)(1u << p % 8);
}

static void report_mapping(const struct report *r, struct mapping *m,
                           uint64_t log_page)
{
    uint64_t m_last = last_of(m->iova, m->size);
    uint64_t first = (r->iova > m->iova ? r->iova : m->iova) / log_page;
    uint64_t last = (r->last < m_last ? r->last : m_last) / log_page;
    uint64_t bit = first - m->log_first;

    while (bit <= last - m->log_first) {
        uint64_t word = m->log[bit / WORD_BITS] >> bit % WORD_BITS;

        if (word == 0) {
            bit += WORD_BITS - bit % WORD_BITS;
            continue;
        }
        bit += (unsigned)__builtin_ctzll(word);
        if (bit > last - m->log_first)
            break;
        report_page(r, m, bit++, log_page);
    }
}

int log_report(struct dma *d, uint64_t iova, uint64_t length,
               uint64_t page_size, void *bitmap)
{
    struct report r = {
        .iova = iova,
        .last = last_of(iova, length),
        .page_size = d->mutant == MUTANT_LOG_PAGE_SIZE_IGNORED
                         ? d->log.page_size
                         : page_size,
        .bits = log_report_size(iova, length, page_size) * 8,
        .bitmap = bitmap,
        .mutant = d->mutant,
    };
    int ret = -ENOENT;

    if (!d->log.active)
        return -EINVAL;
    memset(bitmap, 0, r.bits / 8);
    for (size_t i = 0; i < d->count; i++) {
        struct mapping *m = &d->mappings[i];

        if (m->iova > r.last || last_of(m->iova, m->size) < iova)
            continue;
        ret = 0;
        if (m->log != NULL)
            report_mapping(&r, m, d->log.page_size);
    }
    if (d->mutant == MUTANT_LOG_CLEARED_WHOLE)
        log_forget(d);
    return ret;
}
