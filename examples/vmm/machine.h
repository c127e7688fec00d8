/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_VMM_MACHINE_H
#define VFM_EXAMPLES_VMM_MACHINE_H

/*
 * A virtual machine: memory, a bus with one to four devices, interrupts, and
 * processors.
 *
 *   machine.c        puts it together; memory
 *   bus.c            devices over vfio-user, their BARs, who reaches whom
 *   irq.c            interrupts, the timer: what a chipset would do
 *   vcpu.c           processors: threads, stopping and starting them, MMIO
 *   vcpu-thread.c    ... that call the guest program
 *   vcpu-kvm.c       ... of KVM
 *   uffd.c           what the guest writes, where KVM does not tell
 *   guest.c          the guest program
 *   migrate.c        all that is to be known about migration
 *   monitor.c        commands
 *   main.c           the command line, and the loop
 *
 * The loop's thread owns the devices and the migration: a processor that wants
 * to reach a device asks it (vcpu.c).
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/migration.h>

#include "bus.h"
#include "guest.h"
#include "irq.h"
#include "vcpu.h"

struct vm {
    uint64_t memory_size;
    int memory_fd;
    uint8_t *memory;

    struct bus bus;
    struct irqs irqs;
    struct vcpus vcpus;

    bool runs; /* the processors do, or are to when it has arrived */
};

struct vm_options {
    uint64_t memory_size;
    uint64_t own_rate; /* what the processors write, together */
    uint64_t own_size; /* to so much memory */
    const char *devices[GUEST_DEVICES_MAX];
    unsigned int num_devices;
    unsigned int num_cpus;
    bool no_kvm;
};

/* Makes a machine that does not run yet.  Returns 0 or a negative errno. */
int vm_open(struct vm *vm, const struct vm_options *options,
            struct vfm_error *err);

/* Gives it a guest: memory, and registers of the devices.  Not for one whose
 * state is to arrive. */
int vm_boot(struct vm *vm, const struct vm_options *options,
            struct vfm_error *err);

void vm_close(struct vm *vm);

/* Starts and stops the processors; the devices are left as they are. */
int vm_start(struct vm *vm, struct vfm_error *err);
int vm_stop(struct vm *vm, struct vfm_error *err);

/* What the lanes have come to, and whether it is right: 0, or -EBADMSG and a
 * sentence.  That the guest has found nothing wrong, and if @all, that the hash
 * is that of all jobs from the first on, which takes some microseconds for
 * each. The processors must be stopped. */
int vm_check(const struct vm *vm, bool all, uint64_t *jobs, uint64_t *hash,
             struct vfm_error *err);

__attribute__((format(printf, 3, 4))) int vm_fail(struct vfm_error *err,
                                                  int code, const char *fmt,
                                                  ...);

#endif
