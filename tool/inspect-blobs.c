/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blobs of a VMM's own: whose they are, how long, and whether they are whole.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"
#include "json.h"
#include "util/error.h"

static int begin(struct facts *facts, const struct vfm_stream_event *ev,
                 struct vfm_error *err)
{
    struct blob_facts *blob =
        reallocarray(facts->blobs, facts->num_blobs + 1, sizeof(*blob));

    if (blob == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    facts->blobs = blob;
    blob += facts->num_blobs++;
    *blob = (struct blob_facts){
        .name = strdup(ev->section.name),
        .version = ev->section.version,
        .bytes = ev->u.blob.size,
        .digest = digest_new(),
    };
    if (blob->name == NULL || blob->digest == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    return 0;
}

static int end(struct facts *facts, const struct vfm_stream_event *ev,
               struct vfm_error *err)
{
    struct blob_facts *blob = &facts->blobs[facts->num_blobs - 1];
    char says[DIGEST_HEX_SIZE];

    hex_of(ev->data, ev->len, says);
    digest_hex(blob->digest, blob->xxh3_128);
    if (strcmp(blob->xxh3_128, says) == 0)
        return 0;
    return error_set(err, -EBADMSG,
                     "offset %" PRIu64 ": section '%s': the blob is damaged: "
                     "its digest is %s, but should be %s",
                     ev->offset, blob->name, blob->xxh3_128, says);
}

int facts_take_blob(struct facts *facts, const struct vfm_stream_event *ev,
                    struct vfm_error *err)
{
    switch (ev->type) {
    case VFM_STREAM_BLOB_BEGIN:
        return begin(facts, ev, err);
    case VFM_STREAM_BLOB_DATA:
        digest_update(facts->blobs[facts->num_blobs - 1].digest, ev->data,
                      ev->len);
        return 0;
    default:
        return end(facts, ev, err);
    }
}

void facts_print_blobs(const struct facts *facts)
{
    for (size_t i = 0; i < facts->num_blobs; i++)
        printf("blob '%s': version %" PRIu32 ", %" PRIu64
               " bytes, xxh3 %s, as the stream says\n",
               facts->blobs[i].name, facts->blobs[i].version,
               facts->blobs[i].bytes, facts->blobs[i].xxh3_128);
}

struct json_tree *facts_blobs_json(const struct facts *facts)
{
    struct json_tree *o = json_object_make();

    for (size_t i = 0; i < facts->num_blobs; i++) {
        const struct blob_facts *blob = &facts->blobs[i];
        struct json_tree *b = json_object_make();

        json_add_number(b, "version", blob->version);
        json_add_number(b, "bytes", blob->bytes);
        json_add_string(b, "xxh3_128", blob->xxh3_128);
        json_add(o, blob->name, b);
    }
    return o;
}

void facts_free_blobs(struct facts *facts)
{
    for (size_t i = 0; i < facts->num_blobs; i++) {
        free(facts->blobs[i].name);
        digest_free(facts->blobs[i].digest);
    }
    free(facts->blobs);
}
