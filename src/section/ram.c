/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handle of a VM's memory: names, sizes, places.  Its contents are not
 * touched here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dirty/bitmap.h"
#include "section/ram.h"
#include "util/error.h"
#include "util/options.h"
#include "util/text.h"

#define NAME_MAX_LEN 255

int vfm_ram_new(struct vfm_ram **ramp, struct vfm_error *err)
{
    *ramp = calloc(1, sizeof(**ramp));
    return *ramp != NULL ? 0 : error_set(err, -ENOMEM, "ram: out of memory");
}

static void free_block(struct ram_block *block)
{
    if (block->is_ours)
        munmap(block->memory, block->bytes);
    free(block->name);
}

void vfm_ram_free(struct vfm_ram *ram)
{
    if (ram == NULL)
        return;
    for (size_t i = 0; i < ram->num_blocks; i++)
        free_block(&ram->blocks[i]);
    free(ram->blocks);
    free(ram->mappings);
    free(ram);
}

ssize_t ram_find_block(const struct vfm_ram *ram, const char *name)
{
    for (size_t i = 0; i < ram->num_blocks; i++)
        if (strcmp(ram->blocks[i].name, name) == 0)
            return (ssize_t)i;
    return -ENOENT;
}

static bool is_aligned(uint64_t value)
{
    return value % VFM_RAM_PAGE_SIZE == 0;
}

static int check_block(const struct vfm_ram *ram,
                       const struct vfm_ram_block *block, struct vfm_error *err)
{
    uint64_t sum;

    if (block->name == NULL || !text_is_name(block->name, NAME_MAX_LEN, ""))
        return error_set(err, -EINVAL, "ram: \"%.64s\" names no block",
                         block->name == NULL ? "" : block->name);
    if (block->bytes == 0 || !is_aligned(block->bytes) ||
        !is_aligned((uintptr_t)block->memory) || !is_aligned(block->fd_offset))
        return error_set(err, -EINVAL,
                         "ram: %.64s: its size and place must be multiples of "
                         "a page of %d bytes",
                         block->name, VFM_RAM_PAGE_SIZE);
    if (ram_find_block(ram, block->name) >= 0)
        return error_set(err, -EEXIST, "ram: %.64s: two blocks of that name",
                         block->name);
    if (ram->num_blocks == VFM_RAM_BLOCKS_MAX ||
        __builtin_add_overflow(ram->bytes, block->bytes, &sum))
        return error_set(err, -E2BIG, "ram: %.64s: more than %d blocks",
                         block->name, VFM_RAM_BLOCKS_MAX);
    return 0;
}

static int map_block(const struct vfm_ram_block *block, struct ram_block *ours,
                     struct vfm_error *err)
{
    void *memory = block->memory;

    if (memory == NULL) {
        memory = mmap(NULL, block->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                      block->fd, (off_t)block->fd_offset);
        if (memory == MAP_FAILED)
            return error_set(err, -errno, "ram: %.64s: cannot be mapped: %s",
                             block->name, strerror(errno));
        ours->is_ours = true;
        ours->fd = block->fd;
        ours->fd_offset = block->fd_offset;
    }
    ours->memory = memory;
    return 0;
}

/* Room for one more of @size bytes in @array, which has @count; one in two
 * powers is large enough. */
static void *make_room(void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return array;
    return realloc(array, (count == 0 ? 1 : 2 * count) * size);
}

int vfm_ram_add_block(struct vfm_ram *ram, const struct vfm_ram_block *given,
                      struct vfm_error *err)
{
    struct vfm_ram_block block = { 0 };
    struct ram_block ours = { 0 };
    struct ram_block *blocks;
    int ret = options_copy(&block, sizeof(block), given, "ram: block", err);

    if (ret == 0)
        ret = check_block(ram, &block, err);
    if (ret < 0)
        return ret;
    blocks = make_room(ram->blocks, ram->num_blocks, sizeof(*blocks));
    if (blocks != NULL)
        ram->blocks = blocks;
    ours = (struct ram_block){
        .name = blocks != NULL ? strdup(block.name) : NULL,
        .bytes = block.bytes,
        .fd = -1,
        .fresh = block.fresh,
    };
    if (ours.name == NULL)
        return error_set(err, -ENOMEM, "ram: out of memory");
    ret = map_block(&block, &ours, err);
    if (ret < 0) {
        free(ours.name);
        return ret;
    }
    ram->blocks[ram->num_blocks++] = ours;
    ram->bytes += block.bytes;
    return 0;
}

static bool overlaps(const struct vfm_ram *ram, uint64_t address,
                     uint64_t bytes)
{
    for (size_t i = 0; i < ram->num_mappings; i++) {
        const struct ram_mapping *m = &ram->mappings[i];

        if (address <= m->address + (m->bytes - 1) &&
            m->address <= address + (bytes - 1))
            return true;
    }
    return false;
}

static int check_mapping(const struct vfm_ram *ram, const char *name,
                         const struct ram_mapping *m, struct vfm_error *err)
{
    uint64_t size = ram->blocks[m->block].bytes;

    if (m->bytes == 0 || !is_aligned(m->offset) || !is_aligned(m->address) ||
        !is_aligned(m->bytes) || m->bytes - 1 > UINT64_MAX - m->address)
        return error_set(err, -EINVAL, "ram: %.64s: a mapping of no pages",
                         name);
    if (m->offset > size || m->bytes > size - m->offset)
        return error_set(err, -EINVAL,
                         "ram: %.64s: a mapping beyond its %llu bytes", name,
                         (unsigned long long)size);
    if (overlaps(ram, m->address, m->bytes))
        return error_set(err, -EEXIST,
                         "ram: %.64s: something else is mapped at 0x%llx", name,
                         (unsigned long long)m->address);
    if (ram->num_mappings == VFM_RAM_BLOCKS_MAX)
        return error_set(err, -E2BIG, "ram: %.64s: more than %d mappings", name,
                         VFM_RAM_BLOCKS_MAX);
    return 0;
}

int vfm_ram_add_mapping(struct vfm_ram *ram, const char *name, uint64_t offset,
                        uint64_t address, uint64_t bytes, struct vfm_error *err)
{
    ssize_t block = ram_find_block(ram, name);
    struct ram_mapping m = { (size_t)block, offset, address, bytes };
    struct ram_mapping *mappings;
    int ret;

    if (block < 0)
        return error_set(err, -ENOENT, "ram: no block \"%.64s\"", name);
    ret = check_mapping(ram, name, &m, err);
    if (ret < 0)
        return ret;
    mappings = make_room(ram->mappings, ram->num_mappings, sizeof(*mappings));
    if (mappings == NULL)
        return error_set(err, -ENOMEM, "ram: out of memory");
    mappings[ram->num_mappings++] = m;
    ram->mappings = mappings;
    return 0;
}

uint64_t vfm_ram_bytes(const struct vfm_ram *ram)
{
    return ram->bytes;
}

void ram_free_bitmaps(const struct vfm_ram *ram, uint64_t **bitmaps)
{
    for (size_t i = 0; bitmaps != NULL && i < ram->num_blocks; i++)
        free(bitmaps[i]);
    free(bitmaps);
}

uint64_t **ram_new_bitmaps(const struct vfm_ram *ram)
{
    uint64_t **bitmaps = calloc(ram->num_blocks + 1, sizeof(*bitmaps));

    for (size_t i = 0; bitmaps != NULL && i < ram->num_blocks; i++) {
        size_t words = bitmap_words(ram_block_pages(&ram->blocks[i]));

        bitmaps[i] = calloc(words, sizeof(**bitmaps));
        if (bitmaps[i] == NULL) {
            ram_free_bitmaps(ram, bitmaps);
            return NULL;
        }
    }
    return bitmaps;
}
