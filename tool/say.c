/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sentences for people: errors, warnings, quantities.
 *
 * When to say them is the commands' business; so is clearing a progress bar
 * that stands in the way.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "say.h"
#include "util/error.h"

/* Longer than the library's longest sentence and a path beside it. */
#define LINE_MAX_BYTES 8192

void say_make_harmless(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
}

__attribute__((format(printf, 2, 0))) static void say_line(const char *before,
                                                           const char *fmt,
                                                           va_list ap,
                                                           const char *after)
{
    char line[LINE_MAX_BYTES];

    vsnprintf(line, sizeof(line), fmt, ap);
    say_make_harmless(line);
    fflush(stdout);
    fprintf(stderr, "vfmig: %s%s%s\n", before, line, after);
}

void say_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say_line("", fmt, ap, "");
    va_end(ap);
}

void say_warning(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say_line("warning: ", fmt, ap, "");
    va_end(ap);
}

int say_usage(const char *command, const char *fmt, ...)
{
    char before[64];
    char after[64];
    va_list ap;

    snprintf(before, sizeof(before), "%s: ", command);
    snprintf(after, sizeof(after), ": see 'vfmig %s --help'", command);
    va_start(ap, fmt);
    say_line(before, fmt, ap, after);
    va_end(ap);
    return EXIT_USAGE;
}

int say_if_stdout_is_closed(void)
{
    ssize_t ret;

    do
        ret = write(STDOUT_FILENO, "", 0);
    while (ret < 0 && errno == EINTR);
    if (ret == 0)
        return EXIT_DONE;

    say_error("standard output: cannot write to it: %s; nothing was touched",
              strerror(errno));
    return EXIT_FAILED;
}

int say_listening(FILE *out, const char *address, struct vfm_error *err)
{
    int code;

    if (fprintf(out, "listening on %s\n", address) >= 0 && fflush(out) == 0)
        return 0;
    code = -errno;
    /* It is said once: the end of the program finds nothing left to write. */
    __fpurge(out);
    clearerr(out);
    return error_set(err, code, "%s: cannot tell anybody to come: %s", address,
                     strerror(-code));
}

const char *say_bytes(char buf[QUANTITY_MAX], uint64_t bytes)
{
    static const char units[] = { 'K', 'M', 'G', 'T', 'P', 'E' };
    double amount = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(buf, QUANTITY_MAX, "%" PRIu64 " byte%s", bytes,
                 bytes == 1 ? "" : "s");
        return buf;
    }
    /* 1023.95 would be printed as 1024.0. */
    while (amount >= 1023.95 && unit + 1 < sizeof(units)) {
        amount /= 1024;
        unit++;
    }
    snprintf(buf, QUANTITY_MAX, "%.1f %ciB", amount, units[unit]);
    return buf;
}

const char *say_duration(char buf[QUANTITY_MAX], uint64_t ns)
{
    uint64_t seconds = ns / 1000000000;

    if (ns < 1000000)
        snprintf(buf, QUANTITY_MAX, "%" PRIu64 " us", ns / 1000);
    else if (ns < UINT64_C(999950000))
        snprintf(buf, QUANTITY_MAX, "%.1f ms", (double)ns / 1e6);
    else if (seconds < 60)
        snprintf(buf, QUANTITY_MAX, "%.2f s", (double)ns / 1e9);
    else
        snprintf(buf, QUANTITY_MAX, "%" PRIu64 " min %02u s", seconds / 60,
                 (unsigned int)(seconds % 60));
    return buf;
}
