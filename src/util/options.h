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

#endif
