/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What QEMU shows of a PCI Express function that sits on a root bus.  A device
 * behind no port is a root complex integrated endpoint and has no link, so
 * that is what its guest reads, whatever the device says; and a stream whose
 * record says otherwise is refused.
 */
#include <ctype.h>
#include <string.h>

#include "stream/pci-config.h"
#include "util/bytes.h"
#include "util/pci-capability.h"

/* The link's capabilities, control and status; again in version 2. */
#define LINK_BYTES 8
#define INTEGRATED ((unsigned int)PCI_EXP_TYPE_RC_END << 4)

/* Of the machines whose root bus is one of PCI Express, how the names of their
 * types begin: pc-q35-10.0, virt-10.0. */
static const char *const express[] = { "pc-q35", "q35", "virt" };

static bool is_express(const char *machine)
{
    for (size_t i = 0; i < sizeof(express) / sizeof(express[0]); i++) {
        size_t len = strlen(express[i]);

        if (strncmp(machine, express[i], len) == 0 &&
            (machine[len] == '\0' || machine[len] == '-'))
            return true;
    }
    return false;
}

/* DDDD:BB:SS.F; behind a bridge there would be its place, too. */
static bool is_on_root_bus(const char *id)
{
    static const char like[] = "xxxx:xx:xx.x";

    for (size_t i = 0; i < sizeof(like) - 1; i++)
        if (like[i] == 'x' ? !isxdigit((unsigned char)id[i]) : id[i] != like[i])
            return false;
    return id[sizeof(like) - 1] == '\0' || id[sizeof(like) - 1] == '/';
}

bool pci_config_is_integrated(const char *machine, const char *id)
{
    return is_express(machine) && is_on_root_bus(id);
}

void pci_config_integrate(uint8_t *space)
{
    unsigned int at = pci_find_capability(
        space, PCI_CFG_SPACE_SIZE, PCI_CAP_ID_EXP, PCI_EXP_LNKCAP + LINK_BYTES);
    uint16_t flags;

    if (at == 0)
        return;
    flags = get_le16(space + at + PCI_EXP_FLAGS);
    if ((flags & PCI_EXP_FLAGS_TYPE) != PCI_EXP_TYPE_ENDPOINT)
        return;
    put_le16(space + at + PCI_EXP_FLAGS, (uint16_t)(flags | INTEGRATED));
    memset(space + at + PCI_EXP_LNKCAP, 0, LINK_BYTES);
    if ((flags & PCI_EXP_FLAGS_VERS) >= 2 &&
        at + PCI_EXP_LNKCAP2 + LINK_BYTES <= PCI_CFG_SPACE_SIZE)
        memset(space + at + PCI_EXP_LNKCAP2, 0, LINK_BYTES);
}
