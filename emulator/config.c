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

#define BAR(n)               (PCI_BASE_ADDRESS_0 + 4 * (n))

#define CAP_MSI              0x40
#define CAP_MSIX             0x60
#define CAP_EXPRESS          0x70

#define MSI_64BIT_8_VECTORS  0x0086
#define EXPRESS_V2_ENDPOINT  0x0002
#define EXPRESS_LINK_X1_2_5G 0x00000011

struct field {
    uint16_t offset;
    uint8_t size;
    uint32_t value;
    uint32_t writable;
};

static const struct field fields[] = {
    { PCI_COMMAND, 2, 0, 0x0547 },
    { PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0 },
    { PCI_CLASS_REVISION, 4, 0x08800001, 0 }, /* a system peripheral */
    { PCI_CACHE_LINE_SIZE, 1, 0, 0xff },
    { PCI_LATENCY_TIMER, 1, 0, 0xff },
    { BAR(0), 4, 0, ~(EDEV_BAR0_SIZE - 1u) },
    { BAR(2), 4, 0, ~(EDEV_BAR2_SIZE - 1u) },
    { BAR(4), 4, 0, ~(EDEV_BAR4_SIZE - 1u) },
    { PCI_CAPABILITY_LIST, 1, CAP_MSI, 0 },
    { PCI_INTERRUPT_LINE, 1, 0, 0xff },
    { PCI_INTERRUPT_PIN, 1, 1, 0 }, /* A */

    { CAP_MSI, 2, PCI_CAP_ID_MSI | CAP_MSIX << 8, 0 },
    { CAP_MSI + PCI_MSI_FLAGS, 2, MSI_64BIT_8_VECTORS, 0x0071 },
    { CAP_MSI + PCI_MSI_ADDRESS_LO, 4, 0, 0xfffffffc },
    { CAP_MSI + PCI_MSI_ADDRESS_HI, 4, 0, 0xffffffff },
    { CAP_MSI + PCI_MSI_DATA_64, 2, 0, 0xffff },

    { CAP_MSIX, 2, PCI_CAP_ID_MSIX | CAP_EXPRESS << 8, 0 },
    { CAP_MSIX + PCI_MSIX_FLAGS, 2, 0, 0xc000 }, /* size: config_init() */
    { CAP_MSIX + PCI_MSIX_TABLE, 4, EDEV_MSIX_TABLE | 4, 0 },
    { CAP_MSIX + PCI_MSIX_PBA, 4, EDEV_MSIX_PBA | 4, 0 },

    { CAP_EXPRESS, 2, PCI_CAP_ID_EXP, 0 },
    { CAP_EXPRESS + PCI_EXP_FLAGS, 2, EXPRESS_V2_ENDPOINT, 0 },
    { CAP_EXPRESS + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER, 0 },
    { CAP_EXPRESS + PCI_EXP_DEVCTL, 2, 0x2810, 0x7fff },
    { CAP_EXPRESS + PCI_EXP_LNKCAP, 4, EXPRESS_LINK_X1_2_5G, 0 },
    { CAP_EXPRESS + PCI_EXP_LNKCTL, 2, 0, 0x01ff },
    { CAP_EXPRESS + PCI_EXP_LNKSTA, 2, EXPRESS_LINK_X1_2_5G, 0 },
    { CAP_EXPRESS + PCI_EXP_DEVCTL2, 2, 0, 0x001f },
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
        { PCI_VENDOR_ID, 2, vendor, 0 },
        { PCI_DEVICE_ID, 2, device, 0 },
        { PCI_SUBSYSTEM_VENDOR_ID, 2, vendor, 0 },
        { PCI_SUBSYSTEM_ID, 2, device, 0 },
        { CAP_MSIX + PCI_MSIX_FLAGS, 2, msix_size, 0xc000 },
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
    return (get_le16(c->bytes + PCI_COMMAND) & PCI_COMMAND_MASTER) != 0;
}
