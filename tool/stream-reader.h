/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_STREAM_READER_H
#define VFM_TOOL_STREAM_READER_H

/*
 * Files with streams in them, event by event, with a fixed amount of memory.
 *
 * Errors     As the library's: negative errno values and a sentence that has
 *            no name of a file in it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/stream.h>

/* A file and the piece of it that is looked at. */
struct piece_file {
    const char *name; /* as the user wrote it */
    int fd;
    uint8_t *buf;
    size_t at;  /* in buf, of what was not used */
    size_t len; /* of what is in buf */
    uint64_t bytes;
};

/* "-" is standard input.  Returns 0. */
int piece_file_open(struct piece_file *file, const char *name,
                    struct vfm_error *err);
/* A file that was not opened is allowed, if it is all zero. */
void piece_file_close(struct piece_file *file);

/* Reads the next piece.  Returns 1, 0 at the end, or a negative errno. */
int piece_file_fill(struct piece_file *file, struct vfm_error *err);

/* How long a file is that can be read at any offset.  Returns 0, -ESPIPE and
 * the sentence @must if it cannot, or a negative errno. */
int piece_file_size(const struct piece_file *file, const char *must,
                    uint64_t *size, struct vfm_error *err);

/* Reads exactly @len bytes at @offset.  Returns 0. */
int piece_file_read_at(const struct piece_file *file, void *buf, size_t len,
                       uint64_t offset, struct vfm_error *err);

/* A main stream. */
struct stream_reader {
    struct piece_file file;
    struct vfm_decoder *dec;
};

int stream_reader_open(struct stream_reader *reader, const char *name,
                       struct vfm_error *err);
void stream_reader_close(struct stream_reader *reader);

/* Returns 1 and an event, 0 at the end of a complete stream that is also the
 * end of the file, or a negative errno. */
int stream_reader_next(struct stream_reader *reader,
                       struct vfm_stream_event *ev, struct vfm_error *err);

/* A multifd channel. */
struct channel_reader {
    struct piece_file file;
    struct vfm_multifd_decoder *dec;
};

int channel_reader_open(struct channel_reader *reader, const char *name,
                        const struct vfm_multifd_options *options,
                        struct vfm_error *err);
void channel_reader_close(struct channel_reader *reader);
/* Frees what only channel_reader_next() needs; the file stays open. */
void channel_reader_shrink(struct channel_reader *reader);
int channel_reader_next(struct channel_reader *reader,
                        struct vfm_multifd_event *ev, struct vfm_error *err);

#endif
