/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A processor of KVM, started in 64-bit long mode: page tables that map every
 * address to itself, flat segments, interrupts off, and the guest program where
 * guest.h says.  What it accesses beside memory comes back as an exit.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"

#define SLOT          0
#define KICK_SIGNAL   SIGUSR1
#define STACK_SIZE    0x10000

#define CR0_PE        0x00000001
#define CR0_NE        0x00000020
#define CR0_PG        0x80000000u
#define CR4_PAE       0x20
#define EFER_LME      0x100
#define EFER_LMA      0x400
#define PTE_PRESENT   0x1
#define PTE_WRITE     0x2
#define PTE_LARGE     0x80
#define GIB           UINT64_C(0x40000000)
#define LARGE_PAGE    UINT64_C(0x200000)
#define TABLE_ENTRIES 512
#define MAPPED_GIB    4
#define CPUID_MAX     256

/* The guest program, as bytes: see meson.build. */
extern const uint8_t guest_image[];
extern const uint64_t guest_image_size;

struct kvm {
    int kvm_fd;
    int vm_fd;
};

struct kvm_cpu {
    int fd;
    struct kvm_run *run;
    size_t run_size;
};

/* What moves, of each processor. */
struct kvm_cpu_state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
};

static struct kvm_cpu *state_of(const struct vcpu *cpu)
{
    return cpu->state;
}

static int fail_ioctl(const char *what, struct vfm_error *err)
{
    return vm_fail(err, -errno, "kvm: %s: %s", what, strerror(errno));
}

static void ignore(int signal)
{
    (void)signal; /* it only ends KVM_RUN */
}

/* Four tables of 512 large pages map the lower 4 GiB. */
static void make_tables(uint8_t *memory)
{
    uint64_t *top = (uint64_t *)(void *)(memory + GUEST_TABLES);
    uint64_t *middle = top + TABLE_ENTRIES;
    uint64_t *bottom = middle + TABLE_ENTRIES;

    top[0] = (GUEST_TABLES + GUEST_PAGE) | PTE_PRESENT | PTE_WRITE;
    for (uint64_t i = 0; i < MAPPED_GIB; i++)
        middle[i] =
            (GUEST_TABLES + (2 + i) * GUEST_PAGE) | PTE_PRESENT | PTE_WRITE;
    for (uint64_t i = 0; i < MAPPED_GIB * TABLE_ENTRIES; i++)
        bottom[i] = i * LARGE_PAGE | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
}

static struct kvm_segment flat_segment(uint8_t type, bool code)
{
    return (struct kvm_segment){
        .limit = 0xffffffff,
        .selector = code ? 0x8 : 0x10,
        .type = type,
        .present = 1,
        .db = !code,
        .s = 1,
        .l = code,
        .g = 1,
    };
}

static int enter_long_mode(const struct vcpu *cpu, struct vfm_error *err)
{
    struct kvm_regs regs = {
        .rip = GUEST_CODE,
        .rflags = 2,
        .rsp = GUEST_STACKS + (cpu->number + 1) * STACK_SIZE - 8,
        .rdi = cpu->number,
    };
    struct kvm_sregs sregs;

    if (ioctl(state_of(cpu)->fd, KVM_GET_SREGS, &sregs) < 0)
        return fail_ioctl("KVM_GET_SREGS", err);
    sregs.cr0 = CR0_PE | CR0_NE | CR0_PG;
    sregs.cr3 = GUEST_TABLES;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LME | EFER_LMA;
    sregs.cs = flat_segment(0xb, true);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss =
        flat_segment(0x3, false);
    if (ioctl(state_of(cpu)->fd, KVM_SET_SREGS, &sregs) < 0)
        return fail_ioctl("KVM_SET_SREGS", err);
    if (ioctl(state_of(cpu)->fd, KVM_SET_REGS, &regs) < 0)
        return fail_ioctl("KVM_SET_REGS", err);
    return 0;
}

/* All that KVM can give: without any, a processor has no long mode. */
static int set_features(const struct kvm *k, const struct kvm_cpu *kc,
                        struct vfm_error *err)
{
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
    int ret = 0;

    if (cpuid == NULL)
        return vm_fail(err, -ENOMEM, "kvm: out of memory");
    cpuid->nent = CPUID_MAX;
    if (ioctl(k->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
        ret = fail_ioctl("KVM_GET_SUPPORTED_CPUID", err);
    else if (ioctl(kc->fd, KVM_SET_CPUID2, cpuid) < 0)
        ret = fail_ioctl("KVM_SET_CPUID2", err);
    free(cpuid);
    return ret;
}

static int open_cpu(struct vm *vm, struct vcpu *cpu, struct vfm_error *err)
{
    struct kvm *k = vm->vcpus.state;
    struct kvm_cpu *kc = calloc(1, sizeof(*kc));
    int size = ioctl(k->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    int ret;

    if (kc == NULL)
        return vm_fail(err, -ENOMEM, "kvm: out of memory");
    cpu->state = kc;
    kc->fd = ioctl(k->vm_fd, KVM_CREATE_VCPU, cpu->number);
    if (kc->fd < 0 || size < 0)
        return fail_ioctl("KVM_CREATE_VCPU", err);
    kc->run_size = (size_t)size;
    kc->run =
        mmap(NULL, kc->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, kc->fd, 0);
    if (kc->run == MAP_FAILED) {
        kc->run = NULL;
        return fail_ioctl("mmap", err);
    }
    ret = set_features(k, kc, err);
    return ret == 0 ? enter_long_mode(cpu, err) : ret;
}

static int open_vm(struct vm *vm, struct vfm_error *err)
{
    const struct kvm_userspace_memory_region region = {
        .slot = SLOT,
        .memory_size = vm->memory_size,
        .userspace_addr = (uintptr_t)vm->memory,
    };
    const struct sigaction action = { .sa_handler = ignore };
    struct kvm *k = vm->vcpus.state;

    k->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (k->kvm_fd < 0)
        return vm_fail(err, -errno, "/dev/kvm: %s", strerror(errno));
    k->vm_fd = ioctl(k->kvm_fd, KVM_CREATE_VM, 0);
    if (k->vm_fd < 0)
        return fail_ioctl("KVM_CREATE_VM", err);
    if (ioctl(k->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return fail_ioctl("KVM_SET_USER_MEMORY_REGION", err);
    sigaction(KICK_SIGNAL, &action, NULL);
    return 0;
}

static void kvm_boot(struct vm *vm)
{
    make_tables(vm->memory);
    memcpy(vm->memory + GUEST_CODE, guest_image, guest_image_size);
}

static void close_cpu(struct vcpu *cpu)
{
    struct kvm_cpu *kc = state_of(cpu);

    if (kc == NULL)
        return;
    if (kc->run != NULL)
        munmap(kc->run, kc->run_size);
    if (kc->fd >= 0)
        close(kc->fd);
    free(kc);
    cpu->state = NULL;
}

static void kvm_close(struct vm *vm)
{
    struct kvm *k = vm->vcpus.state;

    for (unsigned int i = 0; i < GUEST_CPUS_MAX; i++)
        close_cpu(&vm->vcpus.cpus[i]);
    if (k->vm_fd >= 0)
        close(k->vm_fd);
    if (k->kvm_fd >= 0)
        close(k->kvm_fd);
    free(k);
    vm->vcpus.state = NULL;
}

static int kvm_open(struct vm *vm, struct vfm_error *err)
{
    struct kvm *k = calloc(1, sizeof(*k));
    int ret;

    if (k == NULL)
        return vm_fail(err, -ENOMEM, "kvm: out of memory");
    *k = (struct kvm){ -1, -1 };
    vm->vcpus.state = k;
    ret = open_vm(vm, err);
    for (unsigned int i = 0; ret == 0 && i < vm->vcpus.count; i++)
        ret = open_cpu(vm, &vm->vcpus.cpus[i], err);
    if (ret < 0)
        kvm_close(vm);
    return ret;
}

static void access_register(struct vcpu *cpu, struct kvm_run *run)
{
    uint64_t value = 0;

    memcpy(&value, run->mmio.data, run->mmio.len);
    value = vcpu_mmio(cpu, run->mmio.is_write != 0, run->mmio.phys_addr, value,
                      run->mmio.len);
    if (!run->mmio.is_write)
        memcpy(run->mmio.data, &value, run->mmio.len);
}

/* An access is complete only when the processor was entered again: a stop waits
 * for that, or the registers that are saved would be those before it. */
static int kvm_run(struct vcpu *cpu, struct vfm_error *err)
{
    struct kvm_cpu *kc = state_of(cpu);

    for (;;) {
        kc->run->immediate_exit = vcpu_must_stop(cpu);
        if (ioctl(kc->fd, KVM_RUN, 0) < 0) {
            if (errno != EINTR && errno != EAGAIN)
                return fail_ioctl("KVM_RUN", err);
            if (vcpu_must_stop(cpu))
                return 0;
            continue;
        }
        if (kc->run->exit_reason != KVM_EXIT_MMIO)
            return vm_fail(err, -EIO, "kvm: processor %u left for reason %u",
                           cpu->number, kc->run->exit_reason);
        access_register(cpu, kc->run);
    }
}

/* A signal that comes just before KVM_RUN ends it through immediate_exit. */
static void kvm_kick(struct vcpu *cpu)
{
    state_of(cpu)->run->immediate_exit = 1;
    pthread_kill(cpu->thread, KICK_SIGNAL);
}

/* ------------------------------------------------------------ dirty log */

static int kvm_new_tracker(struct vm *vm, struct vfm_dirty_tracker **trackerp,
                           struct vfm_error *err)
{
    const struct kvm *k = vm->vcpus.state;
    const struct vfm_dirty_slot slot = {
        .slot = SLOT,
        .length = vm->memory_size,
        .userspace_address = (uintptr_t)vm->memory,
    };

    return vfm_dirty_tracker_new_kvm_log(k->vm_fd, &slot, 1, 0, trackerp, err);
}

/* ------------------------------------------------------------ registers */

static ssize_t kvm_save(struct vm *vm, void *buf, size_t size,
                        struct vfm_error *err)
{
    struct kvm_cpu_state *states = buf;

    if (size < vm->vcpus.count * sizeof(*states))
        return vm_fail(err, -ENOBUFS, "kvm: no room for the registers");
    for (unsigned int i = 0; i < vm->vcpus.count; i++) {
        int fd = state_of(&vm->vcpus.cpus[i])->fd;

        if (ioctl(fd, KVM_GET_REGS, &states[i].regs) < 0 ||
            ioctl(fd, KVM_GET_SREGS, &states[i].sregs) < 0)
            return fail_ioctl("KVM_GET_REGS", err);
    }
    return (ssize_t)(vm->vcpus.count * sizeof(*states));
}

static int kvm_load(struct vm *vm, const void *data, size_t len,
                    struct vfm_error *err)
{
    struct kvm_cpu_state state;

    if (len != vm->vcpus.count * sizeof(state))
        return vm_fail(err, -EINVAL,
                       "the source has no processors of KVM, as we do");
    for (unsigned int i = 0; i < vm->vcpus.count; i++) {
        int fd = state_of(&vm->vcpus.cpus[i])->fd;

        memcpy(&state, (const uint8_t *)data + i * sizeof(state),
               sizeof(state));
        if (ioctl(fd, KVM_SET_SREGS, &state.sregs) < 0 ||
            ioctl(fd, KVM_SET_REGS, &state.regs) < 0)
            return fail_ioctl("KVM_SET_REGS", err);
    }
    return 0;
}

const struct vcpu_ops vcpu_kvm_ops = {
    .name = "KVM",
    .open = kvm_open,
    .close = kvm_close,
    .boot = kvm_boot,
    .run = kvm_run,
    .kick = kvm_kick,
    .new_tracker = kvm_new_tracker,
    .save = kvm_save,
    .load = kvm_load,
};
