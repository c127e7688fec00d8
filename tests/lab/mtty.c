/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registers of mtty, the kernel's sample device: a card with one or two
 * serial ports, each with a scratch register and a receive FIFO, which its loop
 * back fills.
 *
 *   mtty fill ADDRESS PORTS SEED     puts values there that SEED makes
 *   mtty expect ADDRESS PORTS SEED   whether it finds them; empties the FIFOs
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vfmig/vfio.h>

/* A 16550's. */
#define REG_DATA     0
#define REG_FCR      2 /* FIFO control */
#define REG_LCR      3 /* line control */
#define REG_MCR      4 /* modem control */
#define REG_LSR      5 /* line status */
#define REG_SCR      7 /* scratch */
#define FCR_ON_CLEAR 0x07
#define LCR_8N1      0x03
#define MCR_LOOP     0x10
#define LSR_READY    0x01

/* Who reads them and finds others has not failed. */
#define EXIT_DIFFERS 3

#define FIFO_BYTES   11 /* of 16: the indexes in it matter */

struct port {
    struct vfm_device *dev;
    uint32_t number;
    uint8_t seed;
};

static void fail(const struct vfm_error *err)
{
    fprintf(stderr, "mtty: %s\n", err->message);
    exit(EXIT_FAILURE);
}

static void put(const struct port *p, uint64_t reg, uint8_t value)
{
    struct vfm_error err = { 0 };

    if (vfm_device_region_write(p->dev, p->number, reg, &value, 1, &err) < 0)
        fail(&err);
}

static uint8_t get(const struct port *p, uint64_t reg)
{
    struct vfm_error err = { 0 };
    uint8_t value;

    if (vfm_device_region_read(p->dev, p->number, reg, &value, 1, &err) < 0)
        fail(&err);
    return value;
}

static uint8_t byte(const struct port *p, unsigned int i)
{
    return (uint8_t)(p->seed * 31 + p->number * 101 + i * 7);
}

static void fill(const struct port *p)
{
    put(p, REG_SCR, byte(p, FIFO_BYTES));
    put(p, REG_LCR, LCR_8N1);
    put(p, REG_FCR, FCR_ON_CLEAR);
    put(p, REG_MCR, MCR_LOOP);
    for (unsigned int i = 0; i < FIFO_BYTES; i++)
        put(p, REG_DATA, byte(p, i));
}

static unsigned int expect(const struct port *p, const char *what,
                           uint8_t found, uint8_t wanted)
{
    if (found == wanted)
        return 0;
    fprintf(stderr, "mtty: port %u: %s is 0x%02x and not 0x%02x\n", p->number,
            what, found, wanted);
    return 1;
}

static unsigned int find(const struct port *p)
{
    unsigned int wrong =
        expect(p, "SCR", get(p, REG_SCR), byte(p, FIFO_BYTES)) +
        expect(p, "LCR", get(p, REG_LCR), LCR_8N1) +
        expect(p, "MCR", get(p, REG_MCR), MCR_LOOP);

    for (unsigned int i = 0; i < FIFO_BYTES; i++) {
        wrong += expect(p, "data ready", get(p, REG_LSR) & LSR_READY, 1);
        wrong += expect(p, "a byte of the FIFO", get(p, REG_DATA), byte(p, i));
    }
    return wrong +
           expect(p, "data ready at the end", get(p, REG_LSR) & LSR_READY, 0);
}

int main(int argc, char **argv)
{
    struct vfm_error err = { 0 };
    struct port port = { .number = 0 };
    unsigned int wrong = 0;
    uint32_t ports;

    if (argc != 5) {
        fprintf(stderr, "usage: mtty fill|expect ADDRESS PORTS SEED\n");
        return 2;
    }
    if (vfm_device_open_vfio(argv[2], &port.dev, &err) < 0)
        fail(&err);
    ports = (uint32_t)atoi(argv[3]);
    port.seed = (uint8_t)atoi(argv[4]);
    for (; port.number < ports; port.number++) {
        if (strcmp(argv[1], "fill") == 0)
            fill(&port);
        else
            wrong += find(&port);
    }
    vfm_device_close(port.dev);
    return wrong == 0 ? EXIT_SUCCESS : EXIT_DIFFERS;
}
