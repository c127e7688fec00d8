/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_LOADER_H
#define VFM_EMULATOR_LOADER_H

/*
 * A loading session: checks the stream of stream.h as it arrives, in pieces
 * of any size, down to the last byte of every page.
 *
 * Errors: the first is kept, with the number of the frame and the reason;
 * what comes after it is counted and thrown away.  Nothing of the device is
 * changed: the caller takes the result once the whole stream was good.
 * Ownership: the memory stays the caller's.  Threads: none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emulator/hash.h"

#include <vfmig/error.h>

#include "emulator/memory.h"
#include "emulator/mutant.h"
#include "emulator/stream.h"

/* A stream that was loaded whole. */
struct loaded {
    uint64_t seed;
    struct stream_registers registers;
    uint8_t *bar2; /* EDEV_BAR2_SIZE bytes */
    uint8_t *msix; /* 16 bytes for each vector */
};

enum loader_stage { LOADER_FRAME, LOADER_PAYLOAD, LOADER_CHECK };

struct loader {
    bool active;
    enum mutant mutant;
    const struct memory *memory;
    struct stream_header expected; /* but for the seed */
    struct loaded result;
    struct vfm_error error; /* code 0: none so far */
    bool only_short;        /* refused, and all that came was good */
    uint64_t bytes;         /* taken */
    uint64_t sequence;      /* frames complete */
    uint64_t cold_next;     /* where the next new COLD frame begins */
    uint32_t *got;          /* per hot page: 0, or 1 + its generation */
    unsigned seen;          /* a bit per frame type */

    /* The frame under way. */
    enum loader_stage stage;
    size_t at; /* bytes taken of this part of it */
    struct stream_frame frame;
    uint8_t check[STREAM_CHECK_SIZE];
    uint32_t generations[STREAM_FRAME_PAGES];
    bool pattern_wrong;
    uint64_t wrong_page;
    uint8_t *small; /* STREAM_SMALL_MAX bytes */
    XXH3_state_t *hash;
};

/* Allocates what sessions for a device with @m and @vectors need.  Returns
 * 0 or -ENOMEM. */
int loader_init(struct loader *l, const struct memory *m, uint32_t vectors);
void loader_free(struct loader *l);

/* Begins a session for a device that is @expected, whatever its seed. */
void loader_begin(struct loader *l, const struct stream_header *expected);
void loader_end(struct loader *l);

/* Takes all of @size bytes. */
void loader_write(struct loader *l, const void *buf, size_t size);

/*
 * Was that a whole, good stream for this device?  Then 0, and l->result is
 * it; else -EINVAL, and why.
 */
int loader_finish(struct loader *l, struct vfm_error *err);

#endif
