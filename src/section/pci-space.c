/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading configuration space: identity, capabilities, and what a driver has
 * set up in them.
 */
#include <errno.h>

#include "section/pci-space.h"
#include "util/bytes.h"
#include "util/error.h"
#include "util/pci-capability.h"

/* Of capabilities, the least that they have; MSI: with an address of 32 bits
 * and no masks. */
#define EXP_SIZE 20
#define MSI_SIZE 10

int pci_get_msix(const uint8_t *config, size_t size, const char *who,
                 struct pci_msix *msix, struct vfm_error *err)
{
    unsigned int at =
        pci_find_capability(config, size, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
    uint32_t table;
    uint32_t pba;

    *msix = (struct pci_msix){ 0 };
    if (at == 0)
        return 0;
    table = get_le32(config + at + PCI_MSIX_TABLE);
    pba = get_le32(config + at + PCI_MSIX_PBA);
    msix->count = pci_msix_count(config, size);
    msix->table_region = table & PCI_MSIX_TABLE_BIR;
    msix->table_offset = table & PCI_MSIX_TABLE_OFFSET;
    msix->pba_region = pba & PCI_MSIX_PBA_BIR;
    msix->pba_offset = pba & PCI_MSIX_PBA_OFFSET;
    if (msix->table_region < PCI_STD_NUM_BARS &&
        msix->pba_region < PCI_STD_NUM_BARS)
        return 0;
    return error_set(err, -EINVAL,
                     "%s: its MSI-X table is in region %u, its pending bits in "
                     "%u, and BARs end at 5",
                     who, msix->table_region, msix->pba_region);
}

struct field_list {
    struct pci_field *fields;
    unsigned int n;
};

static void add(struct field_list *list, unsigned int offset, unsigned int len)
{
    list->fields[list->n++] =
        (struct pci_field){ (uint16_t)offset, (uint8_t)len };
}

/* The vector's address and data first, then what is masked; what enables it
 * last. */
static void add_msi(struct field_list *list, const uint8_t *config,
                    unsigned int at)
{
    uint16_t flags = get_le16(config + at + PCI_MSI_FLAGS);
    unsigned int data = (flags & PCI_MSI_FLAGS_64BIT) != 0 ? 8 : 4;
    bool masks = (flags & PCI_MSI_FLAGS_MASKBIT) != 0;

    if (at + PCI_MSI_ADDRESS_LO + data + (masks ? 8 : 2) > PCI_CFG_SPACE_SIZE)
        return;
    add(list, at + PCI_MSI_ADDRESS_LO, 4);
    if (data == 8)
        add(list, at + PCI_MSI_ADDRESS_LO + 4, 4);
    add(list, at + PCI_MSI_ADDRESS_LO + data, 2);
    if (masks)
        add(list, at + PCI_MSI_ADDRESS_LO + data + 4, 4);
    add(list, at + PCI_MSI_FLAGS, 2);
}

unsigned int pci_get_fields(const uint8_t *config, size_t size,
                            struct pci_field fields[PCI_FIELDS_MAX])
{
    unsigned int pm =
        pci_find_capability(config, size, PCI_CAP_ID_PM, PCI_PM_SIZEOF);
    unsigned int express =
        pci_find_capability(config, size, PCI_CAP_ID_EXP, EXP_SIZE);
    unsigned int msi =
        pci_find_capability(config, size, PCI_CAP_ID_MSI, MSI_SIZE);
    unsigned int msix =
        pci_find_capability(config, size, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
    struct field_list list = { fields, 0 };

    for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++)
        add(&list, PCI_BASE_ADDRESS_0 + 4 * bar, 4);
    add(&list, PCI_ROM_ADDRESS, 4);
    add(&list, PCI_CACHE_LINE_SIZE, 1);
    add(&list, PCI_LATENCY_TIMER, 1);
    add(&list, PCI_INTERRUPT_LINE, 1);
    if (pm != 0)
        add(&list, pm + PCI_PM_CTRL, 2);
    if (express != 0)
        add(&list, express + PCI_EXP_DEVCTL, 2);
    if (msi != 0)
        add_msi(&list, config, msi);
    if (msix != 0)
        add(&list, msix + PCI_MSIX_FLAGS, 2);
    add(&list, PCI_COMMAND, 2);
    return list.n;
}

/* Ranges of the header that tell a driver what it drives. */
static const struct {
    uint8_t from;
    uint8_t to;
    const char *what;
} identity[] = {
    { PCI_VENDOR_ID, PCI_COMMAND, "vendor and device id" },
    { PCI_CLASS_REVISION, PCI_CACHE_LINE_SIZE, "revision and class" },
    { PCI_HEADER_TYPE, PCI_BIST, "header type" },
    { PCI_SUBSYSTEM_VENDOR_ID, PCI_ROM_ADDRESS, "subsystem ids" },
    { PCI_CAPABILITY_LIST, PCI_CAPABILITY_LIST + 1, "capabilities pointer" },
};
#define NUM_IDENTITY (sizeof(identity) / sizeof(identity[0]))

static int differ(const char *who, unsigned int at, unsigned int ours,
                  unsigned int theirs, const char *what, struct vfm_error *err)
{
    return error_set(err, -EINVAL,
                     "%s: configuration of another kind of device: byte 0x%x "
                     "(%s) is 0x%02x, here 0x%02x",
                     who, at, what, theirs, ours);
}

static int compare_capabilities(const uint8_t *ours, const uint8_t *theirs,
                                const char *who, struct vfm_error *err)
{
    unsigned int at = pci_first_capability(ours, PCI_CFG_SPACE_SIZE);

    for (unsigned int n = 0; at != 0 && n < PCI_CAPABILITIES_MAX; n++) {
        for (unsigned int i = at; i <= at + PCI_CAP_LIST_NEXT; i++)
            if (ours[i] != theirs[i])
                return differ(who, i, ours[i], theirs[i], "capability", err);
        at = pci_next_capability(ours, at);
    }
    return 0;
}

int pci_compare(const uint8_t *ours, const uint8_t *theirs, size_t size,
                const char *who, struct vfm_error *err)
{
    if (size < PCI_CFG_SPACE_SIZE)
        return 0;
    for (size_t r = 0; r < NUM_IDENTITY; r++)
        for (unsigned int i = identity[r].from; i < identity[r].to; i++)
            if (ours[i] != theirs[i])
                return differ(who, i, ours[i], theirs[i], identity[r].what,
                              err);
    return compare_capabilities(ours, theirs, who, err);
}
