/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM's dirty rings: each processor has one, in memory that it shares with us,
 * and writes down one page after the other.  What is taken out of them is kept
 * in a sink of the tracker's own until somebody asks: a processor whose ring
 * is full cannot wait for that.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dirty/kernel.h"
#include "dirty/kvm.h"
#include "dirty/tracker.h"
#include "util/error.h"
#include "util/ioctl.h"

struct ring {
    struct kvm_dirty_gfn *entries;
    uint32_t next; /* that KVM fills; runs over */
};

struct kvm_rings {
    struct kvm_slots slots;
    size_t ring_bytes;
    struct ring *rings;
    size_t n;

    /* Whoever collects, and the report, one at a time. */
    pthread_mutex_t lock;
    struct vfm_dirty_sink *collected;
};

static int note(struct kvm_rings *kr, const struct kvm_dirty_gfn *e)
{
    const struct vfm_dirty_slot *s = kvm_slots_find(&kr->slots, e->slot);

    if (s == NULL)
        return 0; /* a slot that nobody asked about */
    if (e->offset >= s->length / VFM_DIRTY_PAGE_SIZE)
        return -EPROTO;
    vfm_dirty_mark_range(kr->collected,
                         s->address + e->offset * VFM_DIRTY_PAGE_SIZE,
                         VFM_DIRTY_PAGE_SIZE);
    return 0;
}

/* Takes out what is there.  An entry is ours once its flag says dirty, and
 * KVM's again with the flag reset. */
static int empty_ring(struct kvm_rings *kr, struct ring *r)
{
    uint32_t mask = (uint32_t)(kr->ring_bytes / sizeof(*r->entries)) - 1;
    int ret = 0;

    for (uint32_t n = 0; n <= mask && ret == 0; n++) {
        struct kvm_dirty_gfn *e = &r->entries[r->next & mask];

        if (__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) !=
            KVM_DIRTY_GFN_F_DIRTY)
            break;
        ret = note(kr, e);
        __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        r->next++;
    }
    return ret;
}

/* KVM protects the pages again that were taken out.  Only then may they be
 * read: so that a later write is logged anew. */
static int collect_locked(struct kvm_rings *kr)
{
    int ret = 0;

    for (size_t i = 0; i < kr->n && ret == 0; i++)
        ret = empty_ring(kr, &kr->rings[i]);
    if (ret == 0)
        ret = ioctl_retry(kr->slots.vm_fd, KVM_RESET_DIRTY_RINGS, NULL);
    return ret;
}

static int collect(void *opaque, struct vfm_error *err)
{
    struct kvm_rings *kr = opaque;
    int ret;

    pthread_mutex_lock(&kr->lock);
    ret = collect_locked(kr);
    pthread_mutex_unlock(&kr->lock);
    if (ret < 0)
        return kernel_failed(err, ret, "KVM dirty rings: cannot empty them");
    return 0;
}

static int start(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                 struct vfm_error *err)
{
    struct kvm_rings *kr = opaque;
    int ret = kvm_slots_log(&kr->slots, err);

    (void)ranges;
    (void)n;
    return ret;
}

static void hand_over(struct kvm_rings *kr, struct vfm_dirty_sink *sink)
{
    for (size_t i = 0; i < kr->slots.n; i++) {
        const struct vfm_dirty_slot *s = &kr->slots.slots[i];

        vfm_dirty_mark(sink, s->address, VFM_DIRTY_PAGE_SIZE,
                       vfm_dirty_sink_bitmap(kr->collected, i),
                       s->length / VFM_DIRTY_PAGE_SIZE);
    }
    vfm_dirty_sink_clear(kr->collected);
}

static int report(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err)
{
    struct kvm_rings *kr = opaque;
    int ret;

    pthread_mutex_lock(&kr->lock);
    ret = collect_locked(kr);
    if (ret == 0)
        hand_over(kr, sink);
    pthread_mutex_unlock(&kr->lock);
    if (ret < 0)
        return kernel_failed(err, ret, "KVM dirty rings: cannot empty them");
    return 0;
}

static int stop(void *opaque, struct vfm_error *err)
{
    struct kvm_rings *kr = opaque;

    return kvm_slots_end_log(&kr->slots, err);
}

static void free_rings(void *opaque)
{
    struct kvm_rings *kr = opaque;

    for (size_t i = 0; i < kr->n; i++)
        munmap(kr->rings[i].entries, kr->ring_bytes);
    free(kr->rings);
    vfm_dirty_sink_free(kr->collected);
    kvm_slots_free(&kr->slots);
    pthread_mutex_destroy(&kr->lock);
    free(kr);
}

static int make_sink(struct kvm_rings *kr, struct vfm_error *err)
{
    struct vfm_dirty_range *ranges = calloc(kr->slots.n, sizeof(*ranges));
    int ret;

    if (ranges == NULL)
        return error_set(err, -ENOMEM, "KVM dirty rings: out of memory");
    for (size_t i = 0; i < kr->slots.n; i++)
        ranges[i] = (struct vfm_dirty_range){
            kr->slots.slots[i].address,
            kr->slots.slots[i].length,
        };
    ret = vfm_dirty_sink_new(ranges, kr->slots.n, &kr->collected, err);
    free(ranges);
    return ret;
}

static int map_rings(struct kvm_rings *kr, const int *vcpu_fds, size_t n,
                     struct vfm_error *err)
{
    off_t offset = KVM_DIRTY_LOG_PAGE_OFFSET * (off_t)sysconf(_SC_PAGESIZE);

    kr->rings = calloc(n, sizeof(*kr->rings));
    if (kr->rings == NULL)
        return error_set(err, -ENOMEM, "KVM dirty rings: out of memory");
    for (; kr->n < n; kr->n++) {
        void *p = mmap(NULL, kr->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                       vcpu_fds[kr->n], offset);

        if (p == MAP_FAILED)
            return kernel_failed(err, -errno,
                                 "KVM dirty rings: cannot map a processor's");
        kr->rings[kr->n].entries = p;
    }
    return 0;
}

static bool is_ring_size(size_t bytes)
{
    return bytes >= (size_t)sysconf(_SC_PAGESIZE) && (bytes & (bytes - 1)) == 0;
}

int vfm_dirty_tracker_new_kvm_ring(int vm_fd, const int *vcpu_fds,
                                   size_t num_vcpus, size_t ring_bytes,
                                   const struct vfm_dirty_slot *slots,
                                   size_t num_slots,
                                   struct vfm_dirty_tracker **trackerp,
                                   struct vfm_error *err)
{
    static const struct vfm_dirty_ops ops = {
        .name = "KVM dirty rings",
        .start = start,
        .report = report,
        .stop = stop,
        .free = free_rings,
    };
    struct kvm_rings *kr;
    int ret;

    *trackerp = NULL;
    if (num_vcpus == 0 || !is_ring_size(ring_bytes))
        return error_set(err, -EINVAL,
                         "KVM dirty rings: %zu processors with rings of %zu "
                         "bytes: a ring has a power of two",
                         num_vcpus, ring_bytes);
    kr = calloc(1, sizeof(*kr));
    if (kr == NULL)
        return error_set(err, -ENOMEM, "KVM dirty rings: out of memory");
    pthread_mutex_init(&kr->lock, NULL);
    kr->ring_bytes = ring_bytes;
    ret = kvm_slots_init(&kr->slots, vm_fd, slots, num_slots, err);
    if (ret == 0)
        ret = make_sink(kr, err);
    if (ret == 0)
        ret = map_rings(kr, vcpu_fds, num_vcpus, err);
    if (ret < 0) {
        free_rings(kr);
        return ret;
    }
    ret = kernel_tracker_new(&ops, kr, trackerp, err);
    if (ret == 0)
        dirty_tracker_set_collect(*trackerp, collect);
    return ret;
}
