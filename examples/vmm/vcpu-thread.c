/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A processor that is a thread: it calls the guest program, whose accesses to
 * registers are calls back.  It has no state of its own but what is in memory.
 */
#include <errno.h>
#include <time.h>

#include "machine.h"
#include "uffd.h"

static _Thread_local struct vcpu *current;

uint64_t guest_mmio_read(uint64_t address, unsigned int size)
{
    return vcpu_mmio(current, false, address, 0, size);
}

void guest_mmio_write(uint64_t address, uint64_t value, unsigned int size)
{
    vcpu_mmio(current, true, address, value, size);
}

static int thread_open(struct vm *vm, struct vfm_error *err)
{
    (void)vm;
    (void)err;
    return 0;
}

static void thread_close(struct vm *vm)
{
    (void)vm;
}

static void thread_boot(struct vm *vm)
{
    (void)vm; /* the program is a part of this one */
}

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Rests as long as a step that took @ns has to be paid for. */
static void rest(unsigned int percent, int64_t ns)
{
    struct timespec pause;

    ns = ns * percent / (100 - percent);
    pause.tv_sec = ns / 1000000000;
    pause.tv_nsec = ns % 1000000000;
    nanosleep(&pause, NULL);
}

static int thread_run(struct vcpu *cpu, struct vfm_error *err)
{
    (void)err;
    current = cpu;
    while (!vcpu_must_stop(cpu)) {
        unsigned int percent = atomic_load(&cpu->vm->vcpus.slow_percent);
        int64_t began_at = percent > 0 ? now_ns() : 0;

        guest_step(cpu->vm->memory, cpu->number);
        if (percent > 0)
            rest(percent, now_ns() - began_at);
    }
    return 0;
}

static void thread_kick(struct vcpu *cpu)
{
    (void)cpu; /* a step is short */
}

static int thread_new_tracker(struct vm *vm,
                              struct vfm_dirty_tracker **trackerp,
                              struct vfm_error *err)
{
    return uffd_new_tracker(vm->memory, vm->memory_size, trackerp, err);
}

static ssize_t thread_save(struct vm *vm, void *buf, size_t size,
                           struct vfm_error *err)
{
    (void)vm;
    (void)buf;
    (void)size;
    (void)err;
    return 0;
}

static int thread_load(struct vm *vm, const void *data, size_t len,
                       struct vfm_error *err)
{
    (void)vm;
    (void)data;
    if (len != 0)
        return vm_fail(err, -EINVAL,
                       "the source's processors are KVM's, and ours are not");
    return 0;
}

const struct vcpu_ops vcpu_thread_ops = {
    .name = "thread",
    .open = thread_open,
    .close = thread_close,
    .boot = thread_boot,
    .run = thread_run,
    .kick = thread_kick,
    .new_tracker = thread_new_tracker,
    .save = thread_save,
    .load = thread_load,
};
