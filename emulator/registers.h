/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_REGISTERS_H
#define VFM_EMULATOR_REGISTERS_H

/*
 * The programming interface of the emulated device: what its regions hold
 * and what its registers do.  For drivers (tests, examples) and for the
 * device itself; self-contained, so that a driver needs no other file.
 *
 *   BAR0   64 KiB    registers, trapped: every access is a message
 *   BAR2   64 KiB    memory; page 0 is trapped, the rest can be mapped.  Part
 *                    of the saved state
 *   BAR4   64 KiB    MSI-X table (EDEV_MSIX_TABLE) and pending bits
 *                    (EDEV_MSIX_PBA), trapped
 *   config 4096      PCI configuration space.  NOT part of the saved state: who
 *                    moves the device must save it and write it back
 *
 * Registers are little-endian, at their natural alignment; a 64-bit register
 * may be accessed in two halves.  Unused offsets read as zero and ignore
 * writes.  RO: writes are ignored.  All of them are saved with the state.
 *
 * A device runs in RUNNING, RUNNING_P2P, PRE_COPY and PRE_COPY_P2P: there the
 * counter counts and the device rewrites its memory.  DMA happens only in
 * RUNNING and PRE_COPY, and only while the bus master bit is set in
 * PCI_COMMAND.  A register write in a state in which the device does not run
 * is stored; a doorbell rung there takes effect when it runs again.
 */

#include <stdint.h>

/* Ids of a test device, registered with nobody. */
#define EDEV_PCI_VENDOR         0x5646
#define EDEV_PCI_DEVICE         0x4d44

#define EDEV_PAGE_SIZE          4096

#define EDEV_BAR0_SIZE          0x10000
#define EDEV_BAR2_SIZE          0x10000
#define EDEV_BAR2_TRAPPED       0x1000 /* the first bytes cannot be mapped */
#define EDEV_BAR4_SIZE          0x10000
#define EDEV_MSIX_TABLE         0x0000 /* in BAR4, 16 bytes per vector */
#define EDEV_MSIX_PBA           0x8000 /* in BAR4, one bit per vector */

/* Identity. */
#define EDEV_REG_MAGIC          0x000                /* u32 RO: EDEV_MAGIC */
#define EDEV_REG_VERSION        0x004                /* u32 RO: EDEV_VERSION */
#define EDEV_MAGIC              UINT32_C(0x44454d56) /* "VMED" in memory */
#define EDEV_VERSION            UINT32_C(1)

/* The counter: how long the device has run since reset, on all hosts. */
#define EDEV_REG_COUNTER        0x010 /* u64 RO */
#define EDEV_REG_COUNTER_HZ     0x018 /* u64 RO: ticks per second */
#define EDEV_COUNTER_HZ         UINT64_C(1000000)

/* Device memory: pages whose words are edev_word(); see below. */
#define EDEV_REG_MEM_SIZE       0x020 /* u64 RO: bytes */
#define EDEV_REG_MEM_SEED       0x028 /* u64 RO */
#define EDEV_REG_MEM_HOT_SIZE   0x030 /* u64 RO: the last bytes, rewritten */
#define EDEV_REG_MEM_RATE       0x038 /* u64: bytes rewritten per second */
#define EDEV_REG_MEM_WRITES     0x040 /* u64 RO: pages rewritten so far */
#define EDEV_REG_MEM_PAGE       0x048 /* u64: number of a page ... */
#define EDEV_REG_MEM_WORD       0x050 /* u64 RO: ... and its first word */

/* Eight registers that do nothing but keep what was written. */
#define EDEV_REG_SCRATCH        0x080 /* u64 each */
#define EDEV_NUM_SCRATCH        8

/* Interrupts: a cause is raised, and if enabled the vector fires. */
#define EDEV_REG_IRQ_CAUSE      0x100 /* u32: write 1 to clear */
#define EDEV_REG_IRQ_ENABLE     0x104 /* u32: causes that fire */
#define EDEV_REG_IRQ_VECTOR     0x108 /* u32: MSI-X (MSI: modulo) vector */
#define EDEV_REG_IRQ_RAISE      0x10c /* u32: write raises these causes */
#define EDEV_REG_IRQ_SENT       0x110 /* u64 RO: times it fired */
#define EDEV_IRQ_DMA_DONE       UINT32_C(1)
#define EDEV_IRQ_DMA_ERROR      UINT32_C(2)
#define EDEV_IRQ_SOFTWARE       UINT32_C(4)

/* The DMA engine: one operation at a time.  SRC, DST: I/O addresses. */
#define EDEV_REG_DMA_SRC        0x200 /* u64: COPY, VERIFY */
#define EDEV_REG_DMA_DST        0x208 /* u64: FILL, COPY, RING */
#define EDEV_REG_DMA_LENGTH     0x210 /* u64: bytes, a multiple of 8 */
#define EDEV_REG_DMA_SEED       0x218 /* u64: FILL, VERIFY, RING */
#define EDEV_REG_DMA_OP         0x220 /* u32: EDEV_DMA_OP_* */
#define EDEV_REG_DMA_DOORBELL   0x224 /* u32: EDEV_DMA_START or _STOP */
#define EDEV_REG_DMA_STATUS     0x228 /* u32 RO: EDEV_DMA_IDLE ... */
#define EDEV_REG_DMA_ERROR      0x22c /* u32 RO: EDEV_DMA_ERR_* */
#define EDEV_REG_DMA_DONE_BYTES 0x230 /* u64 RO: of this operation */
#define EDEV_REG_DMA_MISMATCHES 0x238 /* u64 RO: words VERIFY found wrong */
#define EDEV_REG_DMA_COMPLETED  0x240 /* u64 RO: operations, since reset */
#define EDEV_REG_DMA_FAILED     0x248 /* u64 RO: operations, since reset */
#define EDEV_REG_DMA_RATE       0x250 /* u64: RING: bytes per second */
#define EDEV_REG_DMA_SEQUENCE   0x258 /* u64 RO: RING: pages written */

#define EDEV_DMA_OP_FILL        1 /* DST = pattern */
#define EDEV_DMA_OP_COPY        2 /* DST = SRC, ascending */
#define EDEV_DMA_OP_VERIFY      3 /* SRC == pattern? */
#define EDEV_DMA_OP_RING        4 /* DST: pages, for ever, until stopped */

#define EDEV_DMA_START          1 /* ignored while busy */
#define EDEV_DMA_STOP           2 /* after the message under way, if any */

#define EDEV_DMA_IDLE           0
#define EDEV_DMA_BUSY           1
#define EDEV_DMA_DONE           2
#define EDEV_DMA_FAILED         3

#define EDEV_DMA_ERR_NONE       0
#define EDEV_DMA_ERR_PARAMETER  1 /* unknown operation, odd or zero length */
#define EDEV_DMA_ERR_MAPPING    2 /* an address without a mapping */
#define EDEV_DMA_ERR_ACCESS     3 /* a mapping without the permission */
#define EDEV_DMA_ERR_PEER       4 /* a DMA message was refused or malformed */
#define EDEV_DMA_ERR_TIMEOUT    5 /* a DMA message was not answered */
#define EDEV_DMA_ERR_BUS_MASTER 6 /* the bus master bit was clear at START */

/*
 * RING: page n (from 0) goes to DST + (n mod LENGTH / 4096) * 4096.  It is
 * this header, then words 4 to 511 of page n of the pattern with seed SEED.
 */
struct edev_ring_page {
    uint64_t magic; /* EDEV_RING_MAGIC */
    uint64_t sequence;
    uint64_t seed;
    uint64_t counter; /* when it was written */
};
#define EDEV_RING_MAGIC     UINT64_C(0x474e495244454d56)

/*
 * The pattern: 512 words a page.  Device memory uses the generation (how
 * often the page was rewritten); the DMA engine has generation 0 and numbers
 * pages from the start of the operation.
 */
#define EDEV_WORDS_PER_PAGE (EDEV_PAGE_SIZE / 8)
#define EDEV_WORD_STEP      UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t edev_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* The first word of a page; the others follow in steps of EDEV_WORD_STEP. */
static inline uint64_t edev_page_base(uint64_t seed, uint64_t page,
                                      uint64_t generation)
{
    uint64_t x = edev_mix(seed + EDEV_WORD_STEP);

    x = edev_mix(x ^ (page + 1) * EDEV_WORD_STEP);
    return edev_mix(x + generation * UINT64_C(0xd1b54a32d192ed03));
}

static inline uint64_t edev_word(uint64_t seed, uint64_t page,
                                 uint64_t generation, unsigned index)
{
    return edev_page_base(seed, page, generation) + index * EDEV_WORD_STEP;
}

/* How often page @index of a hot part of @pages was rewritten, after @writes
 * page writes that go round and round. */
static inline uint64_t edev_generation(uint64_t writes, uint64_t pages,
                                       uint64_t index)
{
    return pages == 0 ? 0 : writes / pages + (index < writes % pages);
}

#endif
