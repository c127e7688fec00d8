/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_SECTION_PCI_STATE_H
#define VFM_SRC_SECTION_PCI_STATE_H

/*
 * A PCI device's configuration space and MSI-X table: read from one device,
 * carried as the configuration record of QEMU's vfio-pci, checked against
 * another device and written to it.
 *
 * A device without configuration space has an empty record.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/device.h"
#include "section/pci-space.h"
#include "stream/pci-config.h"
#include "util/pci-capability.h"

#define PCI_MSIX_BYTES_MAX \
    (PCI_CONFIG_MSIX_MAX * PCI_MSIX_ENTRY_SIZE + PCI_CONFIG_MSIX_MAX / 8)
#define PCI_RECORD_MAX \
    (4 + PCI_CFG_SPACE_EXP_SIZE + 16 + PCI_MSIX_BYTES_MAX + 128)

/* The MSI-X table and every field. */
#define PCI_ACCESSES_MAX (1 + PCI_FIELDS_MAX)

struct pci_state {
    uint8_t *record;
    size_t record_len;

    int step;
    uint8_t *config;       /* of the device at hand */
    uint8_t *msix;         /* its table, then its pending bits */
    struct pci_msix where; /* they are */
    struct device_access accesses[PCI_ACCESSES_MAX]; /* under way */
    unsigned int num_accesses;
};

/* Does what can be done of pci_state_save() before the device stops: the memory
 * for it is there.  Returns 0, -EINVAL or -ENOMEM. */
int pci_state_prepare_save(struct pci_state *ps, struct vfm_device *dev,
                           struct vfm_error *err);

/* Makes the record of @dev.  Returns 0 when it is there, -EAGAIN, or an
 * error; call it until it is over. */
int pci_state_save(struct pci_state *ps, struct vfm_device *dev,
                   struct vfm_error *err);

/* Keeps a copy of a record that came.  Returns 0, -E2BIG or -ENOMEM. */
int pci_state_set(struct pci_state *ps, const void *record, size_t len,
                  struct vfm_error *err);

/*
 * Does what can be done of pci_state_apply() before a record comes: reads the
 * configuration that @dev has.  What its state changes in that when it is
 * loaded is what the record says, too.  Returns as pci_state_save(); if it
 * fails it may be left to pci_state_apply().
 */
int pci_state_prepare_apply(struct pci_state *ps, struct vfm_device *dev,
                            struct vfm_error *err);

/*
 * Compares the record with @dev, which must be the same kind of device, and
 * writes what a driver had set up.  Returns as pci_state_save().
 *   -EINVAL   the record is of another kind of device
 */
int pci_state_apply(struct pci_state *ps, struct vfm_device *dev,
                    struct vfm_error *err);

/* The three parts of that for who keeps the configuration of a device beside
 * it. */

/* Makes the record of @config. */
int pci_state_encode(struct pci_state *ps, const struct pci_config *config,
                     struct vfm_error *err);

/* Takes the record apart, which must be of the same kind of device as @ours,
 * unless that is NULL; of it, space, space_size and msix_count count. */
int pci_state_decode(const struct pci_state *ps, const struct pci_config *ours,
                     const char *who, struct pci_config *theirs,
                     struct vfm_error *err);

/* Writes the command register in the record to @dev, if that has one.  Returns
 * as pci_state_save(). */
int pci_state_write_command(struct pci_state *ps, struct vfm_device *dev,
                            struct vfm_error *err);

/* Makes the record of an endpoint what it is in the root complex. */
void pci_state_integrate(struct pci_state *ps);

/* Frees what it holds; it may be used again. */
void pci_state_close(struct pci_state *ps);

#endif
