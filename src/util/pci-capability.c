/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The walk over PCI's capabilities: as many as there is room for, as a list
 * that is longer runs in a circle.
 */
#include "util/bytes.h"
#include "util/pci-capability.h"

#define STATUS              0x06
#define STATUS_CAPABILITIES 0x10
#define CAPABILITIES        0x34

/* All of them lie between the header and the extended space. */
#define CAP_FIRST           0x40
#define CAP_END             0x100

#define CAP_ID_MSIX         0x11
#define MSIX_CONTROL        2
#define MSIX_COUNT_MASK     0x7ff

_Static_assert(PCI_CAPABILITIES_MAX == (CAP_END - CAP_FIRST) / 4,
               "as many as fit");

/* What the pointer at @at leads to. */
static unsigned int follow(const uint8_t *config, unsigned int at)
{
    unsigned int next = config[at] & 0xfcU;

    return next >= CAP_FIRST ? next : 0;
}

unsigned int pci_next_capability(const uint8_t *config, unsigned int at)
{
    return follow(config, at + 1);
}

unsigned int pci_first_capability(const uint8_t *config, size_t size)
{
    if (size < CAP_END ||
        (get_le16(config + STATUS) & STATUS_CAPABILITIES) == 0)
        return 0;
    return follow(config, CAPABILITIES);
}

unsigned int pci_find_capability(const uint8_t *config, size_t size, uint8_t id,
                                 unsigned int len)
{
    unsigned int at = pci_first_capability(config, size);

    for (unsigned int n = 0; at != 0 && n < PCI_CAPABILITIES_MAX; n++) {
        if (config[at] == id)
            return at + len <= CAP_END ? at : 0;
        at = pci_next_capability(config, at);
    }
    return 0;
}

uint32_t pci_msix_count(const uint8_t *config, size_t size)
{
    unsigned int at = pci_find_capability(config, size, CAP_ID_MSIX,
                                          MSIX_CONTROL + sizeof(uint16_t));

    return at == 0
               ? 0
               : (get_le16(config + at + MSIX_CONTROL) & MSIX_COUNT_MASK) + 1U;
}
