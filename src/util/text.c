/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text that grows, and names.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"

#define SIZE_MIN ((size_t)1024)

/* RFC 3629: the shortest form, no surrogates, up to U+10FFFF. */
size_t text_utf8(const char *s)
{
    const unsigned char *c = (const unsigned char *)s;
    size_t len = c[0] < 0x80 ? 1 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    uint32_t code = len == 1 ? c[0] : c[0] & (0x7fU >> len);
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    if (c[0] >= 0x80 && (c[0] < 0xc2 || c[0] > 0xf4))
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (c[i] & 0x3fU);
    }
    return code < least[len] || code > 0x10ffff ||
                   (code >= 0xd800 && code < 0xe000)
               ? 0
               : len;
}

bool text_is_name(const char *s, size_t max, const char *but)
{
    size_t len = strlen(s);

    for (size_t i = 0; i < len; i++)
        if (s[i] < ' ' || s[i] >= 0x7f || strchr(but, s[i]) != NULL)
            return false;
    return len > 0 && len <= max;
}

static bool enlarge(struct text *t, size_t more)
{
    size_t size = t->size > 0 ? t->size : SIZE_MIN;
    char *p;

    while (size - t->len < more)
        size *= 2;
    if (size == t->size)
        return true;
    p = realloc(t->p, size);
    if (p == NULL) {
        t->error = -ENOMEM;
        return false;
    }
    t->p = p;
    t->size = size;
    return true;
}

void text_put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (t->error == 0 && len < 0)
        t->error = -errno; /* no such character, or longer than an int says */
    if (t->error != 0 || !enlarge(t, (size_t)len + 1))
        return;
    va_start(ap, fmt);
    vsnprintf(t->p + t->len, (size_t)len + 1, fmt, ap);
    va_end(ap);
    t->len += (size_t)len;
}

void text_put_json(struct text *t, const char *s)
{
    text_put(t, "\"");
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < ' ')
            text_put(t, "\\u%04x", (unsigned int)*s);
        else
            text_put(t, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    text_put(t, "\"");
}
