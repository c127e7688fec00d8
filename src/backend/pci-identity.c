/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include "backend/pci-identity.h"
#include "util/bytes.h"

/* Configuration space: offsets. */
#define PCI_VENDOR_ID      0x00
#define PCI_DEVICE_ID      0x02
#define PCI_STATUS         0x06
#define PCI_REVISION       0x08
#define PCI_CLASS          0x08 /* with the revision in the low byte */
#define PCI_SUBSYS_VENDOR  0x2c
#define PCI_SUBSYS_ID      0x2e
#define PCI_CAPABILITIES   0x34

#define PCI_STATUS_CAPS    0x10
#define PCI_CAP_ID_MSIX    0x11
#define PCI_CAP_FIRST      0x40
/* As many as fit: a list that is longer runs in a circle. */
#define PCI_MAX_CAPS       ((PCI_CONFIG_SIZE - PCI_CAP_FIRST) / 4)
#define PCI_MSIX_SIZE_MASK 0x7ff

static uint32_t find_msix_count(const uint8_t *config)
{
    uint8_t at = config[PCI_CAPABILITIES] & 0xfc;

    if ((get_le16(config + PCI_STATUS) & PCI_STATUS_CAPS) == 0)
        return 0;
    for (int i = 0; i < PCI_MAX_CAPS && at >= PCI_CAP_FIRST; i++) {
        if (config[at] == PCI_CAP_ID_MSIX)
            return (get_le16(config + at + 2) & PCI_MSIX_SIZE_MASK) + 1U;
        at = config[at + 1] & 0xfc;
    }
    return 0;
}

void pci_identity_parse(struct vfm_device_info *info, const uint8_t *config)
{
    info->vendor_id = get_le16(config + PCI_VENDOR_ID);
    info->device_id = get_le16(config + PCI_DEVICE_ID);
    info->subsystem_vendor_id = get_le16(config + PCI_SUBSYS_VENDOR);
    info->subsystem_id = get_le16(config + PCI_SUBSYS_ID);
    info->revision_id = config[PCI_REVISION];
    info->class_code = get_le32(config + PCI_CLASS) >> 8;
    info->msix_count = find_msix_count(config);
}
