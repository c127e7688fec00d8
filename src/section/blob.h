/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_SECTION_BLOB_H
#define VFM_SRC_SECTION_BLOB_H

/*
 * A blob of the VMM's, on either side: what it says of itself, and its bytes
 * while they are on their way.
 */

#include <stdbool.h>

#include <vfmig/blob.h>

#include "util/digest.h"

struct blob {
    struct vfm_blob is; /* the caller's; its name is ours */
    char *section;      /* "<name>/vfmig-blob" */

    uint8_t *bytes;
    size_t len;
    uint8_t digest[DIGEST_BYTES]; /* of what was saved */

    bool announced;   /* target: in the hello */
    bool came;        /* whole, and undamaged */
    uint32_t version; /* of what came */
    size_t size;      /* that it will have */
};

/* Makes one of the caller's definition, of which @loads says what it is for.
 * Returns 0, -EINVAL or -E2BIG as vfm_migration_add_blob(), or -ENOMEM. */
int blob_new(const struct vfm_blob *given, bool loads, struct blob **blobp,
             struct vfm_error *err);
void blob_free(struct blob *blob);

/* Has the VMM save it: bytes, len and digest are valid then. */
int blob_save(struct blob *blob, struct vfm_error *err);

/* Whether @version is one that we can load. */
int blob_check_version(const struct blob *blob, uint32_t version,
                       struct vfm_error *err);

/* It comes: its beginning, bytes, which are never more than that said, and its
 * digest. */
int blob_begin(struct blob *blob, uint32_t version, uint64_t size,
               struct vfm_error *err);
void blob_add(struct blob *blob, const void *data, size_t len);
int blob_end(struct blob *blob, const uint8_t digest[DIGEST_BYTES],
             struct vfm_error *err);

/* Has the VMM load it. */
int blob_load(struct blob *blob, struct vfm_error *err);

#endif
