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

/* PCI's own numbers, of the capability and of what is in it. */
#define CAPABILITY_EXPRESS 0x10
#define EXPRESS_FLAGS      0x02
#define FLAGS_VERSION      0x000f
#define FLAGS_TYPE         0x00f0
#define TYPE_ENDPOINT      0x0000
#define TYPE_INTEGRATED    0x0090
#define LINK_CAPABILITIES  0x0c /* to the link's status, */
#define LINK_BYTES         8
#define LINK_2             0x2c /* and again in version 2 */

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
    unsigned int at =
        pci_find_capability(space, PCI_CONFIG_SIZE, CAPABILITY_EXPRESS,
                            LINK_CAPABILITIES + LINK_BYTES);
    uint16_t flags;

    if (at == 0)
        return;
    flags = get_le16(space + at + EXPRESS_FLAGS);
    if ((flags & FLAGS_TYPE) != TYPE_ENDPOINT)
        return;
    put_le16(space + at + EXPRESS_FLAGS, (uint16_t)(flags | TYPE_INTEGRATED));
    memset(space + at + LINK_CAPABILITIES, 0, LINK_BYTES);
    if ((flags & FLAGS_VERSION) >= 2 &&
        at + LINK_2 + LINK_BYTES <= PCI_CONFIG_SIZE)
        memset(space + at + LINK_2, 0, LINK_BYTES);
}
