/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_DMA_H
#define VFM_EMULATOR_DMA_H

/*
 * Guest memory as the device sees it: mappings from I/O addresses to the
 * client's memory, and the log of pages that the device wrote.
 *
 * A mapping with a descriptor is accessed directly.  The client may truncate
 * the file at any time: then the access fails with -EFAULT.  A mapping
 * without one can only be reached by messages, which is the caller's work.
 *
 * Ownership: descriptors given to dma_map() are the device's from then on, on
 * failure too.  Threads: none; at most one object is accessed at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emulator/mutant.h"
#include "protocol/vfio-user.h"

#define DMA_MAPPINGS_MAX 65535
#define LOG_RANGES_MAX   4096
#define LOG_PAGE_MIN     UINT64_C(4096)
#define LOG_PAGE_MAX     (UINT64_C(1) << 30)
/* Bitmaps of all mappings together, at most. */
#define LOG_BYTES_MAX    (UINT64_C(256) << 20)

struct mapping {
    uint64_t iova;
    uint64_t size;
    uint64_t fd_offset;
    uint32_t flags;  /* VFU_DMA_MAP_* */
    uint8_t *memory; /* null: by messages only */
    uint64_t *log;   /* null: not logged; a bit per page of the log */
    uint64_t log_words;
    uint64_t log_first; /* the page that bit 0 stands for */
};

struct dirty_log {
    bool active;
    uint64_t page_size;
    struct vfu_log_range *ranges; /* null: everything */
    uint32_t num_ranges;
    uint64_t bytes; /* of all bitmaps */
};

struct dma {
    struct mapping *mappings; /* by address */
    size_t count;
    size_t room;
    struct dirty_log log;
    enum mutant mutant;
    bool log_sleeps; /* a mutant's */
};

void dma_init(struct dma *d);

/* Drops all mappings and the log. */
void dma_drop(struct dma *d);

/*
 * Adds a mapping; @fd -1: by messages only.
 *
 * Returns 0; -EEXIST: it overlaps another; -EALREADY: it is another, the same;
 * or another negative errno.
 */
int dma_map(struct dma *d, const struct vfu_dma_map *map, int fd);

/* Removes exactly that mapping.  Returns 0 or -ENOENT. */
int dma_unmap(struct dma *d, uint64_t iova, uint64_t size);

/* The mapping that holds @iova, or null. */
struct mapping *dma_find(const struct dma *d, uint64_t iova);

/* Direct access within one mapping that has memory.  Return 0, or -EFAULT if
 * the memory is gone.  A write is logged. */
int dma_read(const struct mapping *m, uint64_t iova, void *to, size_t size);
int dma_write(struct dma *d, struct mapping *m, uint64_t iova, const void *from,
              size_t size);

/* Marks what the device wrote. */
void log_mark(struct dma *d, struct mapping *m, uint64_t iova, uint64_t size);

/*
 * Begins logging; *@page_size is what the client would like, and becomes what
 * it gets.  Returns 0; -EBUSY: begun already; -EINVAL; -ENOMEM.
 */
int log_start(struct dma *d, uint64_t *page_size,
              const struct vfu_log_range *ranges, uint32_t num_ranges);
void log_stop(struct dma *d);

/* The bytes of the bitmap for a report; 0: not a valid report. */
uint64_t log_report_size(uint64_t iova, uint64_t length, uint64_t page_size);

/*
 * Writes the bitmap of a valid report, log_report_size() bytes, and clears
 * what it covers.  Returns 0; -EINVAL: not logging; -ENOENT: nothing mapped.
 */
int log_report(struct dma *d, uint64_t iova, uint64_t length,
               uint64_t page_size, void *bitmap);

/* Forgets what was marked. */
void log_forget(struct dma *d);

/* Gives a new mapping its bitmap.  Returns 0 or -ENOMEM. */
int log_attach(struct dma *d, struct mapping *m);
void log_detach(struct dma *d, struct mapping *m);

#endif
