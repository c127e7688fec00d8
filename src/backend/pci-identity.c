/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "backend/pci-identity.h"
#include "util/bytes.h"
#include "util/pci-capability.h"

_Static_assert(sizeof(((struct vfm_device *)0)->pci_space) ==
                   PCI_CFG_SPACE_SIZE,
               "all of it is kept");

void pci_identity_learn(struct vfm_device *dev, const uint8_t *config)
{
    struct vfm_device_info *info = &dev->info;

    memcpy(dev->pci_space, config, PCI_CFG_SPACE_SIZE);
    info->vendor_id = get_le16(config + PCI_VENDOR_ID);
    info->device_id = get_le16(config + PCI_DEVICE_ID);
    info->subsystem_vendor_id = get_le16(config + PCI_SUBSYSTEM_VENDOR_ID);
    info->subsystem_id = get_le16(config + PCI_SUBSYSTEM_ID);
    info->revision_id = config[PCI_REVISION_ID];
    info->class_code = get_le32(config + PCI_CLASS_REVISION) >> 8;
    info->msix_count = pci_msix_count(config, PCI_CFG_SPACE_SIZE);
}
