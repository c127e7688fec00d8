/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_STREAM_H
#define VFM_EMULATOR_STREAM_H

/*
 * The saved state of the emulated device: a sequence of frames.
 *
 *   frame    struct stream_frame, payload, XXH3-64 of both (8 bytes)
 *
 * The checksum follows the payload so that a frame can be produced and
 * checked while it passes, in pieces of any size.  Integers are in host byte
 * order; the magic number tells.  Frames are numbered from 0.
 *
 *   HEADER     what device this is; always first, may be repeated (REINIT)
 *   COLD       pages that are never rewritten, at @offset, in order
 *   HOT        u32 generations[], one per page, then the pages at @offset
 *   REGISTERS  struct stream_registers
 *   BAR2       the contents of BAR2
 *   MSIX       the MSI-X table
 *   END        struct stream_end; nothing follows
 *
 * REGISTERS, BAR2, MSIX and END come once, after the device has stopped.
 */

#include <stdint.h>

#include "emulator/registers.h"

#define STREAM_MAGIC       UINT32_C(0x53454d56) /* "VMES" in memory */
#define STREAM_VERSION     UINT32_C(1)

/* Pages in one frame, at most. */
#define STREAM_FRAME_PAGES 256

enum stream_type {
    STREAM_HEADER = 1,
    STREAM_COLD,
    STREAM_HOT,
    STREAM_REGISTERS,
    STREAM_BAR2,
    STREAM_MSIX,
    STREAM_END,
};

struct stream_frame {
    uint32_t magic;
    uint32_t type;
    uint64_t sequence;
    uint64_t offset; /* in the memory: COLD, HOT; else 0 */
    uint64_t length; /* of the payload */
};
_Static_assert(sizeof(struct stream_frame) == 32, "no padding");

#define STREAM_CHECK_SIZE 8
#define STREAM_OVERHEAD   (sizeof(struct stream_frame) + STREAM_CHECK_SIZE)

struct stream_header {
    uint32_t version;
    uint32_t page_size;
    uint64_t size;
    uint64_t hot_size;
    uint64_t seed;
    uint32_t vectors;
    uint16_t pci_vendor;
    uint16_t pci_device;
};
_Static_assert(sizeof(struct stream_header) == 40, "no padding");

/* All registers that a driver can change or see change. */
struct stream_registers {
    uint64_t run_ns; /* the counter */
    uint64_t mem_rate;
    uint64_t mem_writes;
    uint64_t mem_page;
    uint64_t scratch[EDEV_NUM_SCRATCH];
    uint32_t irq_cause;
    uint32_t irq_enable;
    uint32_t irq_vector;
    uint32_t dma_op;
    uint64_t irq_sent;
    uint64_t dma_src;
    uint64_t dma_dst;
    uint64_t dma_length;
    uint64_t dma_seed;
    uint32_t dma_status;
    uint32_t dma_error;
    uint64_t dma_done_bytes;
    uint64_t dma_mismatches;
    uint64_t dma_completed;
    uint64_t dma_failed;
    uint64_t dma_rate;
    uint64_t dma_sequence;
    /* The operation that is under way, as it was when the bell rang. */
    uint64_t run_src;
    uint64_t run_dst;
    uint64_t run_length;
    uint64_t run_seed;
    uint32_t run_op;
    uint32_t reserved;
};
_Static_assert(sizeof(struct stream_registers) == 248, "no padding");

struct stream_end {
    uint64_t frames; /* before this one */
    uint64_t bytes;  /* before this one */
};
_Static_assert(sizeof(struct stream_end) == 16, "no padding");

/* The largest payload that is not memory. */
#define STREAM_SMALL_MAX EDEV_BAR2_SIZE

#endif
