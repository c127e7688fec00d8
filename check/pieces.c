/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a state is cut into reads and writes means nothing: from one byte to 16
 * MiB, it is the same state.
 *
 * A device that stands still is saved twice, once in pieces that are good for
 * it.  Devices whose state differs every time are only asked whether they take
 * it.
 */
#include <inttypes.h>

#include "check/groups.h"
#include "check/steps.h"

/* How much is cut up small: each piece is a message, or a system call. */
#define MANY 1000

struct pieces {
    size_t piece;
    size_t more; /* each piece is longer than the one before by this */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Reads as @cut says, the rest as is good. */
static int read_cut(struct run *r, const struct pieces *cut,
                    struct image *image)
{
    size_t piece = cut->piece;

    for (int i = 0; i < MANY; i++, piece += cut->more) {
        int ret = image_reserve(image, piece);
        ssize_t n;

        if (ret < 0)
            return check_skip(r, "no room for the state: %s", step_errno(ret));
        n = raw_read(r->raw, r->fd, image->data + image->size, piece);
        if (n < 0)
            return check_fail(r, "a read of %zu bytes at byte %zu gave %s",
                              piece, image->size, step_errno((int)n));
        if ((size_t)n > piece)
            return check_fail(r, "a read of %zu bytes gave %zd", piece, n);
        image->size += (size_t)n;
        if (n == 0)
            return 0;
    }
    return step_read_all(r, image, 0);
}

/* From STOP to STOP. */
static int save_cut(struct run *r, const struct pieces *cut,
                    struct image *image)
{
    image->size = 0;
    if (step_go(r, UAPI_STATE_STOP_COPY) != 0 || read_cut(r, cut, image) != 0 ||
        step_go(r, UAPI_STATE_STOP) != 0)
        return CHECK_OVER;
    return 0;
}

static const struct pieces good = { 1 << 20, 0 };

static struct pieces limited(struct pieces cut, size_t max)
{
    return (struct pieces){ smaller(cut.piece, max), cut.more };
}

/* Says how @got, that was cut, differs from @want; unless they differ from save
 * to save, as @again does. */
static int judge(struct run *r, const struct image *want,
                 const struct image *got, const struct image *again,
                 const char *what)
{
    if (!image_equals(want, again))
        return step_load(r, got);
    return check_fail(r,
                      "%s the state has %zu bytes and not %zu, and is another "
                      "from byte %zu on",
                      what, got->size, want->size, image_difference(want, got));
}

static int compare_reads(struct run *r, const struct pieces *cut,
                         struct image images[3])
{
    struct pieces usual = limited(good, r->raw->max_read);

    if (step_go(r, UAPI_STATE_STOP) != 0 ||
        save_cut(r, &usual, &images[0]) != 0 ||
        save_cut(r, cut, &images[1]) != 0)
        return CHECK_OVER;
    if (image_equals(&images[0], &images[1]))
        return 0;
    if (save_cut(r, &usual, &images[2]) != 0)
        return CHECK_OVER;
    return judge(r, &images[0], &images[1], &images[2], "read in pieces,");
}

static void free_all(struct image images[3])
{
    for (int i = 0; i < 3; i++)
        image_free(&images[i]);
}

static int run_reads(struct run *r, const void *arg)
{
    const struct pieces *cut = arg;
    struct image images[3] = { { .data = NULL } };
    int ret;

    if (cut->piece > r->raw->max_read)
        return check_skip(r, "the server takes reads of at most %zu bytes",
                          r->raw->max_read);
    ret = compare_reads(r, cut, images);
    free_all(images);
    return ret;
}

/* From STOP to STOP: loads @image in pieces, and saves what the device has of
 * it then. */
static int load_cut(struct run *r, const struct pieces *cut,
                    const struct image *image, struct image *after)
{
    size_t piece = cut->piece;
    size_t done = 0;
    struct pieces usual = limited(good, r->raw->max_read);

    if (step_go(r, UAPI_STATE_RESUMING) != 0)
        return CHECK_OVER;
    for (int i = 0; i < MANY && done < image->size; i++, piece += cut->more) {
        size_t n = smaller(piece, image->size - done);

        if (step_write(r, image->data + done, n, n) != 0)
            return CHECK_OVER;
        done += n;
    }
    if (step_write(r, image->data + done, image->size - done, 0) != 0 ||
        step_set(r, UAPI_STATE_STOP) != 0)
        return CHECK_OVER;
    return save_cut(r, &usual, after);
}

static int compare_writes(struct run *r, const struct pieces *cut,
                          struct image images[3])
{
    struct pieces usual = limited(good, r->raw->max_write);

    if (step_save(r, &images[0]) != 0 ||
        load_cut(r, cut, &images[0], &images[1]) != 0)
        return CHECK_OVER;
    if (image_equals(&images[0], &images[1]))
        return 0;
    if (load_cut(r, &usual, &images[0], &images[2]) != 0)
        return CHECK_OVER;
    if (!image_equals(&images[0], &images[2]))
        return 0;
    return judge(r, &images[0], &images[1], &images[2], "written in pieces,");
}

static int run_writes(struct run *r, const void *arg)
{
    const struct pieces *cut = arg;
    struct image images[3] = { { .data = NULL } };
    int ret;

    if (cut->piece > r->raw->max_write)
        return check_skip(r, "writes of more than %zu bytes are not safe",
                          r->raw->max_write);
    if (step_have_image(r) != 0)
        return CHECK_OVER;
    ret = compare_writes(r, cut, images);
    free_all(images);
    return ret;
}

/* Reads of no bytes in between. */
static int run_empty_reads(struct run *r, const void *arg)
{
    struct image images[2] = { { .data = NULL } };
    uint8_t byte;
    ssize_t n = 0;
    int ret = step_save(r, &images[0]);

    (void)arg;
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_STOP_COPY);
    if (ret == 0)
        n = raw_read(r->raw, r->fd, &byte, 0);
    if (n != 0)
        ret = check_fail(r, "a read of 0 bytes gave %s",
                         n < 0 ? step_errno((int)n) : "some");
    if (ret == 0)
        ret = step_read_all(r, &images[1], 0);
    if (ret == 0 && images[1].size == 0)
        ret = check_fail(r, "after a read of 0 bytes nothing comes any more");
    image_free(&images[0]);
    image_free(&images[1]);
    return ret;
}

static int run_empty_writes(struct run *r, const void *arg)
{
    struct image image = { .data = NULL };
    ssize_t n = 0;
    int ret = step_save(r, &image);
    size_t half = image.size / 2;

    (void)arg;
    if (ret == 0)
        ret = step_go(r, UAPI_STATE_RESUMING);
    if (ret == 0)
        ret = step_write(r, image.data, half, 0);
    if (ret == 0)
        n = raw_write(r->raw, r->fd, image.data + half, 0);
    if (n < 0)
        ret = check_fail(r, "a write of 0 bytes gave %s", step_errno((int)n));
    if (ret == 0)
        ret = step_write(r, image.data + half, image.size - half, 0);
    if (ret == 0)
        ret = step_set(r, UAPI_STATE_STOP);
    image_free(&image);
    return ret;
}

#define PIECE_RULE                                                           \
    "The stream is opaque, and where it is cut into reads and writes means " \
    "nothing (linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: data_fd)"

#define CUT(name_, run_, piece_, more_, look_)                     \
    {                                                              \
        .name = name_, .severity = CHECK_MUST, .rule = PIECE_RULE, \
        .look = look_, .run = run_, .timeout_ms = 120000,          \
        .arg = &(const struct pieces)                              \
        {                                                          \
            piece_, more_                                          \
        }                                                          \
    }

#define READS(name, piece, more)                                    \
    CUT(name, run_reads, piece, more,                               \
        "the read function: the offset it keeps, and what it does " \
        "with a part of a record or with the last bytes")
#define WRITES(name, piece, more)                                     \
    CUT(name, run_writes, piece, more,                                \
        "the write function: a record that comes in several writes, " \
        "and several records in one")

const struct check checks_pieces[] = {
    READS("piece-reads-of-1-byte", 1, 0),
    READS("piece-reads-of-3-bytes", 3, 0),
    READS("piece-reads-of-8-bytes", 8, 0),
    READS("piece-reads-of-511-bytes", 511, 0),
    READS("piece-reads-of-4095-bytes", 4095, 0),
    READS("piece-reads-of-4K", 4096, 0),
    READS("piece-reads-of-4097-bytes", 4097, 0),
    READS("piece-reads-of-64K", 64 << 10, 0),
    READS("piece-reads-of-1M", 1 << 20, 0),
    READS("piece-reads-of-16M", 16 << 20, 0),
    READS("piece-reads-that-grow", 1, 1),
    { .name = "piece-reads-of-0-bytes",
      .severity = CHECK_SHOULD,
      .rule = "A read of nothing gives nothing and ends nothing (read(2))",
      .look = "whether 0 bytes are taken for the end of the state",
      .run = run_empty_reads },
    WRITES("piece-writes-of-1-byte", 1, 0),
    WRITES("piece-writes-of-3-bytes", 3, 0),
    WRITES("piece-writes-of-8-bytes", 8, 0),
    WRITES("piece-writes-of-511-bytes", 511, 0),
    WRITES("piece-writes-of-4095-bytes", 4095, 0),
    WRITES("piece-writes-of-4K", 4096, 0),
    WRITES("piece-writes-of-4097-bytes", 4097, 0),
    WRITES("piece-writes-of-32K", 32 << 10, 0),
    WRITES("piece-writes-of-1M", 1 << 20, 0),
    WRITES("piece-writes-of-16M", 16 << 20, 0),
    WRITES("piece-writes-that-grow", 1, 1),
    { .name = "piece-writes-of-0-bytes",
      .severity = CHECK_SHOULD,
      .rule = "A write of nothing takes nothing and ends nothing (write(2))",
      .look = "whether 0 bytes are taken for the end of the state",
      .run = run_empty_writes },
    { .name = NULL },
};
