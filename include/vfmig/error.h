/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_ERROR_H
#define VFM_ERROR_H

/*
 * Why a call failed.
 *
 * The caller owns the storage, so reporting an error never allocates and
 * never touches another thread's errors.  Every function that takes a
 * `struct vfm_error *` accepts NULL for "the return value is enough".
 */
struct vfm_error {
    int code;           /* negative errno value, the same that was returned */
    char message[1020]; /* one sentence, no newline, always terminated */
};

#endif /* VFM_ERROR_H */
