/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_SECTION_RAM_H
#define VFM_SRC_SECTION_RAM_H

/*
 * Memory as blocks: what they are called, where they are, where the guest sees
 * them.  What is sent of them is ram-save.h's business, what is loaded into
 * them ram-load.h's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vfmig/ram.h>

struct ram_block {
    char *name;
    uint64_t bytes;
    uint8_t *memory;
    bool is_ours; /* we mapped it, from */
    int fd;       /* this, which knows its holes; -1 */
    uint64_t fd_offset;
    bool fresh;
};

struct ram_mapping {
    size_t block;
    uint64_t offset; /* in the block */
    uint64_t address;
    uint64_t bytes;
};

struct vfm_ram {
    struct ram_block *blocks;
    size_t num_blocks;
    struct ram_mapping *mappings;
    size_t num_mappings;
    uint64_t bytes;
};

static inline uint64_t ram_block_pages(const struct ram_block *block)
{
    return block->bytes / VFM_RAM_PAGE_SIZE;
}

/* The number of block @name; -ENOENT. */
ssize_t ram_find_block(const struct vfm_ram *ram, const char *name);

/* A bitmap for each block, a bit for each page; NULL without memory. */
uint64_t **ram_new_bitmaps(const struct vfm_ram *ram);
void ram_free_bitmaps(const struct vfm_ram *ram, uint64_t **bitmaps);

#endif
