/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text that grows, and names.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"

#define SIZE_MIN ((size_t)1024)

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
