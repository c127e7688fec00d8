/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices on a bus.  The BARs lie where guest.h says; the guest reaches BAR0 by
 * messages, and devices reach each other's BAR2 as memory.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "machine.h"

#include "emulator/registers.h"

#define BAR0       0
#define BAR2       2
#define CONFIG     7
#define IRQ_MSIX   2
#define READ_WRITE (VFM_DMA_READ | VFM_DMA_WRITE)

int bus_add(struct bus *bus, const char *spec, struct vfm_error *err)
{
    static const char scheme[] = "vfio-user:";
    struct bus_device *d = &bus->devices[bus->count];
    int ret;

    if (strncmp(spec, scheme, sizeof(scheme) - 1) == 0)
        spec += sizeof(scheme) - 1;
    *d = (struct bus_device){ .irq_fd = -1 };
    snprintf(d->id, sizeof(d->id), "0000:00:%02x.0", bus->count + 1);
    ret = vfm_device_open_vfio_user(spec, NULL, NULL, &d->dev, err);
    if (ret < 0)
        return ret;
    bus->count++;
    d->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return d->irq_fd < 0 ? vm_fail(err, -errno, "%s: no eventfd", d->id) : 0;
}

/* The part of @peer's BAR2 that can be mapped, for @d. */
static int reach_peer(struct bus *bus, unsigned int from, unsigned int to,
                      struct vfm_error *err)
{
    uint64_t bar = VM_BARS + to * VM_BARS_STEP + VM_BAR2_OFFSET;
    struct vfm_region_area area;
    uint64_t offset;
    int fd;
    int n = vfm_vfio_user_region_areas(bus->devices[to].dev, BAR2, &area, 1,
                                       &fd, &offset, err);

    if (n < 0)
        return n;
    if (n == 0)
        return vm_fail(err, -ENODEV, "%s: its BAR2 cannot be mapped",
                       bus->devices[to].id);
    return vfm_vfio_user_dma_map(bus->devices[from].dev, bar + area.offset,
                                 area.size, fd, offset + area.offset,
                                 READ_WRITE, err);
}

static int connect_device(struct bus *bus, unsigned int i, int memory_fd,
                          uint64_t size, struct vfm_error *err)
{
    struct bus_device *d = &bus->devices[i];
    int ret =
        vfm_vfio_user_dma_map(d->dev, 0, size, memory_fd, 0, READ_WRITE, err);

    for (unsigned int to = 0; ret == 0 && to < bus->count; to++)
        if (to != i)
            ret = reach_peer(bus, i, to, err);
    if (ret == 0)
        ret = vfm_vfio_user_set_irqs(d->dev, IRQ_MSIX, 0, 1, &d->irq_fd, err);
    return ret;
}

int bus_connect(struct bus *bus, int memory_fd, uint64_t size,
                struct vfm_error *err)
{
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < bus->count; i++)
        ret = connect_device(bus, i, memory_fd, size, err);
    return ret;
}

int bus_power_on(struct bus *bus, struct vfm_error *err)
{
    const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < bus->count; i++) {
        ret = vfm_device_reset(bus->devices[i].dev, err);
        if (ret == 0)
            ret = vfm_device_region_write(bus->devices[i].dev, CONFIG,
                                          PCI_COMMAND, &command,
                                          sizeof(command), err);
    }
    return ret;
}

int bus_access(struct bus *bus, bool write, uint64_t address, void *data,
               unsigned int size, struct vfm_error *err)
{
    uint64_t n = (address - VM_BARS) / VM_BARS_STEP;
    uint64_t offset = (address - VM_BARS) % VM_BARS_STEP;

    if (address < VM_BARS || n >= bus->count || offset >= EDEV_BAR0_SIZE)
        return vm_fail(err, -EFAULT, "guest: there is nothing at 0x%llx",
                       (unsigned long long)address);
    if (write)
        return vfm_device_region_write(bus->devices[n].dev, BAR0, offset, data,
                                       size, err);
    return vfm_device_region_read(bus->devices[n].dev, BAR0, offset, data, size,
                                  err);
}

void bus_close(struct bus *bus)
{
    for (unsigned int i = 0; i < bus->count; i++) {
        vfm_device_close(bus->devices[i].dev);
        if (bus->devices[i].irq_fd >= 0)
            close(bus->devices[i].irq_fd);
    }
    bus->count = 0;
}
