/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes memory as the stream says.  The decoder has checked that a page is
 * within the block that was announced; that this one is ours is checked here,
 * before the first page.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dirty/bitmap.h"
#include "section/ram-load.h"
#include "util/error.h"
#include "util/zero.h"

int ram_load_new(const struct vfm_ram *ram, struct ram_load **rlp)
{
    struct ram_load *rl = calloc(1, sizeof(*rl));

    if (rl == NULL)
        return -ENOMEM;
    rl->ram = ram;
    rl->loaded = ram_new_bitmaps(ram);
    rl->announced = calloc(ram->num_blocks + 1, sizeof(*rl->announced));
    if (rl->loaded == NULL || rl->announced == NULL) {
        ram_load_free(rl);
        return -ENOMEM;
    }
    for (size_t i = 0; i < ram->num_blocks; i++)
        if (!ram->blocks[i].fresh)
            bitmap_set_range(rl->loaded[i], 0,
                             ram_block_pages(&ram->blocks[i]));
    *rlp = rl;
    return 0;
}

void ram_load_free(struct ram_load *rl)
{
    if (rl == NULL)
        return;
    ram_free_bitmaps(rl->ram, rl->loaded);
    free(rl->announced);
    free(rl);
}

int ram_load_block(struct ram_load *rl, const char *name, uint64_t bytes,
                   struct vfm_error *err)
{
    ssize_t block = ram_find_block(rl->ram, name);

    if (block < 0)
        return error_set(err, -ENODEV,
                         "ram: the source has a block \"%.64s\" of %llu bytes, "
                         "for which none is waiting",
                         name, (unsigned long long)bytes);
    if (rl->ram->blocks[block].bytes != bytes)
        return error_set(err, -ENODEV,
                         "ram: the source's block \"%.64s\" has %llu bytes, "
                         "ours %llu",
                         name, (unsigned long long)bytes,
                         (unsigned long long)rl->ram->blocks[block].bytes);
    rl->announced[block] = true;
    return 0;
}

int ram_load_list_over(const struct ram_load *rl, struct vfm_error *err)
{
    for (size_t i = 0; i < rl->ram->num_blocks; i++)
        if (!rl->announced[i])
            return error_set(err, -ENODEV,
                             "ram: the source has no block \"%.64s\"",
                             rl->ram->blocks[i].name);
    return 0;
}

/* One block after the other: it is nearly always the same. */
static size_t find_block(struct ram_load *rl, const char *name)
{
    if (name != rl->name) {
        ssize_t block = ram_find_block(rl->ram, name);

        assert(block >= 0); /* it was announced */
        rl->name = name;
        rl->block = (size_t)block;
    }
    return rl->block;
}

static void clear_page(struct ram_load *rl, uint8_t *memory, uint64_t page)
{
    rl->zero_pages++;
    /* Reading what was never written would make the host give memory to it. */
    if (!bitmap_test(rl->loaded[rl->block], page))
        return;
    if (!zero_is_all(memory, VFM_RAM_PAGE_SIZE))
        memset(memory, 0, VFM_RAM_PAGE_SIZE);
}

int ram_load_page(struct ram_load *rl, const char *name, uint64_t offset,
                  const void *data, size_t len, struct vfm_error *err)
{
    const struct ram_block *block = &rl->ram->blocks[find_block(rl, name)];
    uint64_t page = offset / VFM_RAM_PAGE_SIZE;

    if ((data != NULL && len != VFM_RAM_PAGE_SIZE) ||
        offset % VFM_RAM_PAGE_SIZE != 0)
        return error_set(err, -EOPNOTSUPP,
                         "ram: the source's pages have %zu bytes, not %d", len,
                         VFM_RAM_PAGE_SIZE);
    if (data == NULL) {
        clear_page(rl, block->memory + offset, page);
        return 0;
    }
    memcpy(block->memory + offset, data, VFM_RAM_PAGE_SIZE);
    bitmap_set(rl->loaded[rl->block], page);
    rl->normal_pages++;
    return 0;
}
