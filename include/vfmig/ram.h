/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_RAM_H
#define VFM_RAM_H

/*
 * The memory of a VM, as a migration carries it.
 *
 * Memory is a set of *blocks*, each with a name that both sides know it by, as
 * in QEMU.  Where a block lies in the guest's address space is said by
 * *mappings*: trackers of dirty pages (<vfmig/dirty.h>) speak of addresses, the
 * stream of blocks.  What is mapped nowhere is moved, but nobody is asked
 * whether it was written: it is sent once, and once more when the VM has
 * stopped.
 *
 *     vfm_ram_new()
 *     vfm_ram_add_block()         each block
 *     vfm_ram_add_mapping()       each place where the guest sees it
 *     vfm_migration_set_ram()     of <vfmig/migration.h>
 *     ...
 *     vfm_ram_free()              after the migration
 *
 * Errors     Functions returning int return a negative errno value on failure
 *            and, if @err is not NULL, say in a sentence what failed.
 * Ownership  Names are copied.  Memory and descriptors stay the caller's and
 *            must outlive the handle.  One handle serves one migration at a
 *            time.
 * Threads    One thread at a time per handle.  A source's memory is read while
 *            the guest and its devices write it; that is what trackers are
 *            for.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vfm_ram;

/* Of the stream: memory is carried in pages of this size. */
#define VFM_RAM_PAGE_SIZE  4096

/* The most blocks one VM has, and the most mappings. */
#define VFM_RAM_BLOCKS_MAX 1024

struct vfm_ram_block {
    size_t size; /* sizeof(struct vfm_ram_block) */

    /* 1 to 255 characters of printable ASCII, such as "pc.ram". */
    const char *name;

    /* A multiple of VFM_RAM_PAGE_SIZE, not 0. */
    uint64_t bytes;

    /* Where it is: memory of the caller's, aligned to a page; or NULL, and
     * then it is mapped from @fd at @fd_offset.  A descriptor is better: what
     * was never written need not be read to know that it is empty
     * (lseek() with SEEK_DATA), and the host gives no memory to it. */
    void *memory;
    int fd;
    uint64_t fd_offset;

    /* A target's memory was never written: pages of zeroes need not be
     * looked at.  Saves the host from giving memory to what is empty. */
    bool fresh;
};

/* Returns 0 and a handle in *@ramp, or -ENOMEM. */
int vfm_ram_new(struct vfm_ram **ramp, struct vfm_error *err);

/* NULL is allowed. */
void vfm_ram_free(struct vfm_ram *ram);

/*
 * Adds a block; @block is copied.
 *
 * Returns 0.
 *   -EINVAL   a bad name, an unaligned size or address
 *   -EEXIST   the name is taken
 *   -E2BIG    more than VFM_RAM_BLOCKS_MAX, or unknown members are set
 *   others    mapping the descriptor failed
 */
int vfm_ram_add_block(struct vfm_ram *ram, const struct vfm_ram_block *block,
                      struct vfm_error *err);

/*
 * Says that the guest sees @bytes of block @name from @offset on at the
 * guest-physical @address.  A part of a block may be mapped several times.
 *
 * Returns 0.
 *   -ENOENT   no such block
 *   -EINVAL   unaligned, or not within the block
 *   -EEXIST   overlaps another mapping
 *   -E2BIG    more than VFM_RAM_BLOCKS_MAX
 */
int vfm_ram_add_mapping(struct vfm_ram *ram, const char *name, uint64_t offset,
                        uint64_t address, uint64_t bytes,
                        struct vfm_error *err);

/* Bytes of all blocks. */
uint64_t vfm_ram_bytes(const struct vfm_ram *ram);

#ifdef __cplusplus
}
#endif

#endif /* VFM_RAM_H */
