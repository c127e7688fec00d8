/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver of mtty, the kernel's sample device: a card with one or two serial
 * ports, 16550s, each of which receives what it sends.
 *
 * It does no DMA, keeps no log and has no counter, and so is also the example
 * of a driver that knows little: docs/testing-your-device.md refers to it.
 */
#include <errno.h>
#include <stddef.h>

#include "check/driver.h"

#define VENDOR     0x4348
#define DEVICE     0x3253

/* A port's registers. */
#define REG_DATA   0
#define REG_IER    1 /* which interrupts are enabled */
#define REG_FCR    2 /* FIFO control */
#define REG_LCR    3 /* line control */
#define REG_MCR    4 /* modem control */
#define REG_LSR    5 /* line status */
#define REG_SCR    7 /* scratch */

#define IER_EMPTY  0x02 /* when there is nothing left to send */
#define FCR_CLEAR  0x07 /* on, and empty */
#define LCR_DLAB   0x80 /* DATA and IER are the divisor */
#define LSR_READY  0x01

#define FIFO_BYTES 11 /* of 16: where they begin and end matters, too */

static const struct row {
    const char *name;
    uint8_t reg;
    uint8_t mask; /* of what is kept */
} rows[] = {
    { "IER", REG_IER, 0x0f },
    { "MCR", REG_MCR, 0xff },
    { "SCR", REG_SCR, 0xff },
};

/* The divisor: DATA and IER while LCR says so. */
static const struct row divisor[] = {
    { "LCR", REG_LCR, 0x7f },
    { "the divisor's low byte", REG_DATA, 0xff },
    { "the divisor's high byte", REG_IER, 0xff },
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static bool match(struct raw *raw, uint16_t vendor, uint16_t device)
{
    (void)raw;
    return vendor == VENDOR && device == DEVICE;
}

static uint32_t ports_of(struct raw *raw)
{
    struct raw_region second = { .size = 0 };

    raw_region_info(raw, UAPI_REGION_BAR0 + 1, &second);
    return second.size > 0 ? 2 : 1;
}

static int put(struct raw *raw, uint32_t port, uint8_t reg, uint8_t value)
{
    return raw_region_write(raw, UAPI_REGION_BAR0 + port, reg, &value, 1);
}

/* 0; -EILSEQ: it is not @value. */
static int expect(struct raw *raw, uint32_t port, const struct row *row,
                  uint8_t value)
{
    uint8_t found = 0;
    int ret =
        raw_region_read(raw, UAPI_REGION_BAR0 + port, row->reg, &found, 1);

    return ret < 0 || ((found ^ value) & row->mask) == 0 ? ret : -EILSEQ;
}

/* The @i-th of the values that follow from @seed. */
static uint8_t value_of(uint64_t seed, uint32_t port, size_t i)
{
    return (uint8_t)((seed * (2 * i + 1) + port * 0x65) >> (i % 7 * 8));
}

static int mark_port(struct raw *raw, uint32_t port, uint64_t seed)
{
    size_t n = 0;
    int ret = put(raw, port, REG_LCR, 0);

    if (ret == 0)
        ret = put(raw, port, REG_FCR, FCR_CLEAR);
    for (size_t i = 0; ret == 0 && i < COUNT(rows); i++)
        ret = put(raw, port, rows[i].reg, value_of(seed, port, n++));
    for (size_t i = 0; ret == 0 && i < FIFO_BYTES; i++)
        ret = put(raw, port, REG_DATA, value_of(seed, port, n++));
    for (size_t i = 0; ret == 0 && i < COUNT(divisor); i++) {
        uint8_t value = value_of(seed, port, n++);

        if (divisor[i].reg == REG_LCR)
            value |= LCR_DLAB;
        ret = put(raw, port, divisor[i].reg, value);
    }
    return ret;
}

static int mark(struct raw *raw, uint64_t seed)
{
    int ret = 0;

    for (uint32_t port = 0; ret == 0 && port < ports_of(raw); port++)
        ret = mark_port(raw, port, seed);
    return ret;
}

/* Reads the FIFO empty: its bytes are the values from the @n-th. */
static int find_fifo(struct raw *raw, uint32_t port, uint64_t seed, size_t n,
                     const char **what)
{
    static const struct row ready = { "LSR", REG_LSR, LSR_READY };
    static const struct row byte = { "the FIFO", REG_DATA, 0xff };
    int ret = 0;

    *what = byte.name;
    for (size_t i = 0; ret == 0 && i < FIFO_BYTES; i++) {
        ret = expect(raw, port, &ready, LSR_READY);
        if (ret == 0)
            ret = expect(raw, port, &byte, value_of(seed, port, n + i));
    }
    return ret == 0 ? expect(raw, port, &ready, 0) : ret;
}

/* What the divisor hides can be read after it: as long as LCR shows it, DATA
 * is no FIFO, and it is gone when LCR is written. */
static int find_port(struct raw *raw, uint32_t port, uint64_t seed,
                     const char **what)
{
    size_t n = COUNT(rows) + FIFO_BYTES;
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < COUNT(divisor); i++) {
        *what = divisor[i].name;
        ret = expect(raw, port, &divisor[i], value_of(seed, port, n + i));
    }
    if (ret == 0)
        ret = put(raw, port, REG_LCR, 0);
    for (size_t i = 0; ret == 0 && i < COUNT(rows); i++) {
        *what = rows[i].name;
        ret = expect(raw, port, &rows[i], value_of(seed, port, i));
    }
    return ret < 0 ? ret : find_fifo(raw, port, seed, COUNT(rows), what);
}

static int find(struct raw *raw, uint64_t seed, const char **what)
{
    int ret = 0;

    for (uint32_t port = 0; ret == 0 && port < ports_of(raw); port++)
        ret = find_port(raw, port, seed, what);
    return ret;
}

static int find_none(struct raw *raw, const char **what)
{
    int ret = 0;

    for (uint32_t port = 0; ret == 0 && port < ports_of(raw); port++) {
        ret = expect(raw, port, &divisor[0], 0);
        *what = divisor[0].name;
        for (size_t i = 0; ret == 0 && i < COUNT(rows); i++) {
            *what = rows[i].name;
            ret = expect(raw, port, &rows[i], 0);
        }
    }
    return ret;
}

static int arm(struct raw *raw)
{
    int ret = put(raw, 0, REG_LCR, 0);

    if (ret == 0)
        ret = put(raw, 0, REG_IER, 0);
    return ret < 0 ? ret : put(raw, 0, REG_FCR, FCR_CLEAR);
}

/* There is nothing to send, and whoever wants to know that is told. */
static int raise_irq(struct raw *raw)
{
    return put(raw, 0, REG_IER, IER_EMPTY);
}

const struct driver driver_mtty = {
    .name = "mtty",
    .match = match,
    .mark = mark,
    .find = find,
    .find_none = find_none,
    .irq_index = UAPI_IRQ_MSI,
    .irq_vector = 0,
    .arm = arm,
    .raise = raise_irq,
};
