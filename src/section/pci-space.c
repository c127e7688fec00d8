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

#define COMMAND         0x04
#define CACHE_LINE_SIZE 0x0c
#define LATENCY_TIMER   0x0d
#define BAR_0           0x10
#define NUM_BARS        6
#define ROM_BAR         0x30
#define CAPABILITIES    0x34
#define INTERRUPT_LINE  0x3c

#define CAP_ID_PM       0x01
#define CAP_ID_MSI      0x05
#define CAP_ID_EXPRESS  0x10
#define CAP_ID_MSIX     0x11

#define PM_CONTROL      4
#define EXPRESS_CONTROL 8
#define MSI_CONTROL     2
#define MSI_ADDRESS     4
#define MSI_IS_64       0x80
#define MSIX_CONTROL    2
#define MSIX_TABLE      4
#define MSIX_PBA        8
#define MSIX_COUNT_MASK 0x7ff
#define MSIX_BIR_MASK   UINT32_C(7)

/* All capabilities lie between the header and the extended space. */
#define CAP_FIRST       0x40
#define CAP_LAST        (0x100 - 0x14)
#define CAPS_MAX        48

/* The next capability after the pointer at @at; 0 at the end. */
static unsigned int next_capability(const uint8_t *config, unsigned int at)
{
    unsigned int next = config[at] & 0xfcU;

    return next >= CAP_FIRST && next <= CAP_LAST ? next : 0;
}

unsigned int pci_find_capability(const uint8_t *config, size_t size, uint8_t id)
{
    unsigned int at = size < 0x100 ? 0 : next_capability(config, CAPABILITIES);

    for (unsigned int n = 0; at != 0 && n < CAPS_MAX; n++) {
        if (config[at] == id)
            return at;
        at = next_capability(config, at + 1);
    }
    return 0;
}

struct pci_msix pci_get_msix(const uint8_t *config, size_t size)
{
    unsigned int at = pci_find_capability(config, size, CAP_ID_MSIX);
    struct pci_msix msix = { 0 };
    uint32_t table;
    uint32_t pba;

    if (at == 0)
        return msix;
    table = get_le32(config + at + MSIX_TABLE);
    pba = get_le32(config + at + MSIX_PBA);
    msix.count = (get_le16(config + at + MSIX_CONTROL) & MSIX_COUNT_MASK) + 1U;
    msix.table_region = table & MSIX_BIR_MASK;
    msix.table_offset = table & ~MSIX_BIR_MASK;
    msix.pba_region = pba & MSIX_BIR_MASK;
    msix.pba_offset = pba & ~MSIX_BIR_MASK;
    return msix;
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

/* The vector's address and data first, what enables it last. */
static void add_msi(struct field_list *list, const uint8_t *config,
                    unsigned int at)
{
    bool is_64 = (get_le16(config + at + MSI_CONTROL) & MSI_IS_64) != 0;

    add(list, at + MSI_ADDRESS, 4);
    if (is_64)
        add(list, at + MSI_ADDRESS + 4, 4);
    add(list, at + MSI_ADDRESS + (is_64 ? 8 : 4), 2);
    add(list, at + MSI_CONTROL, 2);
}

unsigned int pci_get_fields(const uint8_t *config, size_t size,
                            struct pci_field fields[PCI_FIELDS_MAX])
{
    unsigned int pm = pci_find_capability(config, size, CAP_ID_PM);
    unsigned int express = pci_find_capability(config, size, CAP_ID_EXPRESS);
    unsigned int msi = pci_find_capability(config, size, CAP_ID_MSI);
    unsigned int msix = pci_find_capability(config, size, CAP_ID_MSIX);
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
    unsigned int at = next_capability(ours, CAPABILITIES);

    for (unsigned int n = 0; at != 0 && n < CAPS_MAX; n++) {
        for (unsigned int i = at; i < at + 2; i++)
            if (ours[i] != theirs[i])
                return differ(who, i, ours[i], theirs[i], "capability", err);
        at = next_capability(ours, at + 1);
    }
    return 0;
}

int pci_compare(const uint8_t *ours, const uint8_t *theirs, size_t size,
                const char *who, struct vfm_error *err)
{
    if (size < 0x100)
        return 0;
    for (size_t r = 0; r < NUM_IDENTITY; r++)
        for (unsigned int i = identity[r].from; i < identity[r].to; i++)
            if (ours[i] != theirs[i])
                return differ(who, i, ours[i], theirs[i], identity[r].what,
                              err);
    return compare_capabilities(ours, theirs, who, err);
}
