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

#define COMMAND         0x04
#define CACHE_LINE_SIZE 0x0c
#define LATENCY_TIMER   0x0d
#define BAR_0           0x10
#define NUM_BARS        6
#define ROM_BAR         0x30
#define INTERRUPT_LINE  0x3c

#define CAP_ID_PM       0x01
#define CAP_ID_MSI      0x05
#define CAP_ID_EXPRESS  0x10
#define CAP_ID_MSIX     0x11

#define PM_CONTROL      4
#define PM_SIZE         8
#define EXPRESS_CONTROL 8
#define EXPRESS_SIZE    20
#define MSI_CONTROL     2
#define MSI_ADDRESS     4
#define MSI_SIZE        10 /* at least: 32 bits, no masks */
#define MSI_IS_64       0x80
#define MSI_HAS_MASKS   0x100
#define MSIX_CONTROL    2
#define MSIX_TABLE      4
#define MSIX_PBA        8
#define MSIX_SIZE       12
#define MSIX_COUNT_MASK 0x7ff
#define MSIX_BIR_MASK   UINT32_C(7)

/* Capabilities lie before it. */
#define CAP_END         0x100

int pci_get_msix(const uint8_t *config, size_t size, const char *who,
                 struct pci_msix *msix, struct vfm_error *err)
{
    unsigned int at = pci_find_capability(config, size, CAP_ID_MSIX, MSIX_SIZE);
    uint32_t table;
    uint32_t pba;

    *msix = (struct pci_msix){ 0 };
    if (at == 0)
        return 0;
    table = get_le32(config + at + MSIX_TABLE);
    pba = get_le32(config + at + MSIX_PBA);
    msix->count = (get_le16(config + at + MSIX_CONTROL) & MSIX_COUNT_MASK) + 1U;
    msix->table_region = table & MSIX_BIR_MASK;
    msix->table_offset = table & ~MSIX_BIR_MASK;
    msix->pba_region = pba & MSIX_BIR_MASK;
    msix->pba_offset = pba & ~MSIX_BIR_MASK;
    if (msix->table_region < NUM_BARS && msix->pba_region < NUM_BARS)
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
    uint16_t control = get_le16(config + at + MSI_CONTROL);
    unsigned int data = (control & MSI_IS_64) != 0 ? 8 : 4;
    bool masks = (control & MSI_HAS_MASKS) != 0;

    if (at + MSI_ADDRESS + data + (masks ? 8 : 2) > CAP_END)
        return;
    add(list, at + MSI_ADDRESS, 4);
    if (data == 8)
        add(list, at + MSI_ADDRESS + 4, 4);
    add(list, at + MSI_ADDRESS + data, 2);
    if (masks)
        add(list, at + MSI_ADDRESS + data + 4, 4);
    add(list, at + MSI_CONTROL, 2);
}

unsigned int pci_get_fields(const uint8_t *config, size_t size,
                            struct pci_field fields[PCI_FIELDS_MAX])
{
    unsigned int pm = pci_find_capability(config, size, CAP_ID_PM, PM_SIZE);
    unsigned int express =
        pci_find_capability(config, size, CAP_ID_EXPRESS, EXPRESS_SIZE);
    unsigned int msi = pci_find_capability(config, size, CAP_ID_MSI, MSI_SIZE);
    unsigned int msix =
        pci_find_capability(config, size, CAP_ID_MSIX, MSIX_SIZE);
    struct field_list list = { fields, 0 };

    for (unsigned int bar = 0; bar < NUM_BARS; bar++)
        add(&list, BAR_0 + 4 * bar, 4);
    add(&list, ROM_BAR, 4);
    add(&list, CACHE_LINE_SIZE, 1);
    add(&list, LATENCY_TIMER, 1);
    add(&list, INTERRUPT_LINE, 1);
    if (pm != 0)
        add(&list, pm + PM_CONTROL, 2);
    if (express != 0)
        add(&list, express + EXPRESS_CONTROL, 2);
    if (msi != 0)
        add_msi(&list, config, msi);
    if (msix != 0)
        add(&list, msix + MSIX_CONTROL, 2);
    add(&list, COMMAND, 2);
    return list.n;
}

/* Ranges of the header that tell a driver what it drives. */
static const struct {
    uint8_t from;
    uint8_t to;
    const char *what;
} identity[] = {
    { 0x00, 0x04, "vendor and device id" },
    { 0x08, 0x0c, "revision and class" },
    { 0x0e, 0x0f, "header type" },
    { 0x2c, 0x30, "subsystem ids" },
    { 0x34, 0x35, "capabilities pointer" },
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
    unsigned int at = pci_first_capability(ours, CAP_END);

    for (unsigned int n = 0; at != 0 && n < PCI_CAPABILITIES_MAX; n++) {
        for (unsigned int i = at; i < at + 2; i++)
            if (ours[i] != theirs[i])
                return differ(who, i, ours[i], theirs[i], "capability", err);
        at = pci_next_capability(ours, at);
    }
    return 0;
}

int pci_compare(const uint8_t *ours, const uint8_t *theirs, size_t size,
                const char *who, struct vfm_error *err)
{
    if (size < CAP_END)
        return 0;
    for (size_t r = 0; r < NUM_IDENTITY; r++)
        for (unsigned int i = identity[r].from; i < identity[r].to; i++)
            if (ours[i] != theirs[i])
                return differ(who, i, ours[i], theirs[i], identity[r].what,
                              err);
    return compare_capabilities(ours, theirs, who, err);
}
