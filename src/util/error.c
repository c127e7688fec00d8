/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Describing a failure.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/error.h"

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
    /* Peers' words end up in here; one error stays one line. */
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';

    err->code = code;
    memcpy(err->message, text, sizeof(text));
    return code;
}
