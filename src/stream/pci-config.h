/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_STREAM_PCI_CONFIG_H
#define VFM_SRC_STREAM_PCI_CONFIG_H

/*
 * The configuration record of vfio-pci: what QEMU keeps of a PCI device
 * besides the device's own state.
 *
 * The record carries no lengths.  How large config space is and whether there
 * is an MSI-X table follow from its length and from the MSI-X capability in
 * the config space itself; where the two disagree it is refused.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

#include "util/pci-capability.h"

#define PCI_CONFIG_SPACE_AT     4 /* in the record */
#define PCI_CONFIG_INTX         4
#define PCI_CONFIG_MSIX_MAX     2048
#define PCI_CONFIG_DISPLAY_SIZE 28

/* The highest version of the record; lower ones are accepted. */
#define PCI_CONFIG_VERSION      2

struct pci_config {
    uint32_t version;
    const uint8_t *space;
    size_t space_size; /* PCI_CFG_SPACE_SIZE or PCI_CFG_SPACE_EXP_SIZE */
    bool intx[PCI_CONFIG_INTX];
    uint32_t msix_count;         /* 0: no MSI-X */
    const uint8_t *msix_table;   /* 16 bytes each */
    const uint8_t *msix_pending; /* a bit each */
    const uint8_t *display;      /* PCI_CONFIG_DISPLAY_SIZE bytes, or NULL */
};

/*
 * Reads @len bytes, what is between the record's tags.
 *
 * Returns 0 and a view of @data in *@config.
 *   -EBADMSG     its length fits nothing, or a value is none
 *   -EOPNOTSUPP  another version
 */
int pci_config_decode(const void *data, size_t len, struct pci_config *config,
                      struct vfm_error *err);

/*
 * Writes the record.  The version is PCI_CONFIG_VERSION.
 *
 * Returns 0 and the length in *@len.
 *   -EINVAL   @config is not consistent
 *   -ENOBUFS  @size is too small
 */
int pci_config_encode(const struct pci_config *config, void *buf, size_t size,
                      size_t *len, struct vfm_error *err);

/* Whether the device at @id of a QEMU's @machine, or the section of that name,
 * is shown as integrated into the root complex. */
bool pci_config_is_integrated(const char *machine, const char *id);

/* Makes the config space of an endpoint, of at least PCI_CFG_SPACE_SIZE bytes,
 * what it is there: all else stays as it is. */
void pci_config_integrate(uint8_t *space);

#endif
