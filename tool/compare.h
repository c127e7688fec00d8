/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_COMPARE_H
#define VFM_TOOL_COMPARE_H

/*
 * What vfmig compare compares.
 *
 * A file is a list of objects: the state of a device, its configuration
 * record, the body of another section; or the whole file, if it is no stream.
 * How a state was cut into records and sections makes no difference.
 *
 *   compare.c        the command
 *   compare-index.c  where in its file each object lies
 *   compare-ram.c    guest pages, which have no order but the stream's
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/stream.h>

#include "stream-reader.h"

enum object_kind {
    OBJECT_FILE,
    OBJECT_STATE,
    OBJECT_CONFIG,
    OBJECT_SECTION,
};

/* A piece of an object, contiguous in the file. */
struct extent {
    uint64_t offset;
    uint64_t len;
    uint32_t record; /* the n-th of the device, from 1; 0: none */
    uint8_t type;    /* of the section it lies in, or 0 */
};

struct object {
    enum object_kind kind;
    char *name; /* of the section */
    uint32_t instance_id;
    uint64_t bytes;
    uint32_t records;
    struct extent *extents;
    size_t num_extents;
    size_t extents_size;
};

struct index {
    struct piece_file file; /* for reading at offsets */
    bool is_stream;
    char *machine; /* of a stream, or NULL */
    bool has_ram;
    bool on_channels; /* some of the state is not in the file */
    struct object *objects;
    size_t num_objects;
};

/* Opens the file, which must be a regular one, and looks at all of it.
 * Free the index whatever is returned. */
int index_build(struct index *index, const char *name, struct vfm_error *err);
void index_free(struct index *index);

/* The object of @kind of a section, or NULL. */
const struct object *index_find(const struct index *index,
                                enum object_kind kind, const char *name,
                                uint32_t instance_id);

/* A position in an object. */
struct cursor {
    const struct object *object;
    size_t extent;
    uint64_t done; /* of that extent */
};

/* What lies contiguous in the file at the cursor; len 0: the end. */
struct extent cursor_piece(const struct cursor *cursor);
/* Goes on by @len, at most that piece. */
void cursor_advance(struct cursor *cursor, uint64_t len);

/* The first difference. */
struct difference {
    bool found;
    char what[400]; /* a sentence about it */
    enum object_kind kind;
    const char *section; /* or NULL */
    bool at_byte;        /* this holds: */
    uint64_t byte;       /* of the object */
    bool has_places;     /* and this: */
    /* Where that is: in A, in B.  len 0: it has ended there. */
    struct extent place[2];
};

/* Compares the pages of two streams in the order of the streams.  Returns 0,
 * or a negative errno; *@culprit is then the file's name. */
int ram_compare(const char *a, const char *b, struct difference *diff,
                const char **culprit, struct vfm_error *err);

#endif
