/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device memory, generated.
 *
 * Filling and comparing are on the path of every byte of state, so their
 * loops use the compiler's vectors; the rest is arithmetic on counts.
 */
#include <assert.h>
#include <string.h>

#include "emulator/memory.h"
#include "emulator/registers.h"
#include "util/clock.h"

/* Words handled at once: four vectors of two, which every 64-bit processor
 * has registers for, independent of each other. */
#define LANES 2
#define BLOCK (4 * LANES)

typedef uint64_t lanes __attribute__((vector_size(LANES * 8)));

struct block {
    lanes a, b, c, d;
};

uint64_t memory_num_pages(const struct memory *m)
{
    return m->size / EDEV_PAGE_SIZE;
}

uint64_t memory_first_hot(const struct memory *m)
{
    return (m->size - m->hot_size) / EDEV_PAGE_SIZE;
}

void memory_advance(struct memory *m, uint64_t run_ns)
{
    unsigned __int128 bytes = m->rate;

    if (m->hot_size == 0 || run_ns < m->anchor_ns)
        return;
    bytes = bytes * (run_ns - m->anchor_ns) / (uint64_t)NS_PER_SEC;
    m->writes = m->anchor_writes + (uint64_t)(bytes / EDEV_PAGE_SIZE);
}

void memory_set_rate(struct memory *m, uint64_t rate, uint64_t run_ns)
{
    memory_advance(m, run_ns);
    m->rate = rate;
    m->anchor_ns = run_ns;
    m->anchor_writes = m->writes;
}

uint64_t memory_generation(const struct memory *m, uint64_t page)
{
    uint64_t first = memory_first_hot(m);

    if (page < first)
        return 0;
    return edev_generation(m->writes, m->hot_size / EDEV_PAGE_SIZE,
                           page - first);
}

/* Word @index of a page and the BLOCK - 1 after it. */
static inline struct block words_at(uint64_t base, size_t index)
{
    const lanes two = { 2 * EDEV_WORD_STEP, 2 * EDEV_WORD_STEP };
    uint64_t first = base + index * EDEV_WORD_STEP;
    struct block v;

    v.a = (lanes){ first, first + EDEV_WORD_STEP };
    v.b = v.a + two;
    v.c = v.b + two;
    v.d = v.c + two;
    return v;
}

static inline void advance(struct block *v)
{
    const lanes step = { BLOCK * EDEV_WORD_STEP, BLOCK * EDEV_WORD_STEP };

    v->a += step;
    v->b += step;
    v->c += step;
    v->d += step;
}

static void fill_words(uint64_t base, size_t index, uint8_t *to, size_t count)
{
    struct block v = words_at(base, index);
    size_t n;

    for (n = 0; n + BLOCK <= count; n += BLOCK) {
        memcpy(to + n * 8, &v, sizeof(v));
        advance(&v);
    }
    for (; n < count; n++) {
        uint64_t w = base + (index + n) * EDEV_WORD_STEP;

        memcpy(to + n * 8, &w, sizeof(w));
    }
}

/* Do @count words equal those of the page from @index on? */
static bool same_words(uint64_t base, size_t index, const uint8_t *from,
                       size_t count)
{
    struct block v = words_at(base, index);
    lanes wrong = { 0 };
    uint64_t rest = 0;
    size_t n;

    for (n = 0; n + BLOCK <= count; n += BLOCK) {
        struct block got;

        memcpy(&got, from + n * 8, sizeof(got));
        wrong |=
            ((got.a ^ v.a) | (got.b ^ v.b)) | ((got.c ^ v.c) | (got.d ^ v.d));
        advance(&v);
    }
    for (; n < count; n++) {
        uint64_t w;

        memcpy(&w, from + n * 8, sizeof(w));
        rest |= w ^ (base + (index + n) * EDEV_WORD_STEP);
    }
    for (unsigned i = 0; i < LANES; i++)
        rest |= wrong[i];
    return rest == 0;
}

/* How many of @length bytes from @offset on lie before the next whole word,
 * or are all there is. */
static size_t ragged(size_t offset, size_t length)
{
    size_t n = -offset % 8;

    return n < length ? n : length;
}

void memory_fill(uint64_t base, size_t offset, void *to, size_t length)
{
    size_t head = ragged(offset, length);
    size_t words = (length - head) / 8;
    size_t tail = length - head - words * 8;
    uint8_t *out = to;
    uint64_t w;

    assert(offset + length <= EDEV_PAGE_SIZE);
    if (head > 0) {
        w = base + offset / 8 * EDEV_WORD_STEP;
        memcpy(out, (uint8_t *)&w + offset % 8, head);
    }
    fill_words(base, (offset + head) / 8, out + head, words);
    if (tail > 0) {
        w = base + (offset + length) / 8 * EDEV_WORD_STEP;
        memcpy(out + length - tail, &w, tail);
    }
}

bool memory_matches(uint64_t base, size_t offset, const void *from,
                    size_t length)
{
    size_t head = ragged(offset, length);
    size_t words = (length - head) / 8;
    size_t tail = length - head - words * 8;
    const uint8_t *in = from;
    uint64_t first = base + offset / 8 * EDEV_WORD_STEP;
    uint64_t last = base + (offset + length) / 8 * EDEV_WORD_STEP;

    assert(offset + length <= EDEV_PAGE_SIZE);
    return memcmp(in, (uint8_t *)&first + offset % 8, head) == 0 &&
           memcmp(in + length - tail, &last, tail) == 0 &&
           same_words(base, (offset + head) / 8, in + head, words);
}
