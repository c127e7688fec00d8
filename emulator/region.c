/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions: which there are, and who serves an access.
 *
 * An access to registers is cut into words of four bytes; what these mean is
 * in bar0.c.
 */
#include <errno.h>
#include <string.h>

#include "emulator/bar0.h"
#include "emulator/region.h"
#include "protocol/vfio-uapi.h"

#define BAR2 2
#define BAR4 4

uint64_t region_size(const struct device *d, uint32_t index)
{
    switch (index) {
    case UAPI_REGION_BAR0:
        return EDEV_BAR0_SIZE;
    case BAR2:
        return EDEV_BAR2_SIZE;
    case BAR4:
        return EDEV_BAR4_SIZE;
    case UAPI_REGION_CONFIG:
        /* A sink of any state is no PCI device that could be configured. */
        return d->options->accept_any ? 0 : CONFIG_SIZE;
    default:
        return 0;
    }
}

bool region_is_mappable(const struct device *d, uint32_t index)
{
    return index == BAR2 && !d->options->no_mmap;
}

static int check(const struct device *d, uint32_t index, uint64_t offset,
                 uint32_t size)
{
    uint64_t end = region_size(d, index);

    return offset > end || size > end - offset || size == 0 ? -EINVAL : 0;
}

/* Pending bits, 8 vectors. */
static uint8_t pending_byte(const struct device *d, uint64_t first)
{
    uint32_t count = d->irqs.count[UAPI_IRQ_MSIX];
    unsigned byte = 0;

    for (unsigned i = 0; i < 8 && first + i < count; i++)
        if (d->irqs.vectors[UAPI_IRQ_MSIX][first + i].pending)
            byte |= 1u << i;
    return (uint8_t)byte;
}

static uint8_t read_bar4(const struct device *d, uint64_t offset)
{
    if (offset < d->options->vectors * 16u)
        return d->msix[offset];
    if (offset >= EDEV_MSIX_PBA)
        return pending_byte(d, (offset - EDEV_MSIX_PBA) * 8);
    return 0;
}

/* Reads any bytes of the registers. */
static void read_bar0(struct device *d, uint64_t offset, uint8_t *to,
                      uint32_t size)
{
    uint32_t word = 0;

    device_advance(d);
    for (uint32_t i = 0; i < size; i++) {
        uint64_t at = offset + i;

        if (i == 0 || at % 4 == 0)
            word = bar0_read(d, (uint32_t)(at & ~UINT64_C(3)));
        to[i] = (uint8_t)(word >> at % 4 * 8);
    }
}

int region_read(struct device *d, uint32_t index, uint64_t offset, void *to,
                uint32_t size)
{
    uint8_t *bytes = to;
    int ret = check(d, index, offset, size);

    if (ret < 0)
        return ret;
    if (index == UAPI_REGION_BAR0)
        read_bar0(d, offset, to, size);
    else if (index == BAR2)
        memcpy(to, d->bar2 + offset, size);
    else if (index == BAR4)
        for (uint32_t i = 0; i < size; i++)
            bytes[i] = read_bar4(d, offset + i);
    else
        config_read(&d->config, offset, to, size);
    return 0;
}

/* Registers are written as whole words only; the rest is ignored. */
static void write_bar0(struct device *d, uint64_t offset, const uint8_t *from,
                       uint32_t size)
{
    device_advance(d);
    if (offset % 4 != 0)
        return;
    for (uint32_t i = 0; i + 4 <= size; i += 4) {
        uint32_t word;

        memcpy(&word, from + i, sizeof(word));
        bar0_write(d, (uint32_t)offset + i, word);
    }
}

static void write_bar4(struct device *d, uint64_t offset, const uint8_t *from,
                       uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        if (offset + i < d->options->vectors * 16u)
            d->msix[offset + i] = from[i];
}

int region_write(struct device *d, uint32_t index, uint64_t offset,
                 const void *from, uint32_t size)
{
    int ret = check(d, index, offset, size);

    if (ret < 0)
        return ret;
    if (mutant_is(d, MUTANT_P2P_WRITES_DROPPED) &&
        d->state == UAPI_STATE_RUNNING_P2P)
        return 0;
    if (index == UAPI_REGION_BAR0)
        write_bar0(d, offset, from, size);
    else if (index == BAR2)
        memcpy(d->bar2 + offset, from, size);
    else if (index == BAR4)
        write_bar4(d, offset, from, size);
    else
        config_write(&d->config, offset, from, size);
    return 0;
}
