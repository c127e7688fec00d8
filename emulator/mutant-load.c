/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mutants: what is written, when it is taken although it should not be, and
 * what of it the device becomes.
 */
#include <string.h>
#include <sys/mman.h>

#include "emulator/migration.h"
#include "emulator/mutant-hooks.h"
#include "protocol/vfio-uapi.h"

#define LARGE_WRITE   (64u << 10)
#define LOST_BYTES    (64u << 10)
/* Times that they are lost, at most. */
#define LOST_MAX      4096

#define SEEN(l, type) (((l)->seen & 1u << (type)) != 0)

/* Memory that malloc() knows nothing of: tools that look for leaks are not to
 * find those that are meant. */
static void lose_memory(struct device *d)
{
    void *p;

    if (d->stats.leaked >= LOST_MAX)
        return;
    p = mmap(NULL, LOST_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    d->stats.leaked += p != MAP_FAILED;
}

bool mutant_begins_loading(struct device *d)
{
    struct loader *l = &d->loader;

    if (mutant_is(d, MUTANT_LEAK_MEMORY))
        lose_memory(d);
    /* What was refused is in no order that could be gone on with. */
    if (!mutant_is(d, MUTANT_ABORTED_LOAD_LEFT_OVER) || l->bytes == 0 ||
        l->error.code != 0 || SEEN(l, STREAM_END))
        return false;
    l->active = true;
    l->only_short = false;
    return true;
}

bool mutant_allows_write(const struct device *d)
{
    return (mutant_is(d, MUTANT_WRITE_IN_STOP_COPY) &&
            d->state == UAPI_STATE_STOP_COPY) ||
           (mutant_is(d, MUTANT_WRITE_IN_STOP) && d->state == UAPI_STATE_STOP);
}

size_t mutant_written(const struct device *d, size_t size)
{
    switch (d->options->mutant) {
    case MUTANT_LARGE_WRITES_CUT:
        return size < LARGE_WRITE ? size : LARGE_WRITE;
    case MUTANT_ODD_WRITES_CUT:
        return size > 1 ? size - size % 2 : size;
    case MUTANT_ONE_BYTE_WRITES_LOST:
        return size == 1 ? 0 : size;
    default:
        return size;
    }
}

/* Those parts that never came stay as they are. */
static void keep_missing(struct device *d)
{
    struct loader *l = &d->loader;

    if (!SEEN(l, STREAM_HEADER))
        l->result.seed = d->memory.seed;
    if (!SEEN(l, STREAM_REGISTERS))
        l->result.registers = d->registers;
    if (!SEEN(l, STREAM_BAR2))
        memcpy(l->result.bar2, d->bar2, EDEV_BAR2_SIZE);
    if (!SEEN(l, STREAM_MSIX))
        memcpy(l->result.msix, d->msix, d->options->vectors * 16u);
}

static bool takes(const struct device *d)
{
    const struct loader *l = &d->loader;

    switch (d->options->mutant) {
    case MUTANT_LOAD_ERROR_HIDDEN:
        return true;
    case MUTANT_LOAD_ACCEPTS_TRUNCATED:
        return l->only_short && l->bytes > 0;
    case MUTANT_LOAD_ACCEPTS_NO_TRAILER:
        return l->only_short && SEEN(l, STREAM_MSIX);
    case MUTANT_LOAD_ACCEPTS_EMPTY:
        return l->bytes == 0;
    case MUTANT_LOAD_ACCEPTS_FOREIGN:
        return l->sequence == 0 && l->bytes >= sizeof(l->frame) &&
               l->frame.magic != STREAM_MAGIC;
    default:
        return false;
    }
}

bool mutant_takes_load(struct device *d)
{
    if (!takes(d))
        return false;
    if (mutant_is(d, MUTANT_LOAD_ERROR_HIDDEN))
        d->loader.seen = 0;
    keep_missing(d);
    return true;
}

void mutant_refused_load(struct device *d)
{
    switch (d->options->mutant) {
    case MUTANT_ERROR_LEFT_BY_SET:
    case MUTANT_ERROR_SURVIVES_RESET:
        migration_leave_in(d, UAPI_STATE_ERROR);
        break;
    case MUTANT_LOAD_ERROR_GOES_RUNNING:
        migration_leave_in(d, UAPI_STATE_RUNNING);
        break;
    case MUTANT_LOAD_ERROR_GOES_STOP_COPY:
        migration_leave_in(d, UAPI_STATE_STOP_COPY);
        break;
    default:
        break;
    }
}

static void merge(uint8_t *into, const void *from, size_t size)
{
    const uint8_t *bytes = from;

    for (size_t i = 0; i < size; i++)
        into[i] |= bytes[i];
}

/* Registers that are not as they were loaded. */
static void spoil_registers(struct device *d,
                            const struct stream_registers *before)
{
    struct stream_registers *r = &d->registers;

    switch (d->options->mutant) {
    case MUTANT_LOAD_FORGETS_SCRATCH:
        r->scratch[EDEV_NUM_SCRATCH - 1] =
            before->scratch[EDEV_NUM_SCRATCH - 1];
        break;
    case MUTANT_LOAD_FORGETS_COUNTER:
        r->run_ns = before->run_ns;
        d->memory.anchor_ns = r->run_ns;
        break;
    case MUTANT_LOAD_FORGETS_REWRITES:
        r->mem_writes = before->mem_writes;
        d->memory.writes = d->memory.anchor_writes = before->mem_writes;
        break;
    case MUTANT_LOAD_MERGES:
        merge((uint8_t *)r->scratch, before->scratch, sizeof(r->scratch));
        break;
    case MUTANT_IRQ_CAUSE_LOST_BY_LOAD:
        r->irq_cause = 0;
        break;
    case MUTANT_IRQ_ENABLE_LOST_BY_LOAD:
        r->irq_enable = before->irq_enable;
        break;
    case MUTANT_IRQ_VECTOR_LOST_BY_LOAD:
        r->irq_vector = before->irq_vector;
        break;
    default:
        break;
    }
}

static void spoil_dma(struct device *d)
{
    struct stream_registers *r = &d->registers;

    if (r->dma_status != EDEV_DMA_BUSY)
        return;
    if (mutant_is(d, MUTANT_DMA_ANEW_AFTER_LOAD))
        r->dma_done_bytes = r->dma_sequence = 0;
    if (mutant_is(d, MUTANT_DMA_DROPPED_BY_LOAD))
        r->dma_status = EDEV_DMA_IDLE;
}

static void spoil_bar2(struct device *d, const uint8_t *loaded)
{
    size_t size = EDEV_BAR2_SIZE;

    if (mutant_is(d, MUTANT_LOAD_FORGETS_LAST_PAGE))
        size -= EDEV_PAGE_SIZE;
    if (mutant_is(d, MUTANT_LOAD_MERGES))
        merge(d->bar2, loaded, size);
    else
        memcpy(d->bar2, loaded, size);
}

void mutant_spoil_load(struct device *d, const struct stream_registers *before)
{
    const struct loaded *l = &d->loader.result;

    if (mutant_is(d, MUTANT_LOAD_ONLY_ONCE) && d->spoiled++ > 0) {
        d->registers = *before;
        d->memory.writes = d->memory.anchor_writes = before->mem_writes;
        memory_set_rate(&d->memory, before->mem_rate, before->run_ns);
        return;
    }
    if (mutant_is(d, MUTANT_IRQ_AGAIN_AFTER_LOAD))
        d->spoiled = 1;
    spoil_registers(d, before);
    spoil_dma(d);
    spoil_bar2(d, l->bar2);
    if (!mutant_is(d, MUTANT_LOAD_FORGETS_MSIX_TABLE))
        memcpy(d->msix, l->msix, d->options->vectors * 16u);
}
