/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "dirty/kernel.h"
#include "dirty/kvm.h"
#include "util/error.h"
#include "util/ioctl.h"

static bool is_whole_pages(const struct vfm_dirty_slot *s)
{
    return s->length > 0 &&
           (s->address | s->length) % VFM_DIRTY_PAGE_SIZE == 0 &&
           s->address + s->length > s->address;
}

int kvm_slots_init(struct kvm_slots *ks, int vm_fd,
                   const struct vfm_dirty_slot *slots, size_t n,
                   struct vfm_error *err)
{
    if (n == 0)
        return error_set(err, -EINVAL, "KVM: no memory slot to watch");
    for (size_t i = 0; i < n; i++)
        if (!is_whole_pages(&slots[i]))
            return error_set(err, -EINVAL,
                             "KVM: slot %u, 0x%llx bytes at 0x%llx, is no "
                             "whole pages",
                             slots[i].slot, (unsigned long long)slots[i].length,
                             (unsigned long long)slots[i].address);
    ks->slots = calloc(n, sizeof(*slots));
    if (ks->slots == NULL)
        return error_set(err, -ENOMEM, "KVM: out of memory");
    memcpy(ks->slots, slots, n * sizeof(*slots));
    ks->n = n;
    ks->vm_fd = vm_fd;
    return 0;
}

void kvm_slots_free(struct kvm_slots *ks)
{
    free(ks->slots);
}

static int set_log(const struct kvm_slots *ks, size_t i, bool on)
{
    const struct vfm_dirty_slot *s = &ks->slots[i];
    struct kvm_userspace_memory_region region = {
        .slot = s->slot,
        .flags = s->flags & ~(uint32_t)KVM_MEM_LOG_DIRTY_PAGES,
        .guest_phys_addr = s->address,
        .memory_size = s->length,
        .userspace_addr = s->userspace_address,
    };

    if (on)
        region.flags |= KVM_MEM_LOG_DIRTY_PAGES;
    return ioctl_retry(ks->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

int kvm_slots_log(const struct kvm_slots *ks, struct vfm_error *err)
{
    for (size_t i = 0; i < ks->n; i++) {
        int ret = set_log(ks, i, true);

        if (ret == 0)
            continue;
        while (i-- > 0)
            set_log(ks, i, false);
        return kernel_failed(err, ret, "KVM: cannot log what is written");
    }
    return 0;
}

int kvm_slots_end_log(const struct kvm_slots *ks, struct vfm_error *err)
{
    int ret = 0;

    for (size_t i = 0; i < ks->n; i++) {
        int failed = set_log(ks, i, false);

        ret = ret < 0 ? ret : failed;
    }
    if (ret < 0)
        return kernel_failed(err, ret, "KVM: cannot end its log");
    return 0;
}

const struct vfm_dirty_slot *kvm_slots_find(const struct kvm_slots *ks,
                                            uint32_t slot)
{
    for (size_t i = 0; i < ks->n; i++)
        if (ks->slots[i].slot == slot)
            return &ks->slots[i];
    return NULL;
}
