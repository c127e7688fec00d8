/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Describing a failure.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/error.h"

/* Peers' words end up in messages; one error stays one line. */
static void flatten(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
}

int error_set(struct vfm_error *err, int code, const char *fmt, ...)
{
    char text[sizeof(err->message)];
    va_list ap;

    assert(code < 0);
    if (err == NULL)
        return code;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    flatten(text);

    err->code = code;
    memcpy(err->message, text, sizeof(text));
    return code;
}

int error_of_callback(struct vfm_error *err, int ret, const char *who,
                      const char *what, const struct vfm_error *why)
{
    if (ret == -EAGAIN)
        ret = -EBUSY;
    return error_set(err, ret, "%s: %s: %s", who, what,
                     why->code != 0 ? why->message : strerror(-ret));
}

void error_add(struct vfm_error *err, const char *fmt, ...)
{
    const size_t size = sizeof(err->message);
    size_t used;
    va_list ap;

    if (err == NULL)
        return;
    used = strnlen(err->message, size - 1);
    if (used > 0)
        used += (size_t)snprintf(err->message + used, size - used, "; ");
    if (used >= size)
        return;

    va_start(ap, fmt);
    vsnprintf(err->message + used, size - used, fmt, ap);
    va_end(ap);
    flatten(err->message + used);
}
