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

/* Makes all pages present that hold one of @size bytes at @p, which must be
 * writable.  They keep what they hold; nobody else may write them meanwhile.
 * It cannot fail: a page that is not there now comes when it is touched. */
void pages_fetch(void *p, size_t size);

/* Returns @size bytes that are present, for free(), or NULL.  What they hold is
 * undefined. */
void *pages_new(size_t size);

/* Makes present what there is to read of the program and its libraries, as far
 * as they are loaded now.  Whatever is written of them comes later. */
void pages_fetch_program(void);

#endif
