/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_BACKEND_PCI_IDENTITY_H
#define VFM_SRC_BACKEND_PCI_IDENTITY_H

/*
 * What PCI configuration space tells of a device, whoever read it.
 */

#include <vfmig/device.h>

#define PCI_CONFIG_SIZE         256
#define PCI_EXPRESS_CONFIG_SIZE 4096

/* Fills in who it is and the size of its MSI-X table, from the first
 * PCI_CONFIG_SIZE bytes. */
void pci_identity_parse(struct vfm_device_info *info, const uint8_t *config);

#endif
