/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_SECTION_RAM_LOAD_H
#define VFM_SRC_SECTION_RAM_LOAD_H

/*
 * Memory as it is loaded: what the stream announces is compared with what is
 * there, then pages are written.
 */

#include "section/ram.h"

struct ram_load {
    const struct vfm_ram *ram;
    uint64_t **loaded; /* pages that may not be zero any more */
    bool *announced;   /* a block each */
    const char *name; /* of the block of the last page, as the decoder has it */
    size_t block;     /* its number */
    uint64_t normal_pages;
    uint64_t zero_pages;
};

/* Returns 0 and the state in *@rlp, or -ENOMEM. */
int ram_load_new(const struct vfm_ram *ram, struct ram_load **rlp);
void ram_load_free(struct ram_load *rl);

/*
 * Block @name of @bytes is announced; then the list is over.
 *
 * Returns 0.
 *   -ENODEV   the source's memory is not like ours; the sentence says how
 */
int ram_load_block(struct ram_load *rl, const char *name, uint64_t bytes,
                   struct vfm_error *err);
int ram_load_list_over(const struct ram_load *rl, struct vfm_error *err);

/*
 * Writes a page of block @name, one that was announced, at @offset, which is
 * within it; @data NULL: of zeroes.  @name stays where it is as long as the
 * stream.
 *
 * Returns 0.
 *   -EOPNOTSUPP  pages of another size
 */
int ram_load_page(struct ram_load *rl, const char *name, uint64_t offset,
                  const void *data, size_t len, struct vfm_error *err);

#endif
