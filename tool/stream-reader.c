/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads files and hands them to the library's decoders, piece by piece.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream-reader.h"
#include "util/error.h"

#define PIECE_BYTES ((size_t)1 << 20)

int piece_file_open(struct piece_file *file, const char *name,
                    struct vfm_error *err)
{
    *file = (struct piece_file){ .name = name, .fd = STDIN_FILENO };
    if (strcmp(name, "-") != 0)
        file->fd = open(name, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0)
        return error_set(err, -errno, "cannot open it: %s", strerror(errno));
    file->buf = malloc(PIECE_BYTES);
    if (file->buf == NULL) {
        piece_file_close(file);
        return error_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

void piece_file_close(struct piece_file *file)
{
    if (file->name != NULL && file->fd > STDIN_FILENO)
        close(file->fd);
    free(file->buf);
    *file = (struct piece_file){ 0 };
}

int piece_file_fill(struct piece_file *file, struct vfm_error *err)
{
    ssize_t n;

    do
        n = read(file->fd, file->buf, PIECE_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_set(err, -errno, "offset %" PRIu64 ": cannot read: %s",
                         file->bytes, strerror(errno));
    file->at = 0;
    file->len = (size_t)n;
    file->bytes += (uint64_t)n;
    return n > 0;
}

int piece_file_size(const struct piece_file *file, const char *must,
                    uint64_t *size, struct vfm_error *err)
{
    struct stat st;

    if (fstat(file->fd, &st) < 0)
        return error_set(err, -errno, "cannot find out what it is: %s",
                         strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(err, -ESPIPE, "%s", must);
    *size = (uint64_t)st.st_size;
    return 0;
}

int piece_file_read_at(const struct piece_file *file, void *buf, size_t len,
                       uint64_t offset, struct vfm_error *err)
{
    ssize_t n;

    for (size_t done = 0; done < len; done += (size_t)n) {
        n = pread(file->fd, (uint8_t *)buf + done, len - done,
                  (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0)
            return error_set(err, n < 0 ? -errno : -EIO,
                             "offset %" PRIu64 ": cannot read: %s",
                             offset + done,
                             n < 0 ? strerror(errno) : "it has become shorter");
    }
    return 0;
}

/* ---------------------------------------------------------------------- */

int stream_reader_open(struct stream_reader *reader, const char *name,
                       struct vfm_error *err)
{
    struct vfm_decoder_options options = {
        .size = sizeof(options),
        .allow_multifd = true,
        /* A file may hold records of any size; none is kept. */
        .max_vfio_data = UINT64_MAX,
        /* Only streams of very old machines have none; a file without one
         * has been cut. */
        .require_vmdescription = true,
    };
    int ret;

    *reader = (struct stream_reader){ 0 };
    ret = piece_file_open(&reader->file, name, err);
    if (ret == 0)
        ret = vfm_decoder_new(&options, &reader->dec, err);
    if (ret < 0)
        stream_reader_close(reader);
    return ret;
}

void stream_reader_close(struct stream_reader *reader)
{
    vfm_decoder_free(reader->dec);
    piece_file_close(&reader->file);
    reader->dec = NULL;
}

static int check_end(struct stream_reader *reader, struct vfm_error *err)
{
    struct piece_file *file = &reader->file;
    uint64_t end = vfm_decoder_offset(reader->dec);
    int ret = file->at < file->len ? 1 : piece_file_fill(file, err);

    if (ret > 0)
        return error_set(
            err, -EBADMSG,
            "offset %" PRIu64 ": something follows the end of the stream", end);
    return ret;
}

int stream_reader_next(struct stream_reader *reader,
                       struct vfm_stream_event *ev, struct vfm_error *err)
{
    struct piece_file *file = &reader->file;
    size_t used;
    int ret;

    for (;;) {
        ret = vfm_decoder_next(reader->dec, file->buf + file->at,
                               file->len - file->at, &used, ev, err);
        file->at += used;
        if (ret != 0)
            return ret;
        if (vfm_decoder_done(reader->dec))
            return check_end(reader, err);
        ret = piece_file_fill(file, err);
        if (ret < 0)
            return ret;
        if (ret == 0)
            return vfm_decoder_finish(reader->dec, err);
    }
}

/* ---------------------------------------------------------------------- */

int channel_reader_open(struct channel_reader *reader, const char *name,
                        const struct vfm_multifd_options *options,
                        struct vfm_error *err)
{
    uint64_t size;
    int ret;

    *reader = (struct channel_reader){ 0 };
    ret = piece_file_open(&reader->file, name, err);
    if (ret == 0)
        ret = piece_file_size(&reader->file,
                              "a channel is read twice, so it must be a "
                              "regular file",
                              &size, err);
    if (ret == 0)
        ret = vfm_multifd_decoder_new(options, &reader->dec, err);
    if (ret < 0)
        channel_reader_close(reader);
    return ret;
}

void channel_reader_shrink(struct channel_reader *reader)
{
    vfm_multifd_decoder_free(reader->dec);
    reader->dec = NULL;
    free(reader->file.buf);
    reader->file.buf = NULL;
}

void channel_reader_close(struct channel_reader *reader)
{
    channel_reader_shrink(reader);
    piece_file_close(&reader->file);
}

int channel_reader_next(struct channel_reader *reader,
                        struct vfm_multifd_event *ev, struct vfm_error *err)
{
    struct piece_file *file = &reader->file;
    size_t used;
    int ret;

    for (;;) {
        ret = vfm_multifd_decoder_next(reader->dec, file->buf + file->at,
                                       file->len - file->at, &used, ev, err);
        file->at += used;
        if (ret != 0)
            return ret;
        ret = piece_file_fill(file, err);
        if (ret < 0)
            return ret;
        if (ret == 0)
            return vfm_multifd_decoder_finish(reader->dec, err);
    }
}
