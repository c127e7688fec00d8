/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_TEXT_H
#define VFM_SRC_UTIL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Whether @s is 1 to @max characters of printable ASCII, and none of @but. */
bool text_is_name(const char *s, size_t max, const char *but);

/* How many bytes the character at @s has in UTF-8; 0: it is none. */
size_t text_utf8(const char *s);

/* Text that grows.  Begins as all zeros; the first failure stays, and what is
 * put afterwards is dropped; p is the owner's to free. */
struct text {
    char *p; /* without a NUL */
    size_t len;
    size_t size;
    int error; /* 0 or a negative errno value */
};

__attribute__((format(printf, 2, 3))) void text_put(struct text *t,
                                                    const char *fmt, ...);

/* Puts @s as a string of JSON. */
void text_put_json(struct text *t, const char *s);

#endif
