/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_CONFIG_H
#define VFM_EMULATOR_CONFIG_H

/*
 * PCI configuration space: 4096 bytes, of which only some bits can be
 * written.  Capabilities: MSI, MSI-X, PCI Express.
 */

#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_SIZE        PCI_CFG_SPACE_EXP_SIZE
#define CONFIG_MSI_VECTORS 8

struct config {
    uint8_t bytes[CONFIG_SIZE];
    uint8_t writable[CONFIG_SIZE]; /* bits that keep what is written */
};

/* As after power-on. */
void config_init(struct config *c, uint16_t vendor, uint16_t device,
                 uint32_t vectors);

/* [@offset, @offset + @size) must lie inside. */
void config_read(const struct config *c, size_t offset, void *to, size_t size);
void config_write(struct config *c, size_t offset, const void *from,
                  size_t size);

/* May the device be bus master? */
bool config_bus_master(const struct config *c);

#endif
