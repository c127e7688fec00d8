/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bitmaps, a word at a time.  What lies beside a range in its first and last
 * word is left as it is.
 */
#include <string.h>

#include "dirty/bitmap.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BITS BITMAP_WORD_BITS

/* The bits of a word from @first on, and so many as @count of them. */
static uint64_t mask_of(unsigned int first, uint64_t count)
{
    uint64_t mask = ~UINT64_C(0) << first;

    return first + count < BITS ? mask & ~(~UINT64_C(0) << (first + count))
                                : mask;
}

#define WORD_OF(bit)  ((size_t)((bit) / BITS))
#define FIRST_OF(bit) ((unsigned int)((bit) % BITS))

/* How many bits of a range that begins at @first are in its first word. */
static uint64_t in_word(uint64_t first, uint64_t count)
{
    uint64_t room = BITS - first % BITS;

    return count < room ? count : room;
}

void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t count)
{
    while (count > 0) {
        uint64_t n = in_word(first, count);

        map[WORD_OF(first)] |= mask_of(FIRST_OF(first), n);
        first += n;
        count -= n;
    }
}

void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t count)
{
    while (count > 0) {
        uint64_t n = in_word(first, count);

        map[WORD_OF(first)] &= ~mask_of(FIRST_OF(first), n);
        first += n;
        count -= n;
    }
}

static uint64_t count_words(const uint64_t *map, size_t words)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < words; i++)
        sum += (uint64_t)__builtin_popcountll(map[i]);
    return sum;
}

#if defined(__x86_64__)
/* The instruction is as old as 2008, and what the compiler may assume is
 * older. */
__attribute__((target("popcnt"))) static uint64_t count_words_popcnt(
    const uint64_t *map, size_t words)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < words; i++)
        sum += (uint64_t)__builtin_popcountll(map[i]);
    return sum;
}

/* Many words at once, where the processor can. */
__attribute__((target("avx512f,avx512vpopcntdq"))) static uint64_t
count_words_avx512(const uint64_t *map, size_t words)
{
    __m512i sum = _mm512_setzero_si512();
    size_t i = 0;

    for (; i + 8 <= words; i += 8)
        sum = _mm512_add_epi64(
            sum, _mm512_popcnt_epi64(_mm512_loadu_si512(map + i)));
    return (uint64_t)_mm512_reduce_add_epi64(sum) +
           count_words_popcnt(map + i, words - i);
}
#endif

static uint64_t count_whole_words(const uint64_t *map, size_t words)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vpopcntdq"))
        return count_words_avx512(map, words);
    if (__builtin_cpu_supports("popcnt"))
        return count_words_popcnt(map, words);
#endif
    return count_words(map, words);
}

uint64_t bitmap_count(const uint64_t *map, uint64_t first, uint64_t count)
{
    uint64_t sum = 0;
    uint64_t n;

    if (count > 0 && first % BITS != 0) {
        n = in_word(first, count);
        sum = count_words(
            &(uint64_t){ map[WORD_OF(first)] & mask_of(FIRST_OF(first), n) },
            1);
        first += n;
        count -= n;
    }
    sum += count_whole_words(map + WORD_OF(first), (size_t)(count / BITS));
    first += count / BITS * BITS;
    if (count % BITS != 0)
        sum += count_words(
            &(uint64_t){ map[WORD_OF(first)] & mask_of(0, count % BITS) }, 1);
    return sum;
}

/* The first bit of a word that differs from those of @other, all ones or all
 * zeroes. */
static uint64_t next_unlike(const uint64_t *map, uint64_t other, uint64_t from,
                            uint64_t end)
{
    size_t i = WORD_OF(from);
    size_t words = bitmap_words(end);
    uint64_t word;

    if (from >= end)
        return end;
    word = (map[i] ^ other) & mask_of(FIRST_OF(from), BITS);
    while (word == 0) {
        if (++i == words)
            return end;
        word = map[i] ^ other;
    }
    from = (uint64_t)i * BITS + (uint64_t)__builtin_ctzll(word);
    return from < end ? from : end;
}

uint64_t bitmap_next(const uint64_t *map, uint64_t from, uint64_t end)
{
    return next_unlike(map, 0, from, end);
}

uint64_t bitmap_next_zero(const uint64_t *map, uint64_t from, uint64_t end)
{
    return next_unlike(map, ~UINT64_C(0), from, end);
}

/* @count bits, at most a word of them, from @first on. */
static uint64_t get_bits(const uint64_t *map, uint64_t first, uint64_t count)
{
    unsigned int shift = FIRST_OF(first);
    uint64_t bits = map[WORD_OF(first)] >> shift;

    if (shift + count > BITS)
        bits |= map[WORD_OF(first) + 1] << (BITS - shift);
    return bits & mask_of(0, count);
}

/* Many words at once: in registers as wide as where it is inlined has them. */
typedef uint64_t lanes __attribute__((vector_size(64), aligned(8)));
#define LANES (sizeof(lanes) / sizeof(uint64_t))

__attribute__((always_inline)) static inline void merge_lanes(
    uint64_t *to, const uint64_t *from, size_t words)
{
    size_t i = 0;

    for (; i + LANES <= words; i += LANES)
        *(lanes *)(to + i) |= *(const lanes *)(from + i);
    for (; i < words; i++)
        to[i] |= from[i];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void merge_avx2(uint64_t *to,
                                                       const uint64_t *from,
                                                       size_t words)
{
    merge_lanes(to, from, words);
}

__attribute__((target("avx512f"))) static void merge_avx512(
    uint64_t *to, const uint64_t *from, size_t words)
{
    merge_lanes(to, from, words);
}
#endif

/* Both begin at a word. */
static void merge_words(uint64_t *to, const uint64_t *from, size_t words)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        merge_avx512(to, from, words);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        merge_avx2(to, from, words);
        return;
    }
#endif
    merge_lanes(to, from, words);
}

void bitmap_merge(uint64_t *to, uint64_t to_first, const uint64_t *from,
                  uint64_t from_first, uint64_t count)
{
    while (count > 0) {
        uint64_t n = in_word(to_first, count);

        if (to_first % BITS == 0 && from_first % BITS == 0 && count >= BITS) {
            n = count / BITS * BITS;
            merge_words(to + WORD_OF(to_first), from + WORD_OF(from_first),
                        (size_t)(n / BITS));
        } else {
            to[WORD_OF(to_first)] |= get_bits(from, from_first, n)
                                     << FIRST_OF(to_first);
        }
        to_first += n;
        from_first += n;
        count -= n;
    }
}
