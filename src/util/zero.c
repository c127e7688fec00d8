/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding pages of zeroes.  One contract, three ways to fulfil it.
 *
 * Each looks at blocks of 256 bytes, or of 64 without vector registers: large
 * enough that the branch costs nothing, small enough that a page that holds
 * something is left at once.
 */
#include <stdint.h>
#include <string.h>

#include "util/zero.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static bool is_all_scalar(const void *buf, size_t len)
{
    const uint8_t *p = buf;

    for (size_t i = 0; i < len; i += 64) {
        uint64_t w[8];

        memcpy(w, p + i, sizeof(w));
        if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0)
            return false;
    }
    return true;
}

#if defined(__x86_64__)

/* What is shorter than a block. */
static bool rest_is_all(const uint8_t *p, size_t len)
{
    return is_all_scalar(p, len);
}

__attribute__((target("avx2"))) static bool is_all_avx2(const void *buf,
                                                        size_t len)
{
    const uint8_t *p = buf;
    size_t i = 0;

    for (; i + 256 <= len; i += 256) {
        const __m256i *v = (const __m256i *)(const void *)(p + i);
        __m256i a =
            _mm256_or_si256(_mm256_load_si256(v), _mm256_load_si256(v + 1));
        __m256i b =
            _mm256_or_si256(_mm256_load_si256(v + 2), _mm256_load_si256(v + 3));
        __m256i c =
            _mm256_or_si256(_mm256_load_si256(v + 4), _mm256_load_si256(v + 5));
        __m256i d =
            _mm256_or_si256(_mm256_load_si256(v + 6), _mm256_load_si256(v + 7));

        a = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
        if (!_mm256_testz_si256(a, a))
            return false;
    }
    return rest_is_all(p + i, len - i);
}

__attribute__((target("avx512f"))) static bool is_all_avx512(const void *buf,
                                                             size_t len)
{
    const uint8_t *p = buf;
    size_t i = 0;

    for (; i + 256 <= len; i += 256) {
        const __m512i *v = (const __m512i *)(const void *)(p + i);
        __m512i a =
            _mm512_or_si512(_mm512_load_si512(v), _mm512_load_si512(v + 1));
        __m512i b =
            _mm512_or_si512(_mm512_load_si512(v + 2), _mm512_load_si512(v + 3));

        a = _mm512_or_si512(a, b);
        if (_mm512_test_epi64_mask(a, a) != 0)
            return false;
    }
    return rest_is_all(p + i, len - i);
}

bool zero_way_is_usable(enum zero_way way)
{
    switch (way) {
    case ZERO_SCALAR:
        return true;
    case ZERO_AVX2:
        return __builtin_cpu_supports("avx2");
    case ZERO_AVX512:
        return __builtin_cpu_supports("avx512f");
    case ZERO_NUM_WAYS:
    default:
        return false;
    }
}

bool zero_is_all_by(enum zero_way way, const void *buf, size_t len)
{
    switch (way) {
    case ZERO_AVX512:
        return is_all_avx512(buf, len);
    case ZERO_AVX2:
        return is_all_avx2(buf, len);
    case ZERO_SCALAR:
    case ZERO_NUM_WAYS:
    default:
        return is_all_scalar(buf, len);
    }
}

bool zero_is_all(const void *buf, size_t len)
{
    if (__builtin_cpu_supports("avx512f"))
        return is_all_avx512(buf, len);
    if (__builtin_cpu_supports("avx2"))
        return is_all_avx2(buf, len);
    return is_all_scalar(buf, len);
}

#else

bool zero_way_is_usable(enum zero_way way)
{
    return way == ZERO_SCALAR;
}

bool zero_is_all_by(enum zero_way way, const void *buf, size_t len)
{
    (void)way;
    return is_all_scalar(buf, len);
}

bool zero_is_all(const void *buf, size_t len)
{
    return is_all_scalar(buf, len);
}

#endif

const char *zero_way_name(enum zero_way way)
{
    static const char *const names[] = { "scalar", "AVX2", "AVX-512" };

    return (unsigned int)way < ZERO_NUM_WAYS ? names[way] : "?";
}
