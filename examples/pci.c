/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM that keeps the PCI configuration of its device:
 *
 *     example-pci receive DEVICE-SOCKET URI
 *     example-pci send    DEVICE-SOCKET URI
 *
 * The guest of the source has given BAR 0 an address and set up the first
 * interrupt; the target prints that it finds both.
 */
#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vfmig/channel.h>
#include <vfmig/device.h>
#include <vfmig/migration.h>
#include <vfmig/pci.h>
#include <vfmig/vfio_user.h>

#define REGION_CONFIG 7
#define IRQ_MSIX      2

/* What the guest sees of the device. */
struct slot {
    struct vfm_device *dev;
    uint8_t config[VFM_PCI_CONFIG_EXTENDED_SIZE];
    size_t config_size;
    uint32_t num_vectors;
    uint8_t table[VFM_PCI_MSIX_MAX * VFM_PCI_MSIX_ENTRY_SIZE];
    uint8_t pending[VFM_PCI_MSIX_MAX / 8];
    int irq_fd; /* of the first vector */
};

static int save(void *opaque, struct vfm_pci_state *state,
                struct vfm_error *err)
{
    const struct slot *slot = opaque;

    (void)err;
    state->config = slot->config;
    state->config_size = slot->config_size;
    state->msix_count = slot->num_vectors;
    state->msix_table = slot->table;
    state->msix_pending = slot->pending;
    return 0;
}

/* The library has compared sizes: this VMM has a save(), too. */
static int load(void *opaque, const struct vfm_pci_state *state,
                struct vfm_error *err)
{
    struct slot *slot = opaque;
    uint32_t vectors = state->msix_count;

    memcpy(slot->config, state->config, state->config_size);
    memcpy(slot->table, state->msix_table,
           (size_t)vectors * VFM_PCI_MSIX_ENTRY_SIZE);
    memcpy(slot->pending, state->msix_pending, (vectors + 7) / 8);
    /* Of a kernel device: VFIO_DEVICE_SET_IRQS. */
    return vfm_vfio_user_set_irqs(slot->dev, IRQ_MSIX, 0, 1, &slot->irq_fd,
                                  err);
}

/* What a VMM does when it realizes the device. */
static int realize(struct slot *slot, struct vfm_error *err)
{
    struct vfm_device_info info = { .size = sizeof(info) };

    vfm_device_get_info(slot->dev, &info);
    slot->config_size = info.config_size;
    slot->num_vectors = info.msix_count;
    slot->irq_fd = eventfd(0, EFD_CLOEXEC);
    return vfm_device_region_read(slot->dev, REGION_CONFIG, 0, slot->config,
                                  slot->config_size, err);
}

/* And what its guest does. */
static void use(struct slot *slot)
{
    static const uint8_t bar[] = { 0x00, 0x00, 0xbd, 0xfe };
    static const uint8_t entry[] = { 0x00, 0x10, 0xe0, 0xfe };

    memcpy(slot->config + PCI_BASE_ADDRESS_0, bar, sizeof(bar));
    memcpy(slot->table, entry, sizeof(entry));
    slot->config[PCI_COMMAND] |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
}

static void print(const struct slot *slot)
{
    const uint8_t *bar = slot->config + PCI_BASE_ADDRESS_0;
    uint8_t command = 0;

    vfm_device_region_read(slot->dev, REGION_CONFIG, PCI_COMMAND, &command, 1,
                           NULL);
    printf("BAR 0 at 0x%02x%02x%02x%02x, vector 0 to 0x%02x%02x%02x%02x, "
           "command 0x%02x\n",
           bar[3], bar[2], bar[1], bar[0], slot->table[3], slot->table[2],
           slot->table[1], slot->table[0], command);
}

static int migrate(enum vfm_role role, struct slot *slot,
                   struct vfm_channel *channel, struct vfm_error *err)
{
    const struct vfm_migration_options options = { .size = sizeof(options),
                                                   .role = role };
    const struct vfm_pci_keeper keeper = {
        .size = sizeof(keeper), .save = save, .load = load, .opaque = slot
    };
    struct vfm_migration *m = NULL;
    int ret;

    ret = vfm_migration_new(channel, &options, &m, err);
    if (ret == 0)
        ret = vfm_migration_add_device(m, slot->dev, "0000:00:01.0", err);
    if (ret == 0)
        ret = vfm_migration_set_pci(m, "0000:00:01.0", &keeper, err);
    if (ret == 0)
        ret = vfm_migration_run(m, err);
    vfm_migration_close(m);
    return ret;
}

int main(int argc, char **argv)
{
    static struct slot slot = { .irq_fd = -1 };
    struct vfm_channel *channel = NULL;
    struct vfm_error err = { 0 };
    bool sends;
    int ret;

    if (argc != 4) {
        fprintf(stderr, "usage: example-pci send|receive SOCKET URI\n");
        return 2;
    }
    sends = strcmp(argv[1], "send") == 0;
    ret = vfm_device_open_vfio_user(argv[2], NULL, NULL, &slot.dev, &err);
    if (ret == 0)
        ret = realize(&slot, &err);
    if (ret == 0 && sends)
        use(&slot);
    if (ret == 0)
        ret = sends ? vfm_channel_connect(argv[3], NULL, &channel, &err)
                    : vfm_channel_accept(argv[3], NULL, &channel, &err);
    if (ret == 0)
        ret = migrate(sends ? VFM_ROLE_SOURCE : VFM_ROLE_TARGET, &slot, channel,
                      &err);
    if (ret == 0 && !sends)
        print(&slot);
    if (ret < 0)
        fprintf(stderr, "example-pci: %s\n", err.message);
    vfm_channel_close(channel);
    vfm_device_close(slot.dev);
    if (slot.irq_fd >= 0)
        close(slot.irq_fd);
    return ret < 0;
}
