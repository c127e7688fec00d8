/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers.  Those that only keep a value are in one table that says where;
 * the others, that are computed or do something, are in two switches.
 */
#include <stddef.h>
#include <string.h>

#include "emulator/bar0.h"

struct row {
    uint16_t offset;
    uint8_t size;
    bool writable;
    uint16_t field;
};

#define FIELD(name) offsetof(struct stream_registers, name)

static const struct row rows[] = {
    { EDEV_REG_MEM_RATE, 8, true, FIELD(mem_rate) },
    { EDEV_REG_MEM_WRITES, 8, false, FIELD(mem_writes) },
    { EDEV_REG_MEM_PAGE, 8, true, FIELD(mem_page) },
    { EDEV_REG_SCRATCH, 8 * EDEV_NUM_SCRATCH, true, FIELD(scratch) },
    { EDEV_REG_IRQ_CAUSE, 4, false, FIELD(irq_cause) },
    { EDEV_REG_IRQ_ENABLE, 4, true, FIELD(irq_enable) },
    { EDEV_REG_IRQ_VECTOR, 4, true, FIELD(irq_vector) },
    { EDEV_REG_IRQ_SENT, 8, false, FIELD(irq_sent) },
    { EDEV_REG_DMA_SRC, 8, true, FIELD(dma_src) },
    { EDEV_REG_DMA_DST, 8, true, FIELD(dma_dst) },
    { EDEV_REG_DMA_LENGTH, 8, true, FIELD(dma_length) },
    { EDEV_REG_DMA_SEED, 8, true, FIELD(dma_seed) },
    { EDEV_REG_DMA_OP, 4, true, FIELD(dma_op) },
    { EDEV_REG_DMA_STATUS, 4, false, FIELD(dma_status) },
    { EDEV_REG_DMA_ERROR, 4, false, FIELD(dma_error) },
    { EDEV_REG_DMA_DONE_BYTES, 8, false, FIELD(dma_done_bytes) },
    { EDEV_REG_DMA_MISMATCHES, 8, false, FIELD(dma_mismatches) },
    { EDEV_REG_DMA_COMPLETED, 8, false, FIELD(dma_completed) },
    { EDEV_REG_DMA_FAILED, 8, false, FIELD(dma_failed) },
    { EDEV_REG_DMA_RATE, 8, true, FIELD(dma_rate) },
    { EDEV_REG_DMA_SEQUENCE, 8, false, FIELD(dma_sequence) },
};

static const struct row *find_row(uint32_t offset)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (offset >= rows[i].offset &&
            offset < (uint32_t)rows[i].offset + rows[i].size)
            return &rows[i];
    return NULL;
}

/* The first word of the page that MEM_PAGE names. */
static uint64_t memory_word(const struct device *d)
{
    uint64_t page = d->registers.mem_page;

    if (page >= memory_num_pages(&d->memory))
        return 0;
    return edev_word(d->memory.seed, page, memory_generation(&d->memory, page),
                     0);
}

/* Registers that are computed; @offset is that of the whole register. */
static uint64_t computed(const struct device *d, uint32_t offset)
{
    switch (offset) {
    case EDEV_REG_MAGIC:
        return EDEV_MAGIC | (uint64_t)EDEV_VERSION << 32;
    case EDEV_REG_COUNTER:
        return device_counter(d);
    case EDEV_REG_COUNTER_HZ:
        return EDEV_COUNTER_HZ;
    case EDEV_REG_MEM_SIZE:
        return d->memory.size;
    case EDEV_REG_MEM_SEED:
        return d->memory.seed;
    case EDEV_REG_MEM_HOT_SIZE:
        return d->memory.hot_size;
    case EDEV_REG_MEM_WORD:
        return memory_word(d);
    default:
        return 0;
    }
}

uint32_t bar0_read(const struct device *d, uint32_t offset)
{
    const struct row *row = find_row(offset);
    uint32_t value;

    if (row == NULL)
        return (uint32_t)(computed(d, offset & ~7u) >> (offset & 4u) * 8);
    memcpy(&value,
           (const uint8_t *)&d->registers + row->field + (offset - row->offset),
           sizeof(value));
    return value;
}

static void store(struct device *d, const struct row *row, uint32_t offset,
                  uint32_t value)
{
    memcpy((uint8_t *)&d->registers + row->field + (offset - row->offset),
           &value, sizeof(value));
}

void bar0_write(struct device *d, uint32_t offset, uint32_t value)
{
    const struct row *row = find_row(offset);

    if (row != NULL && row->writable)
        store(d, row, offset, value);
    switch (offset) {
    case EDEV_REG_MEM_RATE:
    case EDEV_REG_MEM_RATE + 4:
        memory_set_rate(&d->memory, d->registers.mem_rate, d->now_ns);
        break;
    case EDEV_REG_IRQ_CAUSE:
        d->registers.irq_cause &= ~value;
        break;
    case EDEV_REG_IRQ_RAISE:
        device_raise(d, value);
        break;
    case EDEV_REG_DMA_DOORBELL:
        if (value == EDEV_DMA_START)
            engine_start(d);
        else if (value == EDEV_DMA_STOP)
            engine_stop(d);
        break;
    default:
        break;
    }
}
