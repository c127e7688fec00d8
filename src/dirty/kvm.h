/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DIRTY_KVM_H
#define VFM_SRC_DIRTY_KVM_H

/*
 * KVM's memory slots, as both of its trackers need them.
 */

#include <vfmig/dirty.h>

struct kvm_slots {
    int vm_fd;
    struct vfm_dirty_slot *slots;
    size_t n;
};

/* Copies @slots.  -EINVAL if one is empty or no whole pages, or there is
 * none. */
int kvm_slots_init(struct kvm_slots *ks, int vm_fd,
                   const struct vfm_dirty_slot *slots, size_t n,
                   struct vfm_error *err);
void kvm_slots_free(struct kvm_slots *ks);

/* Has KVM log what is written to the slots, or none of them if that fails. */
int kvm_slots_log(const struct kvm_slots *ks, struct vfm_error *err);
int kvm_slots_end_log(const struct kvm_slots *ks, struct vfm_error *err);

/* NULL if it is none of ours. */
const struct vfm_dirty_slot *kvm_slots_find(const struct kvm_slots *ks,
                                            uint32_t slot);

#endif
