/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_SPLICE_H
#define VFM_TOOL_SPLICE_H

/*
 * What vfmig splice does: a stream is copied, but for some ranges of bytes,
 * which are left out or come from elsewhere.
 *
 *   splice.c       the command
 *   splice-part.c  the state of a device that takes another's place
 *   splice-plan.c  where in the stream that goes
 *   splice-text.c  what the vmdescription says of it
 *   splice-write.c the new stream
 *
 * Bodies of sections are taken as they are: a device's own state, put back,
 * makes the same stream again.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/channel.h>
#include <vfmig/error.h>

#include "stream-reader.h"
#include "util/digest.h"

/* The body of a section, in its file. */
struct body {
    uint64_t offset;
    uint64_t len;
};

/* A device's state that takes the place of what the stream has. */
struct part {
    const char *word; /* NAME=STATE-FILE, as the user wrote it */
    char *section;    /* "NAME/vfio", or NAME if that ends in it */
    const char *path;
    bool used; /* the stream has such a device */

    struct piece_file file;
    bool raw; /* no stream: the state itself */
    struct body *parts;
    size_t num_parts;
    size_t parts_size;
    struct body end;
    struct body full;
    uint64_t bytes; /* of state */
    char hex[DIGEST_HEX_SIZE];
    char *
        text; /* of what vfmig said of it, from "bytes" to the brace, or NULL */

    /* While the stream is planned: */
    size_t next; /* of its parts */
    uint64_t full_was;
};

/* Takes NAME=STATE-FILE apart, and reads the file.  Returns 0. */
int part_open(struct part *part, const char *word, struct vfm_error *err);
void part_close(struct part *part);

/* Copy the stream up to @at, leave out @skip bytes of it, and put @len bytes
 * there: @bytes, or if that is NULL those of @file at @offset. */
struct edit {
    uint64_t at;
    uint64_t skip;
    uint8_t *bytes;
    const struct piece_file *file;
    uint64_t offset;
    uint64_t len;
};

struct plan {
    struct piece_file file; /* the stream, to read at offsets */
    struct edit *edits;
    size_t num_edits;
    size_t edits_size;
    uint64_t stream_bytes;
    uint64_t eof_at; /* where its sections end */

    /* To be set before it is made: the target is to answer. */
    bool ask;
};

/* Reads the stream @name, and finds what has to be done to it.  Returns 0. */
int plan_make(struct plan *plan, const char *name, struct part *parts,
              size_t num_parts, struct vfm_error *err);
/* Writes the new stream, waiting @timeout_ms for whoever takes nothing (0: for
 * ever).  *@given: the end of its sections may have left.  Returns 0. */
int plan_write(const struct plan *plan, struct vfm_channel *channel,
               uint32_t timeout_ms, bool *given, struct vfm_error *err);
void plan_free(struct plan *plan);

/* Makes a new vmdescription out of the one in @json, with @parts.  The text is
 * to be freed.  Returns 0, or -EOPNOTSUPP if it is not written as QEMU does. */
int text_edit(const char *json, size_t len, const struct part *parts,
              size_t num_parts, char **newp, size_t *new_len,
              struct vfm_error *err);
/* What @json has about @section in what vfmig adds, from "bytes" on, to be
 * freed; NULL if there is nothing.  Returns 0 or -ENOMEM. */
int text_promise(const char *json, size_t len, const char *section,
                 char **promise);

#endif
