/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loads states into the emulated device that are nearly good: a saved one, to
 * which the input does things, frame by frame, with checksums that are made
 * right again so that what lies behind them is reached.  A device that took one
 * runs with it, and is saved.
 *
 * An edit is eight bytes: what, the frame, a position (2), a value (4).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/device.h"
#include "emulator/region.h"
#include "emulator/registers.h"
#include "protocol/vfio-uapi.h"
#include "util/bytes.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOM       (1u << 18)
#define FRAMES_MAX 64
#define EDIT_SIZE  8
#define KEEP_CHECK 0x80 /* in the first byte: the checksum stays wrong */

enum edit { SET_BYTE, SET_WORD, ADD, SET_LENGTH, DROP, REPEAT, SWAP, CUT };

struct frame {
    uint8_t *bytes; /* of the saved state, or a copy that was edited */
    size_t size;    /* all of it */
    bool owned;
    bool keep_check;
};

static struct options options;
static uint8_t saved[ROOM];
static struct frame saved_frames[FRAMES_MAX];
static size_t num_saved;
static uint8_t out[2 * ROOM];

static void take_apart(size_t size)
{
    for (size_t at = 0; at < size;) {
        struct stream_frame f;

        memcpy(&f, saved + at, sizeof(f));
        saved_frames[num_saved] =
            (struct frame){ .bytes = saved + at,
                            .size = STREAM_OVERHEAD + f.length };
        at += saved_frames[num_saved++].size;
    }
}

static struct device *make_device(void)
{
    struct device *d;

    if (device_create(&options, &d, NULL) < 0)
        abort();
    return d;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    FILE *nowhere = fopen("/dev/null", "w");
    struct device *d;
    size_t size = 0;
    ssize_t n;

    (void)argc;
    (void)argv;
    if (nowhere != NULL)
        stderr = stdout = nowhere; /* refused loads are told there */
    options_default(&options);
    options.size = 16 * EDEV_PAGE_SIZE;
    options.dirty_size = 4 * EDEV_PAGE_SIZE;
    options.initial_size = 2 * EDEV_PAGE_SIZE;
    d = make_device();
    if (device_set_state(d, UAPI_STATE_STOP_COPY) < 0)
        abort();
    while ((n = device_read_state(d, saved + size, ROOM - size)) > 0)
        size += (size_t)n;
    take_apart(size);
    device_free(d);
    return 0;
}

/* A frame that may be changed, with room behind it. */
static struct frame *own(struct frame *f)
{
    if (!f->owned) {
        uint8_t *copy = calloc(1, f->size + EDEV_PAGE_SIZE);

        memcpy(copy, f->bytes, f->size);
        f->bytes = copy;
        f->owned = true;
    }
    return f;
}

/*
 * A payload may shrink to nothing, or be said to be longer than it is.  How
 * long it is, its frame no longer tells when an edit before this one lied.
 */
static void set_length(struct frame *f, uint32_t value)
{
    size_t length = f->size - STREAM_OVERHEAD;
    struct stream_frame head;

    memcpy(&head, f->bytes, sizeof(head));
    if (value < length) {
        head.length = value;
        f->size = STREAM_OVERHEAD + value;
    } else {
        head.length += value;
    }
    memcpy(f->bytes, &head, sizeof(head));
}

static void edit_bytes(struct frame *f, enum edit what, size_t at,
                       uint32_t value)
{
    uint32_t word;

    own(f);
    at %= f->size - STREAM_CHECK_SIZE;
    if (what == SET_LENGTH) {
        set_length(f, value);
    } else if (what == SET_BYTE || at + sizeof(word) > f->size) {
        f->bytes[at] = (uint8_t)value;
    } else {
        memcpy(&word, f->bytes + at, sizeof(word));
        word = what == ADD ? word + value : value;
        memcpy(f->bytes + at, &word, sizeof(word));
    }
}

static void remove_frame(struct frame *frames, size_t *n, size_t i)
{
    if (frames[i].owned)
        free(frames[i].bytes);
    memmove(frames + i, frames + i + 1, (*n - i - 1) * sizeof(*frames));
    (*n)--;
}

static void repeat_frame(struct frame *frames, size_t *n, size_t i)
{
    if (*n == FRAMES_MAX)
        return;
    memmove(frames + i + 1, frames + i, (*n - i) * sizeof(*frames));
    (*n)++;
    frames[i].owned = false;
    own(&frames[i]);
}

static void edit(struct frame *frames, size_t *n, const uint8_t *data)
{
    enum edit what = data[0] % (CUT + 1);
    size_t i = data[1] % *n;
    size_t at = get_be16(data + 2);
    struct frame kept = frames[i];

    if (what == DROP && *n > 1) {
        remove_frame(frames, n, i);
    } else if (what == REPEAT) {
        repeat_frame(frames, n, i);
    } else if (what == SWAP) {
        frames[i] = frames[at % *n];
        frames[at % *n] = kept;
    } else if (what == CUT) {
        while (*n > i + 1)
            remove_frame(frames, n, *n - 1);
    } else if (what < DROP) {
        edit_bytes(&frames[i], what, at, get_be32(data + 4));
        frames[i].keep_check = (data[0] & KEEP_CHECK) != 0;
    }
}

/* The sum stands behind the payload that is there, wherever that ends. */
static void make_check(struct frame *f)
{
    size_t len = f->size - STREAM_CHECK_SIZE;
    uint64_t sum = XXH3_64bits(f->bytes, len);

    if (f->owned && !f->keep_check)
        memcpy(f->bytes + len, &sum, sizeof(sum));
}

static size_t put_together(struct frame *frames, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; i++) {
        make_check(&frames[i]);
        if (frames[i].size <= sizeof(out) - size) {
            memcpy(out + size, frames[i].bytes, frames[i].size);
            size += frames[i].size;
        }
    }
    return size;
}

/* Whatever it took, it works as a device does. */
static void use(struct device *d)
{
    uint8_t buf[4096];

    device_advance(d);
    for (uint64_t at = 0; at < EDEV_PAGE_SIZE; at += 8)
        region_read(d, 0, at, buf, 8);
    for (uint32_t cause = 1; cause != 0; cause <<= 1)
        device_raise(d, cause);
    device_advance(d);
    if (device_set_state(d, UAPI_STATE_STOP_COPY) < 0)
        abort();
    while (device_read_state(d, buf, sizeof(buf)) > 0)
        continue;
}

static void load(size_t size, size_t piece)
{
    struct device *d = make_device();

    if (device_set_state(d, UAPI_STATE_RESUMING) < 0)
        abort();
    for (size_t at = 0; at < size; at += piece)
        device_write_state(d, out + at, size - at < piece ? size - at : piece);
    if (device_set_state(d, UAPI_STATE_STOP) == 0) {
        if (device_set_state(d, UAPI_STATE_RUNNING) < 0)
            abort();
        use(d);
    } else {
        device_reset(d);
        if (d->state != UAPI_STATE_RUNNING)
            abort();
    }
    device_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frames[FRAMES_MAX];
    size_t n = num_saved;

    if (size == 0)
        return 0;
    memcpy(frames, saved_frames, sizeof(frames));
    for (size_t at = 1; at + EDIT_SIZE <= size; at += EDIT_SIZE)
        edit(frames, &n, data + at);
    load(put_together(frames, n), 1 + (size_t)data[0] * 257);
    for (size_t i = 0; i < n; i++)
        if (frames[i].owned)
            free(frames[i].bytes);
    return 0;
}
