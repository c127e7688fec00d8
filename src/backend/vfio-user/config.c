/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What PCI configuration space tells of a device: its identity and the size of
 * its MSI-X table.
 *
 * Some servers refuse to tell about regions while the device is stopped, and
 * some to let them be read; then less is known, and that is all.
 */
#include <errno.h>
#include <string.h>

#include "backend/vfio-user/client.h"
#include "util/bytes.h"

#define CONFIG_SIZE         256
#define EXPRESS_CONFIG_SIZE 4096

/* Configuration space: offsets. */
#define PCI_VENDOR_ID       0x00
#define PCI_DEVICE_ID       0x02
#define PCI_STATUS          0x06
#define PCI_REVISION        0x08
#define PCI_CLASS           0x08 /* with the revision in the low byte */
#define PCI_SUBSYS_VENDOR   0x2c
#define PCI_SUBSYS_ID       0x2e
#define PCI_CAPABILITIES    0x34

#define PCI_STATUS_CAPS     0x10
#define PCI_CAP_ID_MSIX     0x11
#define PCI_CAP_FIRST       0x40
/* As many as fit: a list that is longer runs in a circle. */
#define PCI_MAX_CAPS        ((CONFIG_SIZE - PCI_CAP_FIRST) / 4)
#define PCI_MSIX_SIZE_MASK  0x7ff

/* Reads @len bytes at @offset.  Returns 0 or an error. */
static int read_piece(struct client *c, uint32_t offset, uint8_t *buf,
                      uint32_t len)
{
    struct vfu_region_access access = {
        .offset = offset,
        .region = UAPI_REGION_CONFIG,
        .count = len,
    };
    uint8_t reply[sizeof(access) + CONFIG_SIZE];
    ssize_t n = client_command(c, VFU_REGION_READ, &access, sizeof(access),
                               reply, sizeof(access) + len);

    if (n < 0)
        return (int)n;
    if ((size_t)n != sizeof(access) + len)
        return client_lose(c, -EPROTO, "REGION_READ of %u bytes yielded %zd",
                           len, n - (ssize_t)sizeof(access));
    memcpy(buf, reply + sizeof(access), len);
    return 0;
}

/* In one piece if the server is one for that, or by the word, as a PCI bus
 * would. */
static int read_config(struct client *c, uint8_t *config)
{
    int ret = -EINVAL;

    if (c->max_transfer >= CONFIG_SIZE)
        ret = read_piece(c, 0, config, CONFIG_SIZE);
    if (ret == 0 || c->lost.code != 0)
        return ret;
    for (uint32_t at = 0; at < CONFIG_SIZE; at += 4) {
        ret = read_piece(c, at, config + at, 4);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static uint32_t find_msix_count(const uint8_t *config)
{
    uint8_t at = config[PCI_CAPABILITIES] & 0xfc;

    if ((get_le16(config + PCI_STATUS) & PCI_STATUS_CAPS) == 0)
        return 0;
    for (int i = 0; i < PCI_MAX_CAPS && at >= PCI_CAP_FIRST; i++) {
        if (config[at] == PCI_CAP_ID_MSIX)
            return (get_le16(config + at + 2) & PCI_MSIX_SIZE_MASK) + 1U;
        at = config[at + 1] & 0xfc;
    }
    return 0;
}

static void parse_config(struct vfm_device_info *info, const uint8_t *config)
{
    info->vendor_id = get_le16(config + PCI_VENDOR_ID);
    info->device_id = get_le16(config + PCI_DEVICE_ID);
    info->subsystem_vendor_id = get_le16(config + PCI_SUBSYS_VENDOR);
    info->subsystem_id = get_le16(config + PCI_SUBSYS_ID);
    info->revision_id = config[PCI_REVISION];
    info->class_code = get_le32(config + PCI_CLASS) >> 8;
    info->msix_count = find_msix_count(config);
}

/* How large the server says it is; 0 if there is none, -1 if it will not
 * say. */
static int ask_config_size(struct client *c)
{
    struct vfu_region_info region;

    if (region_query(c, UAPI_REGION_CONFIG, &region) < 0)
        return -1;
    if (region.size >= EXPRESS_CONFIG_SIZE)
        return EXPRESS_CONFIG_SIZE;
    return region.size >= CONFIG_SIZE ? CONFIG_SIZE : 0;
}

int config_learn(struct client *c)
{
    struct vfm_device_info *info = &c->dev->info;
    uint8_t config[CONFIG_SIZE] = { 0 };
    uint8_t word[4];
    int size = ask_config_size(c);
    int ret;

    if (c->lost.code != 0 || size == 0)
        return c->lost.code;
    ret = read_config(c, config);
    if (ret == 0 && size < 0)
        size = read_piece(c, CONFIG_SIZE, word, sizeof(word)) == 0
                   ? EXPRESS_CONFIG_SIZE
                   : CONFIG_SIZE;
    if (ret == 0 && c->lost.code == 0) {
        info->config_size = (uint32_t)size;
        info->is_pci = true;
        parse_config(info, config);
    }
    return c->lost.code;
}
