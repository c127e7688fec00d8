/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_SAVER_H
#define VFM_EMULATOR_SAVER_H

/*
 * A saving session: produces the stream of stream.h, in pieces of any size.
 *
 * First comes the initial part (header and the first pages), then the rest of
 * the memory, then pages that were rewritten meanwhile, as often as needed;
 * once the device has stopped also the registers and the end.
 *
 * Ownership: the memory and the image stay the caller's and must outlive the
 * session.  Threads: none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "emulator/hash.h"

#include "emulator/memory.h"
#include "emulator/stream.h"

/* What is saved once the device has stopped. */
struct image {
    struct stream_registers registers;
    const void *bar2; /* EDEV_BAR2_SIZE bytes */
    const void *msix;
    size_t msix_size;
};

enum saver_stage {
    SAVER_HEADER,
    SAVER_INITIAL,
    SAVER_BULK,
    SAVER_DIRTY,
    SAVER_REGISTERS,
    SAVER_BAR2,
    SAVER_MSIX,
    SAVER_END,
    SAVER_DONE,
};

struct saver {
    bool active;
    const struct memory *memory;
    struct stream_header header;
    uint64_t initial_pages;
    uint64_t reinit_after; /* bytes; 0: never */
    size_t msix_size;

    enum saver_stage stage;
    uint64_t initial; /* next page of the initial part */
    uint64_t bulk;    /* next page of the first pass */
    uint64_t scan;    /* hot page at which the search for dirty ones goes on */
    bool reinit_done;
    bool reinit;       /* new initial data is there and not yet read */
    uint64_t sequence; /* frames begun */
    uint64_t bytes;    /* produced */

    /* The frame under way. */
    bool in_frame;
    bool frame_is_initial;
    struct stream_frame frame;
    uint64_t at; /* bytes of it produced, overhead included */
    uint8_t check[STREAM_CHECK_SIZE];
    uint32_t generations[STREAM_FRAME_PAGES];
    uint8_t *small; /* STREAM_SMALL_MAX bytes */
    uint32_t *sent; /* per hot page: 0, or 1 + the generation sent */
    XXH3_state_t *hash;
};

/* Allocates what sessions on @m need.  Returns 0 or -ENOMEM. */
int saver_init(struct saver *s, const struct memory *m);
void saver_free(struct saver *s);

/* Begins a session. */
void saver_begin(struct saver *s, const struct stream_header *header,
                 uint64_t initial_size, uint64_t reinit_after);
void saver_end(struct saver *s);

/*
 * Produces up to @size bytes.  @stopped: null while the device runs, else
 * what to finish with.
 *
 * Returns their number; 0: nothing now, and if the device has stopped,
 * nothing any more.
 */
size_t saver_read(struct saver *s, const struct image *stopped, void *buf,
                  size_t size);

/* What is left: of the initial part; of the rest that can be had while the
 * device runs; of what is left when it stops now. */
uint64_t saver_initial_bytes(const struct saver *s);
uint64_t saver_dirty_bytes(const struct saver *s);
uint64_t saver_left(const struct saver *s);

/* How long a whole stream is that is saved while the device is stopped. */
uint64_t saver_total(const struct memory *m, uint64_t initial_size,
                     size_t msix_size);

#endif
