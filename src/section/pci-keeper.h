/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_SECTION_PCI_KEEPER_H
#define VFM_SRC_SECTION_PCI_KEEPER_H

/*
 * A VMM that keeps a device's configuration, between its callbacks and the
 * configuration record.
 */

#include <stdbool.h>

#include <vfmig/pci.h>

#include "section/pci-state.h"

struct pci_keeper {
    struct vfm_pci_keeper is; /* the caller's */
    bool is_set;
    bool has_loaded; /* the command register is what is left */
};

/* Takes the caller's definition, of which @loads says what it is for.  @who is
 * the device.  Returns 0, -EINVAL or -E2BIG as vfm_migration_set_pci(). */
int pci_keeper_set(struct pci_keeper *keeper,
                   const struct vfm_pci_keeper *given, bool loads,
                   const char *who, struct vfm_error *err);

/* Has the VMM tell the configuration and makes the record of it. */
int pci_keeper_save(const struct pci_keeper *keeper, struct pci_state *ps,
                    const char *who, struct vfm_error *err);

/*
 * Has the VMM take the record, and then writes the command register to @dev.
 * Returns 0 when all is done, -EAGAIN, or an error; call it until it is over.
 *   -EBADMSG, -EOPNOTSUPP   it is no record that we know
 *   -EINVAL                 it is of another kind of device
 *   others                  the VMM's, or the device's
 */
int pci_keeper_load(struct pci_keeper *keeper, struct pci_state *ps,
                    struct vfm_device *dev, const char *who,
                    struct vfm_error *err);

#endif
