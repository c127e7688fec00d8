/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BLOB_H
#define VFM_BLOB_H

/*
 * State of the VMM's own: processors, interrupt controllers, clocks; a blob of
 * bytes that vfmig carries and does not look into.
 *
 * A blob has a name that both sides know it by, a version, and a largest size.
 * It is saved when the VM and all its devices have stopped and memory was sent,
 * and loaded on the other side when everything has come and was checked, before
 * anything runs.  The order is that in which blobs were added to the source.
 *
 * Errors     Callbacks return 0 (or a size), or a negative errno value and a
 *            sentence in @err.  A failure to save or to load is a failure of
 *            the migration: the VM goes on at the source.
 * Ownership  Names are copied.  Callbacks' arguments stay the caller's and
 *            must outlive the migration.
 * Threads    Callbacks come when those of <vfmig/migration.h> do, which are
 *            within its functions.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest max_bytes there can be. */
#define VFM_BLOB_BYTES_MAX (UINT32_C(64) << 20)

/* The most blobs one migration takes. */
#define VFM_BLOBS_MAX      64

struct vfm_blob {
    size_t size; /* sizeof(struct vfm_blob) */

    /* 1 to 200 characters of printable ASCII without '/', such as "cpu". */
    const char *name;

    /* What a source writes, and the newest that a target can load. */
    uint32_t version;

    /* The oldest version that a target can load. */
    uint32_t min_version;

    /* No blob of this name is longer.  A source takes memory for so much when
     * it saves, a target for what comes. */
    uint32_t max_bytes;

    /* Source: stores the state in the @size bytes at @buf.  Returns how many
     * they are, or an error of its own, such as -ENOSPC if they do not fit. */
    ssize_t (*save)(void *opaque, void *buf, size_t size,
                    struct vfm_error *err);

    /* Target: takes @len bytes of a state of @version. */
    int (*load)(void *opaque, uint32_t version, const void *data, size_t len,
                struct vfm_error *err);

    void *opaque;
};

#ifdef __cplusplus
}
#endif

#endif /* VFM_BLOB_H */
