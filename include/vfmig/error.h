/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_ERROR_H
#define VFM_ERROR_H

/*
 * Why a call failed.
 *
 * Errors     There are none here: a sentence that is too long is cut.
 * Ownership  The storage is the caller's and need not be initialized, so
 *            reporting an error never allocates.
 * Threads    Nothing is shared: each thread has its own.
 *
 * Every function that takes a `struct vfm_error *` accepts NULL for "the return
 * value is enough".  After a success the content means nothing, but for
 * vfm_device_recover(), which reads it and adds to it.  The words of a peer, a
 * server or a device may be in a message: control characters are replaced by
 * spaces, and which bytes there are beside is theirs.
 *
 * A callback of the caller's gets one that is empty.  If it fails and sets the
 * code to what it returns, its message becomes part of the library's; it may
 * leave both alone.  -EAGAIN of a callback counts as -EBUSY, but for those of
 * which it is said that they are called again.
 */
struct vfm_error {
    int code;           /* negative errno value, the same that was returned */
    char message[1020]; /* one sentence, no newline, always terminated */
};

#endif /* VFM_ERROR_H */
