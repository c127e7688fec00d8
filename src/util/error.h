/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_ERROR_H
#define VFM_SRC_UTIL_ERROR_H

#include <vfmig/error.h>

/*
 * Fills in @err, which may be NULL, and returns @code, so that detecting,
 * describing and returning an error is one statement:
 *
 *     return error_set(err, -EINVAL, "%s: bad length %zu", name, len);
 *
 * An argument may point into @err->message, so a layer can put its own words
 * before those of the layer below.
 */
__attribute__((format(printf, 3, 4))) int error_set(struct vfm_error *err,
                                                    int code, const char *fmt,
                                                    ...);

/*
 * Says that @who's @what failed, for a callback of the VMM returned @ret.  It
 * need not describe in @why what it says by a number.  Returns @ret, but -EBUSY
 * for -EAGAIN, which would mean that we are to be called again.
 */
int error_of_callback(struct vfm_error *err, int ret, const char *who,
                      const char *what, const struct vfm_error *why);

/* Adds a clause to what @err says, after "; " if it says something already. */
__attribute__((format(printf, 2, 3))) void error_add(struct vfm_error *err,
                                                     const char *fmt, ...);

#endif
