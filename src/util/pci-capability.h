/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_PCI_CAPABILITY_H
#define VFM_SRC_UTIL_PCI_CAPABILITY_H

/*
 * PCI configuration space by the kernel's names, and the list of capabilities
 * in it, whose bytes are as untrustworthy as whoever sent them.
 */

#include <linux/pci_regs.h>
#include <stddef.h>
#include <stdint.h>

/* As many as there is room for: a list that is longer runs in a circle. */
#define PCI_CAPABILITIES_MAX 48

/* The offset of the first capability in @config, which has @size bytes, and of
 * that after the one at @at; 0 if there is none. */
unsigned int pci_first_capability(const uint8_t *config, size_t size);
unsigned int pci_next_capability(const uint8_t *config, unsigned int at);

/* Returns the offset of the capability @id, all @len bytes of which lie in
 * @config, or 0 if there is none.  @size is that of @config. */
unsigned int pci_find_capability(const uint8_t *config, size_t size, uint8_t id,
                                 unsigned int len);

/* How many entries the MSI-X table has; 0: there is none. */
uint32_t pci_msix_count(const uint8_t *config, size_t size);

#endif
