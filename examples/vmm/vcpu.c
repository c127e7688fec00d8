/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processors are started and parked here, and what they ask of devices is
 * brought to the loop's thread.  How they run the guest is another's business.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

/* How long parking all may take. */
#define PARK_TIMEOUT_MS 5000

static void wake_loop(struct vcpus *v)
{
    const uint64_t one = 1;

    if (write(v->wake_fd, &one, sizeof(one)) < 0)
        return; /* it is awake */
}

bool vcpu_must_stop(const struct vcpu *cpu)
{
    return atomic_load(&cpu->vm->vcpus.stop);
}

/* Waits until the VM is to run.  False: for good. */
static bool park(struct vcpu *cpu)
{
    struct vcpus *v = &cpu->vm->vcpus;
    bool quit;

    pthread_mutex_lock(&v->lock);
    cpu->is_parked = true;
    wake_loop(v);
    while (atomic_load(&v->stop) && !v->quit)
        pthread_cond_wait(&v->changed, &v->lock);
    cpu->is_parked = false;
    quit = v->quit;
    pthread_mutex_unlock(&v->lock);
    return !quit;
}

static void note_failure(struct vcpu *cpu, const struct vfm_error *err)
{
    struct vcpus *v = &cpu->vm->vcpus;

    pthread_mutex_lock(&v->lock);
    if (v->failure.code == 0)
        v->failure = *err;
    pthread_mutex_unlock(&v->lock);
    atomic_store(&v->stop, true);
}

static void *run(void *opaque)
{
    struct vcpu *cpu = opaque;

    while (park(cpu)) {
        struct vfm_error err = { 0 };

        if (cpu->vm->vcpus.ops->run(cpu, &err) < 0)
            note_failure(cpu, &err);
    }
    return NULL;
}

/* An access that the chipset answers at once. */
static uint64_t read_chipset(struct vcpu *cpu, uint64_t offset)
{
    struct vm *vm = cpu->vm;
    uint32_t mask = 0;

    if (offset == VM_TIMER)
        return irqs_now_us(&vm->irqs);
    if (offset >= VM_IRQ_CLAIM)
        return irqs_claim(&vm->irqs, (unsigned int)(offset - VM_IRQ_CLAIM) / 8);
    for (unsigned int d = cpu->number; d < vm->bus.count; d += vm->vcpus.count)
        mask |= UINT32_C(1) << d;
    return irqs_wait(&vm->irqs, mask);
}

/* An access that the loop brings to a device. */
static uint64_t ask_loop(struct vcpu *cpu, bool write, uint64_t address,
                         uint64_t value, unsigned int size)
{
    struct vcpus *v = &cpu->vm->vcpus;

    pthread_mutex_lock(&v->lock);
    cpu->request = (struct vcpu_request){ true, write, address, value, size };
    wake_loop(v);
    while (cpu->request.posted && !v->quit)
        pthread_cond_wait(&v->changed, &v->lock);
    value = cpu->request.value;
    pthread_mutex_unlock(&v->lock);
    return value;
}

uint64_t vcpu_mmio(struct vcpu *cpu, bool write, uint64_t address,
                   uint64_t value, unsigned int size)
{
    uint64_t offset = address - VM_REGISTERS;

    if (address >= VM_REGISTERS && offset < GUEST_PAGE)
        return write ? 0 : read_chipset(cpu, offset);
    return ask_loop(cpu, write, address, value, size);
}

static int serve(struct vm *vm, struct vcpu_request *request,
                 struct vfm_error *err)
{
    return bus_access(&vm->bus, request->write, request->address,
                      &request->value, request->size, err);
}

/* The next request that nobody has served; NULL: none. */
static struct vcpu *take_request(struct vcpus *v, struct vcpu_request *request)
{
    struct vcpu *found = NULL;

    pthread_mutex_lock(&v->lock);
    for (unsigned int i = 0; found == NULL && i < v->count; i++)
        if (v->cpus[i].request.posted)
            found = &v->cpus[i];
    if (found != NULL)
        *request = found->request;
    pthread_mutex_unlock(&v->lock);
    return found;
}

static void answer(struct vcpus *v, struct vcpu *cpu,
                   const struct vcpu_request *request)
{
    pthread_mutex_lock(&v->lock);
    cpu->request = *request;
    cpu->request.posted = false;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

int vcpus_serve(struct vm *vm, struct vfm_error *err)
{
    struct vcpus *v = &vm->vcpus;
    struct vcpu_request request;
    struct vcpu *cpu;
    uint64_t n;
    int ret = 0;

    if (read(v->wake_fd, &n, sizeof(n)) < 0)
        n = 0; /* nobody has asked */
    while (ret == 0 && (cpu = take_request(v, &request)) != NULL) {
        ret = serve(vm, &request, err);
        answer(v, cpu, &request);
    }
    pthread_mutex_lock(&v->lock);
    if (ret == 0 && v->failure.code != 0) {
        *err = v->failure;
        ret = err->code;
    }
    pthread_mutex_unlock(&v->lock);
    return ret;
}

static bool all_parked(struct vcpus *v)
{
    bool parked = true;

    pthread_mutex_lock(&v->lock);
    for (unsigned int i = 0; i < v->count; i++)
        parked = parked && v->cpus[i].is_parked;
    pthread_mutex_unlock(&v->lock);
    return parked;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What a processor has begun with a device is finished before it parks. */
static int wait_until_parked(struct vm *vm, struct vfm_error *err)
{
    int64_t deadline = now_ms() + PARK_TIMEOUT_MS;
    struct pollfd pfd = { vm->vcpus.wake_fd, POLLIN, 0 };

    while (!all_parked(&vm->vcpus)) {
        int ret = vcpus_serve(vm, err);

        if (ret < 0)
            return ret;
        if (now_ms() >= deadline)
            return vm_fail(err, -ETIMEDOUT, "a processor does not stop");
        poll(&pfd, 1, 10);
    }
    return 0;
}

int vcpus_stop(struct vm *vm, struct vfm_error *err)
{
    struct vcpus *v = &vm->vcpus;
    int ret;

    atomic_store(&v->stop, true);
    irqs_kick(&vm->irqs, true);
    for (unsigned int i = 0; i < v->count; i++)
        v->ops->kick(&v->cpus[i]);
    ret = wait_until_parked(vm, err);
    irqs_tick(&vm->irqs, false);
    if (ret < 0)
        vcpus_start(vm, NULL);
    return ret;
}

int vcpus_start(struct vm *vm, struct vfm_error *err)
{
    struct vcpus *v = &vm->vcpus;

    (void)err;
    irqs_kick(&vm->irqs, false);
    irqs_tick(&vm->irqs, true);
    pthread_mutex_lock(&v->lock);
    atomic_store(&v->stop, false);
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    return 0;
}

static int start_threads(struct vm *vm, unsigned int count,
                         struct vfm_error *err)
{
    for (unsigned int i = 0; i < count; i++) {
        struct vcpu *cpu = &vm->vcpus.cpus[i];
        int ret;

        cpu->vm = vm;
        cpu->number = i;
        ret = pthread_create(&cpu->thread, NULL, run, cpu);
        if (ret != 0)
            return vm_fail(err, -ret, "processor %u: %s", i, strerror(ret));
        vm->vcpus.count++;
    }
    return 0;
}

int vcpus_open(struct vm *vm, unsigned int count, bool no_kvm,
               struct vfm_error *err)
{
    struct vcpus *v = &vm->vcpus;
    int ret = -ENODEV;

    *v = (struct vcpus){ .stop = true };
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->changed, NULL);
    v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (v->wake_fd < 0)
        return vm_fail(err, -errno, "no eventfd");
    for (unsigned int i = 0; i < count; i++)
        v->cpus[i] = (struct vcpu){ .vm = vm, .number = i };
    v->count = count; /* for open() */
    v->ops = &vcpu_kvm_ops;
    if (!no_kvm)
        ret = v->ops->open(vm, &v->no_kvm);
    if (ret < 0) {
        v->ops = &vcpu_thread_ops;
        ret = v->ops->open(vm, err);
    }
    v->count = 0;
    return ret < 0 ? ret : start_threads(vm, count, err);
}

void vcpus_close(struct vm *vm)
{
    struct vcpus *v = &vm->vcpus;

    if (v->ops == NULL)
        return;
    pthread_mutex_lock(&v->lock);
    v->quit = true;
    atomic_store(&v->stop, true);
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    irqs_kick(&vm->irqs, true);
    for (unsigned int i = 0; i < v->count; i++) {
        v->ops->kick(&v->cpus[i]);
        pthread_join(v->cpus[i].thread, NULL);
    }
    v->ops->close(vm);
    close(v->wake_fd);
    v->ops = NULL;
}
