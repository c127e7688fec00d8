/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_VMM_VCPU_H
#define VFM_EXAMPLES_VMM_VCPU_H

/*
 * Processors: a thread each, that runs the guest program on KVM or calls it.
 *
 * A processor that accesses a device posts a request and waits; the loop's
 * thread, which owns the devices, serves it.
 *
 * Lock order     vcpus.lock only; irqs.lock is never held with it.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <vfmig/dirty.h>

#include "guest.h"

struct vm;
struct vcpu;

/* How processors run: vcpu-thread.c, vcpu-kvm.c. */
struct vcpu_ops {
    const char *name;

    int (*open)(struct vm *vm, struct vfm_error *err);
    void (*close)(struct vm *vm);

    /* Puts into memory what a processor needs to begin. */
    void (*boot)(struct vm *vm);

    /* Runs until vcpu_must_stop(), on the processor's own thread.  0 or an
     * error that ends the VM. */
    int (*run)(struct vcpu *cpu, struct vfm_error *err);

    /* Sees to it that run() notices soon. */
    void (*kick)(struct vcpu *cpu);

    /* The tracker of what processors write; NULL in *@trackerp: there is none,
     * and the message says why. */
    int (*new_tracker)(struct vm *vm, struct vfm_dirty_tracker **trackerp,
                       struct vfm_error *err);

    /* The registers, as bytes; the processors are parked. */
    ssize_t (*save)(struct vm *vm, void *buf, size_t size,
                    struct vfm_error *err);
    int (*load)(struct vm *vm, const void *data, size_t len,
                struct vfm_error *err);
};

extern const struct vcpu_ops vcpu_thread_ops;
extern const struct vcpu_ops vcpu_kvm_ops;

struct vcpu_request {
    bool posted;
    bool write;
    uint64_t address;
    uint64_t value;
    unsigned int size;
};

struct vcpu {
    struct vm *vm;
    unsigned int number;
    pthread_t thread;
    bool is_parked;
    struct vcpu_request request;
    void *state; /* of vcpu_ops */
};

struct vcpus {
    const struct vcpu_ops *ops;
    void *state; /* of vcpu_ops */
    struct vcpu cpus[GUEST_CPUS_MAX];
    unsigned int count;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a request was served, or they may run */
    atomic_bool stop;
    atomic_uint slow_percent; /* of the time they are to rest */
    bool quit;
    struct vfm_error failure; /* of a processor; code 0: none */
    struct vfm_error no_kvm;  /* why they are threads, if not by choice */
    int wake_fd;              /* an eventfd: the loop has something to do */
};

/* Makes @count processors, parked. */
int vcpus_open(struct vm *vm, unsigned int count, bool no_kvm,
               struct vfm_error *err);
void vcpus_close(struct vm *vm);

/* Lets them run; parks them, and returns when they are. */
int vcpus_start(struct vm *vm, struct vfm_error *err);
int vcpus_stop(struct vm *vm, struct vfm_error *err);

/* The loop's: serves what was asked for since.  0, or the error that ended a
 * processor. */
int vcpus_serve(struct vm *vm, struct vfm_error *err);

/* A processor's own: whether to leave the guest, and an access of it. */
bool vcpu_must_stop(const struct vcpu *cpu);
uint64_t vcpu_mmio(struct vcpu *cpu, bool write, uint64_t address,
                   uint64_t value, unsigned int size);

#endif
