/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where in a file the objects lie that are compared.  Nothing of them is kept
 * in memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"
#include "stream/format.h"
#include "util/bytes.h"
#include "util/error.h"

/* Pieces of all objects: 96 MiB of memory, 4 TiB in records of 1 MiB. */
#define EXTENTS_MAX (UINT32_C(1) << 22)

/* An index while it grows. */
struct builder {
    struct index *index;
    uint32_t num_extents;
};

static int no_memory(struct vfm_error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

static struct object *find(const struct index *index, enum object_kind kind,
                           const char *name, uint32_t instance_id)
{
    for (size_t i = 0; i < index->num_objects; i++) {
        struct object *o = &index->objects[i];

        if (o->kind == kind && o->instance_id == instance_id &&
            strcmp(o->name, name) == 0)
            return o;
    }
    return NULL;
}

const struct object *index_find(const struct index *index,
                                enum object_kind kind, const char *name,
                                uint32_t instance_id)
{
    return find(index, kind, name, instance_id);
}

static int add_object(struct index *index, enum object_kind kind,
                      const char *name, uint32_t instance_id,
                      struct vfm_error *err)
{
    struct object *o =
        reallocarray(index->objects, index->num_objects + 1, sizeof(*o));

    if (o == NULL)
        return no_memory(err);
    index->objects = o;
    o += index->num_objects;
    *o = (struct object){ .kind = kind, .instance_id = instance_id };
    o->name = strdup(name);
    if (o->name == NULL)
        return no_memory(err);
    index->num_objects++;
    return 0;
}

static int append(struct builder *b, struct object *o, struct extent piece,
                  struct vfm_error *err)
{
    struct extent *last =
        o->num_extents > 0 ? &o->extents[o->num_extents - 1] : NULL;
    size_t size = o->extents_size > 0 ? 2 * o->extents_size : 4;
    struct extent *extents;

    o->bytes += piece.len;
    if (last != NULL && last->offset + last->len == piece.offset &&
        last->record == piece.record) {
        last->len += piece.len;
        return 0;
    }
    if (b->num_extents++ == EXTENTS_MAX)
        return error_set(err, -E2BIG,
                         "offset %" PRIu64 ": more than %" PRIu32 " records",
                         piece.offset, EXTENTS_MAX);
    if (o->extents == NULL || o->num_extents == o->extents_size) {
        extents = reallocarray(o->extents, size, sizeof(*extents));
        if (extents == NULL)
            return no_memory(err);
        o->extents = extents;
        o->extents_size = size;
    }
    o->extents[o->num_extents++] = piece;
    return 0;
}

/* Adds what @ev brings to the object of its section. */
static int take_piece(struct builder *b, enum object_kind kind,
                      const struct vfm_stream_event *ev, struct vfm_error *err)
{
    struct extent piece = { .offset = ev->offset,
                            .len = ev->len,
                            .type = (uint8_t)ev->section.type };
    struct object *o =
        find(b->index, kind, ev->section.name, ev->section.instance_id);

    if (kind == OBJECT_STATE)
        piece.record = o->records;
    return append(b, o, piece, err);
}

static int add_of_section(struct builder *b, enum object_kind kind,
                          const struct vfm_stream_event *ev,
                          struct vfm_error *err)
{
    return add_object(b->index, kind, ev->section.name, ev->section.instance_id,
                      err);
}

static int take_section(struct builder *b, const struct vfm_stream_event *ev,
                        struct vfm_error *err)
{
    if (ev->section.kind == VFM_SECTION_KIND_RAM)
        b->index->has_ram = true;
    if (ev->section.kind == VFM_SECTION_KIND_OTHER ||
        ev->section.kind == VFM_SECTION_KIND_BLOB)
        return add_of_section(b, OBJECT_SECTION, ev, err);
    if (ev->section.kind == VFM_SECTION_KIND_VFIO &&
        ev->section.type == VFM_SECTION_START)
        return add_of_section(b, OBJECT_STATE, ev, err);
    return 0;
}

static int take_section_end(struct builder *b,
                            const struct vfm_stream_event *ev)
{
    if (ev->section.kind == VFM_SECTION_KIND_VFIO &&
        ev->section.type == VFM_SECTION_FULL &&
        find(b->index, OBJECT_CONFIG, ev->section.name,
             ev->section.instance_id) == NULL)
        b->index->on_channels = true;
    return 0;
}

static int take(struct builder *b, const struct vfm_stream_event *ev,
                struct vfm_error *err)
{
    int ret;

    switch (ev->type) {
    case VFM_STREAM_CONFIGURATION:
        b->index->machine = strdup(ev->u.configuration.machine);
        return b->index->machine != NULL ? 0 : no_memory(err);
    case VFM_STREAM_SECTION_BEGIN:
        return take_section(b, ev, err);
    case VFM_STREAM_SECTION_END:
        return take_section_end(b, ev);
    case VFM_STREAM_VFIO_DATA_BEGIN:
        find(b->index, OBJECT_STATE, ev->section.name, ev->section.instance_id)
            ->records++;
        return 0;
    case VFM_STREAM_VFIO_DATA:
        return take_piece(b, OBJECT_STATE, ev, err);
    case VFM_STREAM_VFIO_CONFIG:
        ret = add_of_section(b, OBJECT_CONFIG, ev, err);
        return ret < 0 ? ret : take_piece(b, OBJECT_CONFIG, ev, err);
    case VFM_STREAM_OPAQUE:
    case VFM_STREAM_BLOB_DATA:
        return take_piece(b, OBJECT_SECTION, ev, err);
    default:
        return 0;
    }
}

static int index_stream(struct index *index, struct vfm_error *err)
{
    struct builder b = { .index = index };
    struct stream_reader reader;
    struct vfm_stream_event ev;
    int ret = stream_reader_open(&reader, index->file.name, err);

    if (ret < 0)
        return ret;
    while ((ret = stream_reader_next(&reader, &ev, err)) > 0) {
        ret = take(&b, &ev, err);
        if (ret < 0)
            break;
    }
    stream_reader_close(&reader);
    return ret;
}

static int index_file(struct index *index, uint64_t bytes,
                      struct vfm_error *err)
{
    struct builder b = { .index = index };
    int ret = add_object(index, OBJECT_FILE, "", 0, err);

    if (ret < 0 || bytes == 0)
        return ret;
    return append(&b, &index->objects[0], (struct extent){ .len = bytes }, err);
}

int index_build(struct index *index, const char *name, struct vfm_error *err)
{
    uint8_t magic[4];
    uint64_t size;
    int ret;

    *index = (struct index){ 0 };
    ret = piece_file_open(&index->file, name, err);
    if (ret < 0)
        return ret;
    ret = piece_file_size(
        &index->file, "what is compared must be a regular file", &size, err);
    if (ret < 0)
        return ret;
    if (size >= sizeof(magic)) {
        ret = piece_file_read_at(&index->file, magic, sizeof(magic), 0, err);
        if (ret < 0)
            return ret;
        index->is_stream = get_be32(magic) == STREAM_MAGIC;
    }
    return index->is_stream ? index_stream(index, err)
                            : index_file(index, size, err);
}

void index_free(struct index *index)
{
    for (size_t i = 0; i < index->num_objects; i++) {
        free(index->objects[i].name);
        free(index->objects[i].extents);
    }
    free(index->objects);
    free(index->machine);
    piece_file_close(&index->file);
}

struct extent cursor_piece(const struct cursor *cursor)
{
    const struct object *o = cursor->object;
    struct extent piece = { 0 };

    if (cursor->extent < o->num_extents) {
        piece = o->extents[cursor->extent];
        piece.offset += cursor->done;
        piece.len -= cursor->done;
    } else if (o->num_extents > 0) {
        piece = o->extents[o->num_extents - 1];
        piece.offset += piece.len;
        piece.len = 0;
    }
    return piece;
}

void cursor_advance(struct cursor *cursor, uint64_t len)
{
    cursor->done += len;
    if (cursor->done == cursor->object->extents[cursor->extent].len) {
        cursor->extent++;
        cursor->done = 0;
    }
}
