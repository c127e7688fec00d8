/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_OPTIONS_H
#define VFM_SRC_UTIL_OPTIONS_H

#include <stddef.h>

#include <vfmig/error.h>

/*
 * Copies the caller's options, a structure that begins with its size, into
 * @ours, which has @size bytes.  @theirs may be NULL: all zero.
 *
 * Returns 0.
 *   -EINVAL   their size cannot be
 *   -E2BIG    they set something that this library does not know
 */
int options_copy(void *ours, size_t size, const void *theirs, const char *who,
                 struct vfm_error *err);

/*
 * The other way: copies our answer @ours, of @size bytes, to the caller's
 * structure @theirs, which begins with its size too: as much as it has room
 * for, and zeroes where it has more.  @min is what the first version had.
 *
 * Returns 0, or -EINVAL if their size is below @min or cannot be.
 */
int answer_copy(void *theirs, size_t min, const void *ours, size_t size);

#endif
