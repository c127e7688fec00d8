/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_DEMO_VM_H
#define VFM_EXAMPLES_DEMO_VM_H

/*
 * As little of a VM as a device needs to be at work: some memory that the
 * device writes to, and a driver.
 *
 * The memory is a descriptor that both hosts' processes have: this demo moves a
 * device, not memory.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/device.h>

#define VM_MEMORY_SIZE (UINT64_C(16) << 20)
#define VM_RING_RATE   (UINT64_C(64) << 20) /* bytes per second */

struct vm {
    struct vfm_device *dev;
    int memory_fd;
    const uint8_t *memory;
};

/* Opens the device at @socket and lets it reach the memory.  0 or an errno. */
int vm_open(struct vm *vm, const char *socket, int memory_fd,
            struct vfm_error *err);
void vm_close(struct vm *vm);

/* Sets the device to work: it writes numbered pages round and round. */
int vm_start_work(struct vm *vm, struct vfm_error *err);

/* Stops it, and waits until it has. */
int vm_stop_work(struct vm *vm, struct vfm_error *err);

/* How far the device is. */
struct vm_sight {
    uint64_t counter; /* microseconds that it ran, since it was reset */
    uint64_t pages;   /* written to memory */
};
int vm_look(struct vm *vm, struct vm_sight *sight, struct vfm_error *err);

/* Checks every byte that the device wrote last: no page is missing, doubled or
 * wrong.  Fails with a sentence that says which. */
int vm_check_memory(struct vm *vm, uint64_t *checked, struct vfm_error *err);

/* Checks @n pages of the device's own memory against what they must hold. */
int vm_check_device(struct vm *vm, unsigned int n, struct vfm_error *err);

#endif
