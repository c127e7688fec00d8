/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The walk over PCI's capabilities: as many as there is room for, as a list
 * that is longer runs in a circle.
 */
#include "util/bytes.h"
#include "util/pci-capability.h"

/* All of them lie between the header and the extended space. */
_Static_assert(PCI_CAPABILITIES_MAX ==
                   (PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF) / 4,
               "as many as fit");

/* What the pointer at @at leads to. */
static unsigned int follow(const uint8_t *config, unsigned int at)
{
    unsigned int next = config[at] & 0xfcU;

    return next >= PCI_STD_HEADER_SIZEOF ? next : 0;
}

unsigned int pci_next_capability(const uint8_t *config, unsigned int at)
{
    return follow(config, at + PCI_CAP_LIST_NEXT);
}

unsigned int pci_first_capability(const uint8_t *config, size_t size)
{
    if (size < PCI_CFG_SPACE_SIZE ||
        (get_le16(config + PCI_STATUS) & PCI_STATUS_CAP_LIST) == 0)
        return 0;
    return follow(config, PCI_CAPABILITY_LIST);
}

unsigned int pci_find_capability(const uint8_t *config, size_t size, uint8_t id,
                                 unsigned int len)
{
    unsigned int at = pci_first_capability(config, size);

    for (unsigned int n = 0; at != 0 && n < PCI_CAPABILITIES_MAX; n++) {
        if (config[at] == id)
            return at + len <= PCI_CFG_SPACE_SIZE ? at : 0;
        at = pci_next_capability(config, at);
    }
    return 0;
}

uint32_t pci_msix_count(const uint8_t *config, size_t size)
{
    unsigned int at = pci_find_capability(config, size, PCI_CAP_ID_MSIX,
                                          PCI_MSIX_FLAGS + sizeof(uint16_t));
    uint16_t flags;

    if (at == 0)
        return 0;
    flags = get_le16(config + at + PCI_MSIX_FLAGS);
    return (flags & PCI_MSIX_FLAGS_QSIZE) + 1U;
}
