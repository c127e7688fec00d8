/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_VMM_UFFD_H
#define VFM_EXAMPLES_VMM_UFFD_H

/*
 * A tracker of what this process writes to its memory: pages are
 * write-protected, and a thread that hears of the faults notes them and lets
 * the writer go on.
 */

#include <vfmig/dirty.h>

/* For the @size bytes at @memory, a mapping of a memfd, which the guest sees
 * from address 0 on.  -ENOSYS, -EPERM: this kernel does not do that. */
int uffd_new_tracker(uint8_t *memory, uint64_t size,
                     struct vfm_dirty_tracker **trackerp,
                     struct vfm_error *err);

#endif
