/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A blob between the VMM's callback and the stream.  When its turn is, is
 * decided above.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "section/blob.h"
#include "stream/format.h"
#include "util/error.h"
#include "util/options.h"
#include "util/text.h"

#define NAME_MAX_LEN 200

static int check(const struct vfm_blob *is, bool loads, struct vfm_error *err)
{
    if (is->name == NULL || !text_is_name(is->name, NAME_MAX_LEN, " /"))
        return error_set(err, -EINVAL, "\"%.64s\" names no blob",
                         is->name == NULL ? "" : is->name);
    if (is->max_bytes == 0 || is->max_bytes > VFM_BLOB_BYTES_MAX)
        return error_set(err, -EINVAL, "%s: %u bytes at most make no blob",
                         is->name, is->max_bytes);
    if (is->min_version > is->version)
        return error_set(err, -EINVAL, "%s: no version from %u to %u", is->name,
                         is->min_version, is->version);
    if (loads ? is->load == NULL : is->save == NULL)
        return error_set(err, -EINVAL, "%s: nobody %s it", is->name,
                         loads ? "loads" : "saves");
    return 0;
}

int blob_new(const struct vfm_blob *given, bool loads, struct blob **blobp,
             struct vfm_error *err)
{
    struct vfm_blob is = { 0 };
    struct blob *blob;
    int ret = options_copy(&is, sizeof(is), given, "blob", err);

    if (ret == 0)
        ret = check(&is, loads, err);
    if (ret < 0)
        return ret;
    blob = calloc(1, sizeof(*blob));
    if (blob == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", is.name);
    blob->is = is;
    blob->is.name = strdup(is.name);
    if (asprintf(&blob->section, "%s" BLOB_SECTION_SUFFIX, is.name) < 0)
        blob->section = NULL;
    if (blob->is.name == NULL || blob->section == NULL) {
        blob_free(blob);
        return error_set(err, -ENOMEM, "%s: out of memory", is.name);
    }
    *blobp = blob;
    return 0;
}

void blob_free(struct blob *blob)
{
    if (blob == NULL)
        return;
    free((char *)blob->is.name);
    free(blob->section);
    free(blob->bytes);
    free(blob);
}

static int get_memory(struct blob *blob, size_t size, struct vfm_error *err)
{
    free(blob->bytes);
    blob->len = 0;
    blob->bytes = malloc(size > 0 ? size : 1);
    if (blob->bytes == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory for %zu bytes",
                         blob->is.name, size);
    return 0;
}

int blob_save(struct blob *blob, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    ssize_t n;
    int ret = get_memory(blob, blob->is.max_bytes, err);

    if (ret < 0)
        return ret;
    n = blob->is.save(blob->is.opaque, blob->bytes, blob->is.max_bytes, &why);
    if (n < 0)
        return error_of_callback(err, (int)n, blob->is.name, "cannot be saved",
                                 &why);
    if ((size_t)n > blob->is.max_bytes)
        return error_set(err, -E2BIG, "%s: says that it has %zd bytes, not %u",
                         blob->is.name, n, blob->is.max_bytes);
    blob->len = (size_t)n;
    digest_of(blob->bytes, blob->len, blob->digest);
    return 0;
}

int blob_check_version(const struct blob *blob, uint32_t version,
                       struct vfm_error *err)
{
    if (version >= blob->is.min_version && version <= blob->is.version)
        return 0;
    return error_set(err, -EOPNOTSUPP,
                     "%s: the source's is of version %u, this VMM loads %u to "
                     "%u",
                     blob->is.name, version, blob->is.min_version,
                     blob->is.version);
}

int blob_begin(struct blob *blob, uint32_t version, uint64_t size,
               struct vfm_error *err)
{
    int ret = blob_check_version(blob, version, err);

    if (ret < 0)
        return ret;
    if (size > blob->is.max_bytes)
        return error_set(err, -E2BIG, "%s: the source's has %llu bytes, not %u",
                         blob->is.name, (unsigned long long)size,
                         blob->is.max_bytes);
    blob->version = version;
    blob->size = (size_t)size;
    return get_memory(blob, blob->size, err);
}

void blob_add(struct blob *blob, const void *data, size_t len)
{
    assert(len <= blob->size - blob->len); /* the decoder counts */
    memcpy(blob->bytes + blob->len, data, len);
    blob->len += len;
}

int blob_end(struct blob *blob, const uint8_t digest[DIGEST_BYTES],
             struct vfm_error *err)
{
    uint8_t ours[DIGEST_BYTES];

    digest_of(blob->bytes, blob->len, ours);
    if (memcmp(ours, digest, DIGEST_BYTES) != 0)
        return error_set(err, -EBADMSG, "%s: was damaged on the way",
                         blob->is.name);
    blob->came = true;
    return 0;
}

int blob_load(struct blob *blob, struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret = blob->is.load(blob->is.opaque, blob->version, blob->bytes,
                            blob->len, &why);

    if (ret < 0)
        return error_of_callback(err, ret, blob->is.name, "cannot be loaded",
                                 &why);
    return 0;
}
