/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver of vfmig-device.  Its data sheet is emulator/registers.h.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stddef.h>

#include "check/driver.h"
#include "emulator/registers.h"

#define BAR0      UAPI_REGION_BAR0
#define BAR2      2
#define BAR4      4
#define CAUSE     EDEV_IRQ_SOFTWARE
#define MARK_RATE (UINT64_C(64) << 20) /* of the memory, in a mark */

static int put(struct raw *raw, uint32_t reg, uint64_t value, size_t size)
{
    return raw_region_write(raw, BAR0, reg, &value, size);
}

static int get(struct raw *raw, uint32_t reg, uint64_t *value, size_t size)
{
    *value = 0;
    return raw_region_read(raw, BAR0, reg, value, size);
}

static bool match(struct raw *raw, uint16_t vendor, uint16_t device)
{
    uint64_t magic;

    return vendor == EDEV_PCI_VENDOR && device == EDEV_PCI_DEVICE &&
           get(raw, EDEV_REG_MAGIC, &magic, 4) == 0 && magic == EDEV_MAGIC;
}

static int enable(struct raw *raw)
{
    uint16_t command = PCI_COMMAND_MASTER;

    return raw_region_write(raw, UAPI_REGION_CONFIG, PCI_COMMAND, &command,
                            sizeof(command));
}

/* One operation of the DMA engine. */
struct op {
    uint32_t op;
    uint64_t src;
    struct raw_range dst;
    uint64_t rate;
};

static int start(struct raw *raw, const struct op *op)
{
    const struct {
        uint32_t reg;
        uint32_t size;
        uint64_t value;
    } writes[] = {
        { EDEV_REG_DMA_DOORBELL, 4, EDEV_DMA_STOP },
        { EDEV_REG_DMA_SRC, 8, op->src },
        { EDEV_REG_DMA_DST, 8, op->dst.iova },
        { EDEV_REG_DMA_LENGTH, 8, op->dst.length },
        { EDEV_REG_DMA_SEED, 8, 1 },
        { EDEV_REG_DMA_OP, 4, op->op },
        { EDEV_REG_DMA_RATE, 8, op->rate },
        { EDEV_REG_DMA_DOORBELL, 4, EDEV_DMA_START },
    };

    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        int ret = put(raw, writes[i].reg, writes[i].value, writes[i].size);

        if (ret < 0)
            return ret;
    }
    return 0;
}

static int fill(struct raw *raw, struct raw_range range)
{
    return start(raw,
                 &(const struct op){ .op = EDEV_DMA_OP_FILL, .dst = range });
}

static int copy(struct raw *raw, uint64_t from, struct raw_range to)
{
    return start(raw, &(const struct op){
                          .op = EDEV_DMA_OP_COPY, .src = from, .dst = to });
}

static int stream(struct raw *raw, struct raw_range range, uint64_t rate)
{
    return start(raw, &(const struct op){
                          .op = EDEV_DMA_OP_RING, .dst = range, .rate = rate });
}

static uint64_t page_number(const void *page)
{
    const struct edev_ring_page *p = page;

    return p->magic == EDEV_RING_MAGIC ? p->sequence : UINT64_MAX;
}

static int is_busy(struct raw *raw, bool *busy)
{
    uint64_t status;
    int ret = get(raw, EDEV_REG_DMA_STATUS, &status, 4);

    *busy = status == EDEV_DMA_BUSY;
    return ret < 0 || status != EDEV_DMA_FAILED ? ret : -EIO;
}

static int stop(struct raw *raw)
{
    return put(raw, EDEV_REG_DMA_DOORBELL, EDEV_DMA_STOP, 4);
}

/* What a mark writes: words of a region, and in which. */
struct row {
    const char *name;
    uint32_t region;
    uint32_t offset;
    uint32_t size;
    uint32_t mask; /* of a value of 4 bytes; 0: all of it */
};

#define SCRATCH(n) "SCRATCH " #n, BAR0, EDEV_REG_SCRATCH + 8 * (n), 8, 0
#define MEMORY(at) "BAR2 at " #at, BAR2, at, 8, 0

static const struct row rows[] = {
    { SCRATCH(0) },
    { SCRATCH(1) },
    { SCRATCH(2) },
    { SCRATCH(3) },
    { SCRATCH(4) },
    { SCRATCH(5) },
    { SCRATCH(6) },
    { SCRATCH(7) },
    { "IRQ_ENABLE", BAR0, EDEV_REG_IRQ_ENABLE, 4, 0xfffffff0 },
    { "IRQ_VECTOR", BAR0, EDEV_REG_IRQ_VECTOR, 4, 7 },
    { "DMA_SRC", BAR0, EDEV_REG_DMA_SRC, 8, 0 },
    { "DMA_DST", BAR0, EDEV_REG_DMA_DST, 8, 0 },
    { "DMA_LENGTH", BAR0, EDEV_REG_DMA_LENGTH, 8, 0 },
    { "DMA_SEED", BAR0, EDEV_REG_DMA_SEED, 8, 0 },
    { "DMA_OP", BAR0, EDEV_REG_DMA_OP, 4, 3 },
    { "DMA_RATE", BAR0, EDEV_REG_DMA_RATE, 8, 0 },
    { MEMORY(0x0000) },
    { MEMORY(0x0ff8) },
    { MEMORY(0x1000) },
    { MEMORY(0x7000) },
    { MEMORY(0xeff8) },
    { MEMORY(0xf000) },
    { MEMORY(0xfff8) },
};

#define NUM_ROWS (sizeof(rows) / sizeof(rows[0]))

static uint64_t value_of(const struct row *row, size_t i, uint64_t seed)
{
    uint64_t value = edev_mix(seed + (i + 1) * EDEV_WORD_STEP);

    if (row->mask != 0)
        value &= row->mask;
    return row->size == 4 ? (uint32_t)value : value;
}

/* Each vector has 16 bytes of the MSI-X table. */
static uint64_t table_value(uint64_t seed, uint32_t i)
{
    return edev_mix(~seed + i * EDEV_WORD_STEP);
}

static uint32_t table_words(struct raw *raw)
{
    int vectors = raw_irq_count(raw, UAPI_IRQ_MSIX);

    return vectors > 0 && vectors <= 2048 ? (uint32_t)vectors * 2 : 0;
}

static int mark_table(struct raw *raw, uint64_t seed)
{
    uint32_t words = table_words(raw);
    int ret = 0;

    for (uint32_t i = 0; ret == 0 && i < words; i++) {
        uint64_t value = table_value(seed, i);

        ret = raw_region_write(raw, BAR4, EDEV_MSIX_TABLE + i * 8, &value, 8);
    }
    return ret;
}

/* Its memory is what the number of rewritten pages says. */
static int find_memory(struct raw *raw, const char **what)
{
    uint64_t size, hot, seed, writes, word;
    uint64_t first;

    *what = "the device's memory";
    if (get(raw, EDEV_REG_MEM_SIZE, &size, 8) < 0 ||
        get(raw, EDEV_REG_MEM_HOT_SIZE, &hot, 8) < 0 ||
        get(raw, EDEV_REG_MEM_SEED, &seed, 8) < 0 ||
        get(raw, EDEV_REG_MEM_WRITES, &writes, 8) < 0)
        return -EIO;
    first = (size - hot) / EDEV_PAGE_SIZE;
    hot /= EDEV_PAGE_SIZE;
    for (uint64_t i = 0; i < hot && i < 16; i++) {
        if (put(raw, EDEV_REG_MEM_PAGE, first + i, 8) < 0 ||
            get(raw, EDEV_REG_MEM_WORD, &word, 8) < 0)
            return -EIO;
        if (word !=
            edev_word(seed, first + i, edev_generation(writes, hot, i), 0))
            return -EILSEQ;
    }
    return 0;
}

static int rewrite(struct raw *raw, uint64_t rate)
{
    return put(raw, EDEV_REG_MEM_RATE, rate, 8);
}

/* The memory is rewritten for as long as the rest takes. */
static int mark(struct raw *raw, uint64_t seed)
{
    int ret = rewrite(raw, MARK_RATE);

    if (ret == 0)
        ret = stop(raw);
    for (size_t i = 0; ret == 0 && i < NUM_ROWS; i++) {
        uint64_t value = value_of(&rows[i], i, seed);

        ret = raw_region_write(raw, rows[i].region, rows[i].offset, &value,
                               rows[i].size);
    }
    if (ret == 0)
        ret = mark_table(raw, seed);
    return ret < 0 ? ret : rewrite(raw, 0);
}

static int find_table(struct raw *raw, uint64_t seed, const char **what)
{
    uint32_t words = table_words(raw);

    *what = "the MSI-X table";
    for (uint32_t i = 0; i < words; i++) {
        uint64_t value;
        int ret =
            raw_region_read(raw, BAR4, EDEV_MSIX_TABLE + i * 8, &value, 8);

        if (ret < 0)
            return ret;
        if (value != table_value(seed, i))
            return -EILSEQ;
    }
    return 0;
}

static int find(struct raw *raw, uint64_t seed, const char **what)
{
    int ret;

    for (size_t i = 0; i < NUM_ROWS; i++) {
        uint64_t value = 0;

        *what = rows[i].name;
        ret = raw_region_read(raw, rows[i].region, rows[i].offset, &value,
                              rows[i].size);
        if (ret < 0)
            return ret;
        if (value != value_of(&rows[i], i, seed))
            return -EILSEQ;
    }
    ret = find_table(raw, seed, what);
    return ret < 0 ? ret : find_memory(raw, what);
}

static int find_none(struct raw *raw, const char **what)
{
    for (size_t i = 0; i < NUM_ROWS; i++) {
        uint64_t value = 0;
        int ret = raw_region_read(raw, rows[i].region, rows[i].offset, &value,
                                  rows[i].size);

        *what = rows[i].name;
        if (ret < 0)
            return ret;
        if (value != 0)
            return -EILSEQ;
    }
    return 0;
}

static int count(struct raw *raw, uint64_t *ticks)
{
    return get(raw, EDEV_REG_COUNTER, ticks, 8);
}

static int arm(struct raw *raw)
{
    int ret = put(raw, EDEV_REG_IRQ_CAUSE, UINT32_MAX, 4);

    if (ret == 0)
        ret = put(raw, EDEV_REG_IRQ_VECTOR, 0, 4);
    return ret < 0 ? ret : put(raw, EDEV_REG_IRQ_ENABLE, CAUSE, 4);
}

static int raise_irq(struct raw *raw)
{
    return put(raw, EDEV_REG_IRQ_RAISE, CAUSE, 4);
}

static int is_pending(struct raw *raw, bool *pending)
{
    uint64_t cause;
    int ret = get(raw, EDEV_REG_IRQ_CAUSE, &cause, 4);

    *pending = (cause & CAUSE) != 0;
    return ret;
}

const struct driver driver_vfmig = {
    .name = "vfmig-device",
    .match = match,
    .enable = enable,
    .fill = fill,
    .copy = copy,
    .stream = stream,
    .page_number = page_number,
    .is_busy = is_busy,
    .stop = stop,
    .is_quiet_in_p2p = true,
    .mark = mark,
    .find = find,
    .find_none = find_none,
    .count = count,
    .rewrite = rewrite,
    .irq_index = UAPI_IRQ_MSIX,
    .irq_vector = 0,
    .arm = arm,
    .raise = raise_irq,
    .is_pending = is_pending,
};
