/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine as a whole: memory, and what the guest is told about it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"

int vm_fail(struct vfm_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err == NULL)
        return code;
    va_start(ap, fmt);
    err->code = code;
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    return code;
}

static int open_memory(struct vm *vm, uint64_t size, struct vfm_error *err)
{
    void *memory;

    vm->memory_size = size;
    vm->memory_fd = memfd_create("guest memory", MFD_CLOEXEC);
    if (vm->memory_fd < 0 || ftruncate(vm->memory_fd, (off_t)size) < 0)
        return vm_fail(err, -errno, "memory: %s", strerror(errno));
    memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->memory_fd, 0);
    if (memory == MAP_FAILED)
        return vm_fail(err, -errno, "memory: %s", strerror(errno));
    vm->memory = memory;
    return 0;
}

int vm_open(struct vm *vm, const struct vm_options *options,
            struct vfm_error *err)
{
    int fds[GUEST_DEVICES_MAX];
    int ret = open_memory(vm, options->memory_size, err);

    for (unsigned int i = 0; ret == 0 && i < options->num_devices; i++)
        ret = bus_add(&vm->bus, options->devices[i], err);
    if (ret == 0)
        ret = bus_connect(&vm->bus, vm->memory_fd, vm->memory_size, err);
    if (ret < 0)
        return ret;
    for (unsigned int i = 0; i < vm->bus.count; i++)
        fds[i] = vm->bus.devices[i].irq_fd;
    ret = irqs_open(&vm->irqs, fds, vm->bus.count);
    if (ret < 0)
        return vm_fail(err, ret, "interrupts: %s", strerror(-ret));
    return vcpus_open(vm, options->num_cpus, options->no_kvm, err);
}

/* What the guest program finds in memory.  The devices' lanes have the upper
 * half of it. */
int vm_boot(struct vm *vm, const struct vm_options *o, struct vfm_error *err)
{
    struct guest_config *c =
        (struct guest_config *)(void *)(vm->memory + GUEST_CONFIG);
    uint64_t half = vm->memory_size / 2;

    *c = (struct guest_config){
        .memory_size = vm->memory_size,
        .own_pages = o->own_size / GUEST_PAGE / o->num_cpus,
        .own_rate = o->own_rate / o->num_cpus,
        .lanes = half,
        .lane_size = half / GUEST_DEVICES_MAX,
        .num_cpus = o->num_cpus,
        .num_devices = vm->bus.count,
    };
    if (GUEST_OWN + o->own_size > half)
        return vm_fail(err, -EINVAL,
                       "memory: %llu bytes do not go into the lower half",
                       (unsigned long long)o->own_size);
    vm->vcpus.ops->boot(vm);
    return bus_power_on(&vm->bus, err);
}

int vm_start(struct vm *vm, struct vfm_error *err)
{
    return vcpus_start(vm, err);
}

int vm_stop(struct vm *vm, struct vfm_error *err)
{
    return vcpus_stop(vm, err);
}

void vm_close(struct vm *vm)
{
    vcpus_close(vm);
    irqs_close(&vm->irqs);
    bus_close(&vm->bus);
    if (vm->memory != NULL)
        munmap(vm->memory, vm->memory_size);
    if (vm->memory_fd > 0)
        close(vm->memory_fd);
}

static const char *error_name(uint32_t error)
{
    static const char *const names[] = {
        "nothing",      "the status",     "the number of jobs done",
        "the cause",    "the interrupts", "a byte",
        "its own page",
    };

    return error < sizeof(names) / sizeof(names[0]) ? names[error] : "?";
}

static int check_lane(const struct vm *vm, const struct guest_config *c,
                      unsigned int d, bool all, struct vfm_error *err)
{
    const struct guest_lane *lane =
        (const void *)(vm->memory + GUEST_LANES + d * GUEST_PAGE);

    if (lane->error != GUEST_FINE)
        return vm_fail(err, -EBADMSG,
                       "chain: broken: %s: job %llu: %s is wrong: 0x%x",
                       vm->bus.devices[d].id, (unsigned long long)lane->job,
                       error_name(lane->error), lane->detail);
    if (all && lane->hash != guest_expected_hash(c, d, lane->job))
        return vm_fail(err, -EBADMSG,
                       "chain: broken: %s: the hash of %llu jobs is wrong",
                       vm->bus.devices[d].id, (unsigned long long)lane->job);
    return 0;
}

static int check_cpu(const struct vm *vm, unsigned int cpu,
                     struct vfm_error *err)
{
    const struct guest_cpu *state =
        (const void *)(vm->memory + GUEST_CPUS + cpu * GUEST_PAGE);

    if (state->error == GUEST_FINE)
        return 0;
    return vm_fail(err, -EBADMSG,
                   "chain: broken: processor %u: page %llu of its own is wrong",
                   cpu, (unsigned long long)state->pages);
}

int vm_check(const struct vm *vm, bool all, uint64_t *jobs, uint64_t *hash,
             struct vfm_error *err)
{
    const struct guest_config *c = (const void *)(vm->memory + GUEST_CONFIG);
    int ret = 0;

    *jobs = *hash = 0;
    for (unsigned int d = 0; ret == 0 && d < vm->bus.count; d++) {
        const struct guest_lane *lane =
            (const void *)(vm->memory + GUEST_LANES + d * GUEST_PAGE);

        ret = check_lane(vm, c, d, all, err);
        *jobs += lane->job;
        *hash ^= lane->hash;
    }
    for (unsigned int i = 0; ret == 0 && i < vm->vcpus.count; i++)
        ret = check_cpu(vm, i, err);
    return ret;
}
