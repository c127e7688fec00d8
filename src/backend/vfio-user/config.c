/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading PCI configuration space.
 *
 * Some servers refuse to tell about regions while the device is stopped, and
 * some to let them be read; then less is known, and that is all.
 */
#include <errno.h>
#include <string.h>

#include "backend/pci-identity.h"
#include "backend/vfio-user/client.h"

/* Reads @len bytes at @offset.  Returns 0 or an error. */
static int read_piece(struct client *c, uint32_t offset, uint8_t *buf,
                      uint32_t len)
{
    struct vfu_region_access access = {
        .offset = offset,
        .region = UAPI_REGION_CONFIG,
        .count = len,
    };
    uint8_t reply[sizeof(access) + PCI_CFG_SPACE_SIZE];
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

    if (c->max_transfer >= PCI_CFG_SPACE_SIZE)
        ret = read_piece(c, 0, config, PCI_CFG_SPACE_SIZE);
    if (ret == 0 || c->lost.code != 0)
        return ret;
    for (uint32_t at = 0; at < PCI_CFG_SPACE_SIZE; at += 4) {
        ret = read_piece(c, at, config + at, 4);
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* How large the server says it is; 0 if there is none, -1 if it will not
 * say. */
static int ask_config_size(struct client *c)
{
    struct vfu_region_info region;

    if (region_query(c, UAPI_REGION_CONFIG, &region) < 0)
        return -1;
    if (region.size >= PCI_CFG_SPACE_EXP_SIZE)
        return PCI_CFG_SPACE_EXP_SIZE;
    return region.size >= PCI_CFG_SPACE_SIZE ? PCI_CFG_SPACE_SIZE : 0;
}

int config_learn(struct client *c)
{
    struct vfm_device_info *info = &c->dev->info;
    uint8_t config[PCI_CFG_SPACE_SIZE] = { 0 };
    uint8_t word[4];
    int size = ask_config_size(c);
    int ret;

    if (c->lost.code != 0 || size == 0)
        return c->lost.code;
    ret = read_config(c, config);
    if (ret == 0 && size < 0)
        size = read_piece(c, PCI_CFG_SPACE_SIZE, word, sizeof(word)) == 0
                   ? PCI_CFG_SPACE_EXP_SIZE
                   : PCI_CFG_SPACE_SIZE;
    if (ret == 0 && c->lost.code == 0) {
        info->config_size = (uint32_t)size;
        info->is_pci = true;
        pci_identity_learn(c->dev, config);
    }
    return c->lost.code;
}
