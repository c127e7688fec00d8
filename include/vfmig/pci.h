/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_PCI_H
#define VFM_PCI_H

/*
 * The PCI configuration of a device whose VMM keeps it: the guest sees a
 * configuration space and an MSI-X table of the VMM's, not the device's own.
 *
 * Without a keeper the library reads both from the device and writes them to
 * it.  That is right for a device that nobody stands before; with a kernel
 * device under a guest, only the VMM knows them, as the kernel shows neither
 * the MSI-X table nor what the guest has written to emulated registers.
 *
 * Errors     Callbacks return 0, or a negative errno value and a sentence in
 *            @err.  A failure is one of the migration: the VM goes on at the
 *            source.
 * Ownership  What a struct vfm_pci_state points to is the VMM's when it saves,
 *            and read before the library calls anything else; the library's
 *            when it loads, until the callback returns.  Its @opaque must
 *            outlive the migration.
 * Threads    Callbacks come when those of <vfmig/migration.h> do, which are
 *            within its functions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of configuration space; bytes. */
#define VFM_PCI_CONFIG_SIZE          256
#define VFM_PCI_CONFIG_EXTENDED_SIZE 4096

/* Entries of the MSI-X table, and the bytes of one. */
#define VFM_PCI_MSIX_MAX             2048
#define VFM_PCI_MSIX_ENTRY_SIZE      16

/*
 * A configuration as the guest sees it.  MSI has all its state in
 * configuration space.
 */
struct vfm_pci_state {
    size_t size; /* sizeof(struct vfm_pci_state); set by the library */

    /* 256 or 4096 bytes, little-endian as PCI has them. */
    const void *config;
    size_t config_size;

    /* The levels of INTA to INTD. */
    bool intx[4];

    /* Entries that the MSI-X capability in @config tells; 0: it has none.
     * For each the 16 bytes of the table: address, upper address, data, and
     * whether it is masked; and one bit of the pending bit array. */
    uint32_t msix_count;
    const void *msix_table;
    const void *msix_pending;
};

/*
 * Who keeps the configuration of one device, for vfm_migration_set_pci().
 */
struct vfm_pci_keeper {
    size_t size; /* sizeof(struct vfm_pci_keeper) */

    /*
     * Fills in @state, which is zeroed but for its size.
     *
     * Source: needed; called when the VM and all devices have stopped.
     * Target: may be NULL.  If not, it is called before load(), and what came
     * must be the configuration of the same kind of device: sizes, ids, class,
     * header type and the list of capabilities are compared, else -EINVAL.
     */
    int (*save)(void *opaque, struct vfm_pci_state *state,
                struct vfm_error *err);

    /*
     * Target: takes @state, whose lengths and counts are consistent.  Called
     * when the device has taken and checked its own state and is in STOP,
     * before any blob is loaded.  Interrupts do not travel: eventfds have to
     * be given to the device anew, for MSI or MSI-X if @state enables
     * them and else for INTx (for a kernel device, VFIO_DEVICE_SET_IRQS).
     *
     * When it has returned 0 the library writes the command register in
     * @state to the device's, so that it becomes bus master last.
     */
    int (*load)(void *opaque, const struct vfm_pci_state *state,
                struct vfm_error *err);

    void *opaque;
};

#ifdef __cplusplus
}
#endif

#endif /* VFM_PCI_H */
