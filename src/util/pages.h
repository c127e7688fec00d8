/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_PAGES_H
#define VFM_SRC_UTIL_PAGES_H

/*
 * Memory that is there before it is needed: what a page costs that is touched
 * for the first time, and more so one that has to be read from a file, nobody
 * is to wait for while a guest stands still.
 */

#include <stddef.h>

/* Makes the pages of @size bytes at @p present, which may be written and keep
 * what they hold.  It cannot fail: a page that is not there comes later. */
void pages_fetch(void *p, size_t size);

/* Returns @size bytes that are there, for free(), or NULL.  They hold
 * anything. */
void *pages_new(size_t size);

/* Makes the program itself present, with its libraries. */
void pages_fetch_program(void);

#endif
