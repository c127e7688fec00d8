/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a check says what came of it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check/run.h"

/* The first that is told counts: what comes after it is often its effect. */
static int end(struct run *r, enum check_outcome outcome, const char *fmt,
               va_list ap)
{
    struct check_result *now = r->now;

    if (now->outcome != CHECK_PASSED)
        return CHECK_OVER;
    now->outcome = outcome;
    vsnprintf(now->reason, sizeof(now->reason), fmt, ap);
    return CHECK_OVER;
}

int check_fail(struct run *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    end(r, r->now->check->severity == CHECK_QUIRK ? CHECK_FOUND : CHECK_FAILED,
        fmt, ap);
    va_end(ap);
    return CHECK_OVER;
}

int check_break(struct run *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    end(r, CHECK_FAILED, fmt, ap);
    va_end(ap);
    return CHECK_OVER;
}

int check_found(struct run *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    end(r, CHECK_FOUND, fmt, ap);
    va_end(ap);
    return CHECK_OVER;
}

int check_skip(struct run *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    end(r, CHECK_SKIPPED, fmt, ap);
    va_end(ap);
    return CHECK_OVER;
}

void check_lose(struct run *r, const char *why)
{
    struct check_result *now = r->now;
    size_t told = strlen(now->reason);

    now->outcome = CHECK_FAILED;
    snprintf(now->reason + told, sizeof(now->reason) - told, "%s%s",
             told > 0 ? "; then " : "", why);
}

void check_add_figure(struct run *r, const char *name, uint64_t ns)
{
    struct check_result *now = r->now;
    struct check_figure *figure;

    if (now->num_figures == CHECK_FIGURES)
        return;
    figure = &now->figures[now->num_figures++];
    snprintf(figure->name, sizeof(figure->name), "%s", name);
    figure->ns = ns;
}
