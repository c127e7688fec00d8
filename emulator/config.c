/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI configuration space: the values at power-on and the bits that a driver
 * may change, in one table.
 */
#include <assert.h>
#include <string.h>

#include "emulator/config.h"
#include "emulator/registers.h"
#include "util/bytes.h"

#define COMMAND              0x04
#define COMMAND_MASTER       0x0004
#define BAR(n)               (0x10 + 4 * (n))

#define CAP_MSI              0x40
#define CAP_MSIX             0x60
#define CAP_EXPRESS          0x70

#define MSI_64BIT_8_VECTORS  0x0086
#define EXPRESS_V2_ENDPOINT  0x0002
#define EXPRESS_ROLE_BASED   0x00008000
#define EXPRESS_LINK_X1_2_5G 0x00000011

struct field {
    uint16_t offset;
    uint8_t size;
    uint32_t value;
    uint32_t writable;
};

static const struct field fields[] = {
    { COMMAND, 2, 0, 0x0547 },
    { 0x06, 2, 0x0010, 0 },     /* status: has capabilities */
    { 0x08, 4, 0x08800001, 0 }, /* a system peripheral, revision 1 */
    { 0x0c, 1, 0, 0xff },       /* cache line */
    { 0x0d, 1, 0, 0xff },       /* latency */
    { BAR(0), 4, 0, ~(EDEV_BAR0_SIZE - 1u) },
    { BAR(2), 4, 0, ~(EDEV_BAR2_SIZE - 1u) },
    { BAR(4), 4, 0, ~(EDEV_BAR4_SIZE - 1u) },
    { 0x34, 1, CAP_MSI, 0 },
    { 0x3c, 1, 0, 0xff }, /* interrupt line */
    { 0x3d, 1, 1, 0 },    /* interrupt pin A */

    { CAP_MSI, 2, 0x05 | CAP_MSIX << 8, 0 },
    { CAP_MSI + 2, 2, MSI_64BIT_8_VECTORS, 0x0071 },
    { CAP_MSI + 4, 4, 0, 0xfffffffc }, /* address */
    { CAP_MSI + 8, 4, 0, 0xffffffff },
    { CAP_MSI + 12, 2, 0, 0xffff }, /* data */

    { CAP_MSIX, 2, 0x11 | CAP_EXPRESS << 8, 0 },
    { CAP_MSIX + 2, 2, 0, 0xc000 }, /* size: config_init() */
    { CAP_MSIX + 4, 4, EDEV_MSIX_TABLE | 4, 0 },
    { CAP_MSIX + 8, 4, EDEV_MSIX_PBA | 4, 0 },

    { CAP_EXPRESS, 2, 0x10, 0 },
    { CAP_EXPRESS + 2, 2, EXPRESS_V2_ENDPOINT, 0 },
    { CAP_EXPRESS + 4, 4, EXPRESS_ROLE_BASED, 0 },
    { CAP_EXPRESS + 8, 2, 0x2810, 0x7fff }, /* device control */
    { CAP_EXPRESS + 12, 4, EXPRESS_LINK_X1_2_5G, 0 },
    { CAP_EXPRESS + 16, 2, 0, 0x01ff }, /* link control */
    { CAP_EXPRESS + 18, 2, EXPRESS_LINK_X1_2_5G, 0 },
    { CAP_EXPRESS + 40, 2, 0, 0x001f }, /* device control 2 */
};

static void set_field(struct config *c, const struct field *f)
{
    for (unsigned i = 0; i < f->size; i++) {
        c->bytes[f->offset + i] = (uint8_t)(f->value >> 8 * i);
        c->writable[f->offset + i] = (uint8_t)(f->writable >> 8 * i);
    }
}

void config_init(struct config *c, uint16_t vendor, uint16_t device,
                 uint32_t vectors)
{
    uint32_t msix_size = vectors > 0 ? vectors - 1 : 0;
    const struct field own[] = {
        { 0x00, 2, vendor, 0 },
        { 0x02, 2, device, 0 },
        { 0x2c, 2, vendor, 0 },
        { 0x2e, 2, device, 0 },
        { CAP_MSIX + 2, 2, msix_size, 0xc000 },
    };

    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        set_field(c, &fields[i]);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        set_field(c, &own[i]);
}

void config_read(const struct config *c, size_t offset, void *to, size_t size)
{
    assert(offset <= CONFIG_SIZE && size <= CONFIG_SIZE - offset);
    memcpy(to, c->bytes + offset, size);
}

void config_write(struct config *c, size_t offset, const void *from,
                  size_t size)
{
    const uint8_t *in = from;

    assert(offset <= CONFIG_SIZE && size <= CONFIG_SIZE - offset);
    for (size_t i = 0; i < size; i++) {
        uint8_t mask = c->writable[offset + i];
        uint8_t *byte = &c->bytes[offset + i];

        *byte = (uint8_t)((*byte & ~mask) | (in[i] & mask));
    }
}

bool config_bus_master(const struct config *c)
{
    return (get_le16(c->bytes + COMMAND) & COMMAND_MASTER) != 0;
}
