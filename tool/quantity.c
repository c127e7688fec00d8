/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading sizes, times and numbers.
 *
 * strtoul() takes signs, spaces and hexadecimal; what these mean in a size is
 * anybody's guess, so only digits are taken here.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "quantity.h"
#include "util/error.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    { "", 1 },
    { "B", 1 },
    { "K", UINT64_C(1) << 10 },
    { "KiB", UINT64_C(1) << 10 },
    { "M", UINT64_C(1) << 20 },
    { "MiB", UINT64_C(1) << 20 },
    { "G", UINT64_C(1) << 30 },
    { "GiB", UINT64_C(1) << 30 },
    { "T", UINT64_C(1) << 40 },
    { "TiB", UINT64_C(1) << 40 },
    { NULL, 0 },
};

static const struct unit time_units[] = {
    { "", 1 },      { "ms", 1 },      { "s", 1000 }, { "min", 60000 },
    { "m", 60000 }, { "h", 3600000 }, { NULL, 0 },
};

/* A decimal number: whole and fraction are its digits on either side of the
 * point, the fraction out of @scale. */
struct decimal {
    uint64_t whole;
    uint64_t fraction;
    uint64_t scale;
};

/* Digits after the point that are looked at. */
#define MAX_SCALE UINT64_C(1000000)

/* Returns where the digits end; NULL if the number is too large. */
static const char *scan_digits(const char *at, uint64_t *number)
{
    for (*number = 0; isdigit((unsigned char)*at); at++)
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, *at - '0', number))
            return NULL;
    return at;
}

static const char *scan_fraction(const char *at, struct decimal *dec)
{
    for (; isdigit((unsigned char)*at); at++)
        if (dec->scale < MAX_SCALE) {
            dec->fraction = dec->fraction * 10 + (uint64_t)(*at - '0');
            dec->scale *= 10;
        }
    return at;
}

/* Returns where the number ends; NULL if it is none or too large. */
static const char *scan_decimal(const char *text, struct decimal *dec)
{
    const char *at;

    *dec = (struct decimal){ .scale = 1 };
    at = scan_digits(text, &dec->whole);
    if (at == NULL || at == text)
        return NULL;
    if (at[0] == '.' && isdigit((unsigned char)at[1]))
        at = scan_fraction(at + 1, dec);
    return at;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++)
        if (strcasecmp(units->name, name) == 0)
            return units;
    return NULL;
}

/* Returns 0, -EINVAL for a word that is no quantity, or -ERANGE. */
static int parse_quantity(const char *text, const struct unit *units,
                          uint64_t max, uint64_t *result)
{
    const struct unit *unit;
    struct decimal dec;
    const char *rest;
    uint64_t part;

    rest = scan_decimal(text, &dec);
    if (rest == NULL)
        return isdigit((unsigned char)text[0]) ? -ERANGE : -EINVAL;
    unit = find_unit(units, rest);
    if (unit == NULL)
        return -EINVAL;

    /* At most 1e6 * 2^40: no overflow in the fraction. */
    part = dec.fraction * unit->factor / dec.scale;
    if (__builtin_mul_overflow(dec.whole, unit->factor, result) ||
        __builtin_add_overflow(*result, part, result) || *result > max)
        return -ERANGE;
    return 0;
}

int quantity_parse_size(const char *text, uint64_t *bytes,
                        struct vfm_error *err)
{
    int ret = parse_quantity(text, size_units, INT64_MAX, bytes);

    if (ret == -ERANGE)
        return error_set(err, -EINVAL, "'%.60s' is too large", text);
    if (ret < 0)
        return error_set(err, -EINVAL,
                         "'%.60s' is no size, such as 4096, 64K or 1.5G", text);
    return 0;
}

int quantity_parse_time(const char *text, uint32_t *ms, struct vfm_error *err)
{
    uint64_t value;
    int ret = parse_quantity(text, time_units, UINT32_MAX, &value);

    if (ret == -ERANGE)
        return error_set(err, -EINVAL, "'%.60s' is too long", text);
    if (ret < 0)
        return error_set(err, -EINVAL,
                         "'%.60s' is no time, such as 300, 300ms or 2s", text);

    *ms = (uint32_t)value;
    return 0;
}

int quantity_parse_number(const char *text, uint64_t max, uint64_t *number,
                          struct vfm_error *err)
{
    const char *end = scan_digits(text, number);

    if (end != NULL && (end == text || *end != '\0'))
        return error_set(err, -EINVAL, "'%.60s' is no number", text);
    if (end == NULL || *number > max)
        return error_set(err, -EINVAL, "'%.60s' is above %" PRIu64, text, max);
    return 0;
}
