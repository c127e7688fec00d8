/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration record of vfio-pci.  Whether it suits the device that it
 * is loaded into is judged there.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "stream/format.h"
#include "stream/pci-config.h"
#include "util/bytes.h"
#include "util/error.h"
#include "util/pci-capability.h"

#define DISPLAY_NAME      "VFIOPCIDevice/VFIODisplay"
#define DISPLAY_VERSION   1
/* 05, the length of the name, the name, its version. */
#define DISPLAY_HEAD_SIZE (1 + 1 + sizeof(DISPLAY_NAME) - 1 + 4)

#define VERSION_SIZE      4
#define INTX_SIZE         (4 * PCI_CONFIG_INTX)

static size_t msix_size(uint32_t count)
{
    return PCI_MSIX_ENTRY_SIZE * (size_t)count + (count + 7) / 8;
}

static size_t record_size(size_t space_size, uint32_t msix_count, bool display)
{
    return VERSION_SIZE + space_size + INTX_SIZE + msix_size(msix_count) +
           (display ? DISPLAY_HEAD_SIZE + PCI_CONFIG_DISPLAY_SIZE : 0);
}

/* Finds the one lay-out that gives @len bytes. */
static bool find_layout(size_t len, struct pci_config *config, bool *display)
{
    static const size_t sizes[] = { PCI_CFG_SPACE_SIZE,
                                    PCI_CFG_SPACE_EXP_SIZE };

    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        config->space_size = sizes[i / 2];
        *display = i % 2 != 0;
        if (len ==
            record_size(config->space_size, config->msix_count, *display))
            return true;
    }
    return false;
}

static int decode_intx(const uint8_t *p, struct pci_config *config,
                       struct vfm_error *err)
{
    for (size_t i = 0; i < PCI_CONFIG_INTX; i++) {
        uint32_t level = get_be32(p + 4 * i);

        if (level > 1)
            return error_set(err, -EBADMSG,
                             "configuration record: INT%c has the level "
                             "%" PRIu32,
                             (char)('A' + i), level);
        config->intx[i] = level != 0;
    }
    return 0;
}

static int decode_display(const uint8_t *p, struct pci_config *config,
                          struct vfm_error *err)
{
    size_t name_len = sizeof(DISPLAY_NAME) - 1;

    if (p[0] != ITEM_SUBSECTION || p[1] != name_len ||
        memcmp(p + 2, DISPLAY_NAME, name_len) != 0 ||
        get_be32(p + 2 + name_len) != DISPLAY_VERSION)
        return error_set(err, -EBADMSG,
                         "configuration record: its last part is no '%s'",
                         DISPLAY_NAME);
    config->display = p + DISPLAY_HEAD_SIZE;
    return 0;
}

int pci_config_decode(const void *data, size_t len, struct pci_config *config,
                      struct vfm_error *err)
{
    const uint8_t *p = data;
    bool display;
    int ret;

    *config = (struct pci_config){ 0 };
    if (len < record_size(PCI_CFG_SPACE_SIZE, 0, false))
        return error_set(err, -EBADMSG,
                         "configuration record: %zu bytes are too short for "
                         "config space",
                         len);
    config->version = get_be32(p);
    if (config->version > PCI_CONFIG_VERSION)
        return error_set(err, -EOPNOTSUPP,
                         "configuration record: version %" PRIu32
                         " is not known",
                         config->version);
    config->space = p + VERSION_SIZE;
    config->msix_count = pci_msix_count(config->space, PCI_CFG_SPACE_SIZE);
    if (!find_layout(len, config, &display))
        return error_set(err, -EBADMSG,
                         "configuration record: %zu bytes fit no config space "
                         "with %" PRIu32 " MSI-X vectors",
                         len, config->msix_count);

    p = config->space + config->space_size;
    ret = decode_intx(p, config, err);
    if (ret < 0)
        return ret;
    p += INTX_SIZE;
    if (config->msix_count > 0) {
        config->msix_table = p;
        config->msix_pending = p + PCI_MSIX_ENTRY_SIZE * config->msix_count;
    }
    p += msix_size(config->msix_count);
    return display ? decode_display(p, config, err) : 0;
}

static int check(const struct pci_config *config, struct vfm_error *err)
{
    if (config->space_size != PCI_CFG_SPACE_SIZE &&
        config->space_size != PCI_CFG_SPACE_EXP_SIZE)
        return error_set(err, -EINVAL,
                         "configuration record: a config space of %zu bytes",
                         config->space_size);
    if (config->msix_count != pci_msix_count(config->space, PCI_CFG_SPACE_SIZE))
        return error_set(err, -EINVAL,
                         "configuration record: %" PRIu32
                         " MSI-X vectors, but the capability says %" PRIu32,
                         config->msix_count,
                         pci_msix_count(config->space, PCI_CFG_SPACE_SIZE));
    return 0;
}

static uint8_t *append(uint8_t *p, const void *data, size_t len)
{
    memcpy(p, data, len);
    return p + len;
}

static void encode_display(uint8_t *p, const uint8_t *display)
{
    size_t name_len = sizeof(DISPLAY_NAME) - 1;

    *p++ = ITEM_SUBSECTION;
    *p++ = (uint8_t)name_len;
    p = append(p, DISPLAY_NAME, name_len);
    put_be32(p, DISPLAY_VERSION);
    memcpy(p + 4, display, PCI_CONFIG_DISPLAY_SIZE);
}

int pci_config_encode(const struct pci_config *config, void *buf, size_t size,
                      size_t *len, struct vfm_error *err)
{
    uint8_t *p = buf;
    int ret = check(config, err);

    if (ret < 0)
        return ret;
    *len = record_size(config->space_size, config->msix_count,
                       config->display != NULL);
    if (*len > size)
        return error_set(err, -ENOBUFS,
                         "configuration record: %zu bytes do not fit into %zu",
                         *len, size);

    put_be32(p, PCI_CONFIG_VERSION);
    p = append(p + VERSION_SIZE, config->space, config->space_size);
    for (size_t i = 0; i < PCI_CONFIG_INTX; i++, p += 4)
        put_be32(p, config->intx[i]);
    if (config->msix_count > 0) {
        p = append(p, config->msix_table,
                   PCI_MSIX_ENTRY_SIZE * (size_t)config->msix_count);
        p = append(p, config->msix_pending, (config->msix_count + 7) / 8);
    }
    if (config->display != NULL)
        encode_display(p, config->display);
    return 0;
}
