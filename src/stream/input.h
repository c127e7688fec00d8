/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_INPUT_H
#define VFM_SRC_STREAM_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes that arrive in pieces, seen as one contiguous piece where a decoder
 * needs it.
 *
 * The window is what the caller handed in.  Bytes of an item that the window
 * holds only in part move to a buffer of our own, and it is enlarged only as
 * bytes really come.  What lies whole in the window is never copied.
 */
struct input {
    const uint8_t *window;
    size_t len;      /* of the window */
    uint64_t offset; /* in the stream, of the first byte not consumed */

    uint8_t *pending; /* not consumed, in front of the window */
    size_t pending_len;
    size_t pending_size;
    size_t moved; /* from this window to pending, so far */
};

void input_free(struct input *in);

/* Makes the next @len bytes of the stream visible. */
void input_feed(struct input *in, const void *window, size_t len);

/*
 * Shows the next @len bytes in *@p, without consuming them.
 *
 * Returns 1, 0 if they are not all there yet (the window is then empty), or
 * -ENOMEM.
 */
int input_need(struct input *in, size_t len, const uint8_t **p);

/* How many bytes are there. */
size_t input_available(const struct input *in);

/* Consumes @len bytes that were shown by input_need().  More may have been
 * shown, if they came with this window: they go back to it. */
void input_consume(struct input *in, size_t len);

/* Consumes at most @max bytes of the window; returns how many.  Nothing may
 * be pending. */
size_t input_take(struct input *in, uint64_t max, const uint8_t **p);

#endif
