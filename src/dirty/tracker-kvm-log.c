/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * KVM's log of what the processors wrote: a bitmap per memory slot.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>

#include "dirty/bitmap.h"
#include "dirty/kernel.h"
#include "dirty/kvm.h"
#include "util/error.h"
#include "util/ioctl.h"

struct kvm_log {
    struct kvm_slots slots;
    bool clears;      /* KVM_CLEAR_DIRTY_LOG is ours to call */
    uint64_t *bitmap; /* of the largest slot */
};

static uint64_t pages_of(const struct vfm_dirty_slot *s)
{
    return s->length / VFM_DIRTY_PAGE_SIZE;
}

static int start(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                 struct vfm_error *err)
{
    const struct kvm_log *log = opaque;

    (void)ranges;
    (void)n;
    return kvm_slots_log(&log->slots, err);
}

/* What was read is cleared before anybody reads the pages: a later write is
 * logged anew. */
static int clear(const struct kvm_log *log, const struct vfm_dirty_slot *s)
{
    struct kvm_clear_dirty_log arg = { .slot = s->slot };
    uint64_t pages = pages_of(s);

    arg.dirty_bitmap = log->bitmap;
    for (uint64_t at = 0; at < pages;) {
        /* The number is one of 32 bits, the start a multiple of 64. */
        uint64_t left = pages - at;
        int ret;

        arg.first_page = at;
        arg.num_pages =
            (uint32_t)(left < KERNEL_PIECE_PAGES ? left : KERNEL_PIECE_PAGES);
        arg.dirty_bitmap = log->bitmap + at / BITMAP_WORD_BITS;
        ret = ioctl_retry(log->slots.vm_fd, KVM_CLEAR_DIRTY_LOG, &arg);
        if (ret < 0)
            return ret;
        at += arg.num_pages;
    }
    return 0;
}

static int report_slot(const struct kvm_log *log,
                       const struct vfm_dirty_slot *s,
                       struct vfm_dirty_sink *sink)
{
    struct kvm_dirty_log arg = { .slot = s->slot };
    int ret;

    arg.dirty_bitmap = log->bitmap;
    ret = ioctl_retry(log->slots.vm_fd, KVM_GET_DIRTY_LOG, &arg);
    if (ret < 0)
        return ret;
    vfm_dirty_mark(sink, s->address, VFM_DIRTY_PAGE_SIZE, log->bitmap,
                   pages_of(s));
    return log->clears ? clear(log, s) : 0;
}

static int report(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err)
{
    const struct kvm_log *log = opaque;

    for (size_t i = 0; i < log->slots.n; i++) {
        int ret = report_slot(log, &log->slots.slots[i], sink);

        if (ret < 0)
            return kernel_failed(err, ret, "KVM dirty log: cannot read it");
    }
    return 0;
}

static int stop(void *opaque, struct vfm_error *err)
{
    const struct kvm_log *log = opaque;

    return kvm_slots_end_log(&log->slots, err);
}

static void free_log(void *opaque)
{
    struct kvm_log *log = opaque;

    kvm_slots_free(&log->slots);
    free(log->bitmap);
    free(log);
}

/* KVM writes whole words. */
static int make_bitmap(struct kvm_log *log, struct vfm_error *err)
{
    uint64_t most = 1;

    for (size_t i = 0; i < log->slots.n; i++)
        if (pages_of(&log->slots.slots[i]) > most)
            most = pages_of(&log->slots.slots[i]);
    log->bitmap = calloc(bitmap_words(most), sizeof(*log->bitmap));
    if (log->bitmap == NULL)
        return error_set(err, -ENOMEM, "KVM dirty log: out of memory");
    return 0;
}

int vfm_dirty_tracker_new_kvm_log(int vm_fd, const struct vfm_dirty_slot *slots,
                                  size_t num_slots, unsigned int flags,
                                  struct vfm_dirty_tracker **trackerp,
                                  struct vfm_error *err)
{
    static const struct vfm_dirty_ops ops = {
        .name = "KVM dirty log",
        .start = start,
        .report = report,
        .stop = stop,
        .free = free_log,
    };
    struct kvm_log *log;
    int ret;

    *trackerp = NULL;
    if (flags & ~VFM_DIRTY_KVM_MANUAL_PROTECT)
        return error_set(err, -EINVAL, "KVM dirty log: unknown flags 0x%x",
                         flags);
    log = calloc(1, sizeof(*log));
    if (log == NULL)
        return error_set(err, -ENOMEM, "KVM dirty log: out of memory");
    log->clears = (flags & VFM_DIRTY_KVM_MANUAL_PROTECT) != 0;
    ret = kvm_slots_init(&log->slots, vm_fd, slots, num_slots, err);
    if (ret == 0)
        ret = make_bitmap(log, err);
    if (ret < 0) {
        free_log(log);
        return ret;
    }
    return kernel_tracker_new(&ops, log, trackerp, err);
}
