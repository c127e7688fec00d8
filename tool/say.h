/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_SAY_H
#define VFM_TOOL_SAY_H

#include <stdint.h>
#include <stdio.h>

#include <vfmig/error.h>

/*
 * What the tool says on standard error: one line each, "vfmig: " first, with
 * control characters of whatever origin made harmless.
 */
__attribute__((format(printf, 1, 2))) void say_error(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void say_warning(const char *fmt, ...);

/* Replaces control characters: words of peers and of the command line stay on
 * their line, and drive no terminal. */
void say_make_harmless(char *text);

/* An error in the words of @command's line, which points to its help.  Returns
 * EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int say_usage(const char *command,
                                                    const char *fmt, ...);

/* Says so if standard output does not take what will be printed, as far as one
 * can know: writing nothing fails where everything would (closed, /dev/full).
 * Better now than when the devices have moved.  Returns EXIT_DONE, or
 * EXIT_FAILED and it was said. */
int say_if_stdout_is_closed(void);

/* Says on @out where somebody is waited for.  Scripts wait for this line: it
 * leaves at once, and if it cannot nobody would come. */
int say_listening(FILE *out, const char *address, struct vfm_error *err);

/* Room for a quantity in words. */
#define QUANTITY_MAX 32

/* Puts "17 bytes", "1.5 MiB" or "3.0 GiB" into @buf, which is returned. */
const char *say_bytes(char buf[QUANTITY_MAX], uint64_t bytes);

/* Puts "350 us", "34.2 ms", "1.32 s" or "2 min 05 s" into @buf, which is
 * returned. */
const char *say_duration(char buf[QUANTITY_MAX], uint64_t ns);

#endif
