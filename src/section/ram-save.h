/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_SECTION_RAM_SAVE_H
#define VFM_SRC_SECTION_RAM_SAVE_H

/*
 * Memory as it is sent: which pages are still to go, and the next of them as
 * the body of a section, by reference.
 *
 * Two kinds of pages are told apart.  Of most we hear when they are written:
 * they are *dirty*, or not.  Of others nobody would say so: they are *blind*.
 * These go once with all the others, and once more when the VM has stopped.
 */

#include <sys/uio.h>

#include "section/ram.h"

/* What one piece holds at most: pages with what they hold, and pages looked at
 * for that. */
#define RAM_SAVE_PAGES      256
#define RAM_SAVE_SCAN       4096

/* Room for the records' heads: 9 bytes for each page, and names. */
#define RAM_SAVE_HEADS      (64 << 10)

/* A page and its record's head, in the stream. */
#define RAM_SAVE_PAGE_BYTES (VFM_RAM_PAGE_SIZE + 8)

struct ram_save {
    const struct vfm_ram *ram;
    uint64_t **dirty;
    uint64_t **blind;
    uint64_t dirty_pages; /* how many are set */
    uint64_t blind_pages;

    size_t block; /* where the walk goes on */
    uint64_t page;
    size_t named; /* the block of the last record; num_blocks: none */

    /* Of the block the walk is in, while a piece is gathered: what lies from
     * data_at on, but below hole_at, was written; what lies below data_at was
     * not. */
    uint64_t data_at;
    uint64_t hole_at;

    /* The piece: its parts, and what they hold. */
    struct iovec parts[2 * RAM_SAVE_PAGES + 1];
    int num_parts;
    size_t bytes;
    uint64_t normal;
    uint64_t zero;
    uint8_t heads[RAM_SAVE_HEADS];
    size_t heads_len;
};

/* Begins with all pages dirty, and those blind that are mapped nowhere.
 * Returns 0 and the state in *@rsp, or -ENOMEM. */
int ram_save_new(const struct vfm_ram *ram, struct ram_save **rsp);
void ram_save_free(struct ram_save *rs);

/* All pages are blind: nobody says what the processors write. */
void ram_save_mark_all_blind(struct ram_save *rs);

/* The bitmap of blind pages was changed: counts them again. */
void ram_save_count_blind(struct ram_save *rs);

/* The bitmap of dirty pages was changed: counts them, and leaves blind pages to
 * the end, or, if that has come, makes them dirty. */
void ram_save_settle(struct ram_save *rs, bool stopped);

/* Gathers the next pages.  Returns how many, 0 if none is dirty.  Memory is
 * read when the parts are sent, not before: what is written meanwhile is dirty
 * anew. */
uint64_t ram_save_gather(struct ram_save *rs);

/* The body of the START section.  Returns 0 and the bytes, to be freed, or an
 * error. */
int ram_save_list_blocks(const struct vfm_ram *ram, void **body, size_t *len,
                         struct vfm_error *err);

#endif
