/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_SECTION_PCI_SPACE_H
#define VFM_SRC_SECTION_PCI_SPACE_H

/*
 * What a PCI configuration space says: pure functions over its bytes, which are
 * as untrustworthy as whoever sent them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

/* A field that a driver sets up, and that a migration carries over. */
struct pci_field {
    uint16_t offset;
    uint8_t len;
};

/* The standard header's fields, four capabilities', and the command. */
#define PCI_FIELDS_MAX 24

/* Where the MSI-X table and its pending bits are. */
struct pci_msix {
    uint32_t count; /* of entries; 0: no MSI-X */
    uint32_t table_region;
    uint32_t table_offset;
    uint32_t pba_region;
    uint32_t pba_offset;
};
/* Returns 0, or -EINVAL if they are said to be where no table can be. */
int pci_get_msix(const uint8_t *config, size_t size, const char *who,
                 struct pci_msix *msix, struct vfm_error *err);

/* Stores the fields to carry over, the command register last: the device must
 * not be a bus master before it is set up.  Returns how many. */
unsigned int pci_get_fields(const uint8_t *config, size_t size,
                            struct pci_field fields[PCI_FIELDS_MAX]);

/* Whether a driver of the device that has @theirs would notice that it has
 * become @ours: ids, class, header type and the list of capabilities are
 * compared.  Returns 0, or -EINVAL and where they differ. */
int pci_compare(const uint8_t *ours, const uint8_t *theirs, size_t size,
                const char *who, struct vfm_error *err);

#endif
