/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_VMM_BUS_H
#define VFM_EXAMPLES_VMM_BUS_H

/*
 * The PCI bus, as much of it as this guest looks at: devices with BARs at fixed
 * addresses, which reach memory and each other.
 */

#include <vfmig/vfio_user.h>

#include "guest.h"

struct bus_device {
    struct vfm_device *dev;
    char id[16]; /* as QEMU numbers slots: what the other side knows it by */
    int irq_fd;
};

struct bus {
    struct bus_device devices[GUEST_DEVICES_MAX];
    unsigned int count;
};

/* Plugs in the device at @spec: "vfio-user:PATH" or a path. */
int bus_add(struct bus *bus, const char *spec, struct vfm_error *err);

/* Lets every device reach the @size bytes of memory in @memory_fd, and the BAR2
 * of every other, and ties their interrupts to eventfds. */
int bus_connect(struct bus *bus, int memory_fd, uint64_t size,
                struct vfm_error *err);

/* Whatever the devices did before, for whomever: they are reset, and, as
 * firmware does, memory and bus mastering are switched on. */
int bus_power_on(struct bus *bus, struct vfm_error *err);

/* An access of the guest.  -EFAULT if no BAR is there. */
int bus_access(struct bus *bus, bool write, uint64_t address, void *data,
               unsigned int size, struct vfm_error *err);

void bus_close(struct bus *bus);

#endif
