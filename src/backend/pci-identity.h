/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_BACKEND_PCI_IDENTITY_H
#define VFM_SRC_BACKEND_PCI_IDENTITY_H

/*
 * What PCI configuration space tells of a device, whoever read it.
 */

#include "device/device.h"
#include "util/pci-capability.h"

/* Keeps the first PCI_CFG_SPACE_SIZE bytes, and fills in who the device is and
 * the size of its MSI-X table. */
void pci_identity_learn(struct vfm_device *dev, const uint8_t *config);

#endif
