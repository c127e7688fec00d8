/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_DIRTY_H
#define VFM_BRIDGE_DIRTY_H

/*
 * VFIO_IOMMU_DIRTY_PAGES, and the bitmap of what is unmapped.
 */

#include "bridge/device.h"
#include "bridge/space.h"

#define DIRTY_BITMAP_MAX (UINT64_C(256) << 20)

int dirty_ioctl(struct space *s, atomic_bool *is_logging, void *arg);

/* Is there room in @b for @size bytes of memory? */
int dirty_check(uint64_t size, const struct vfio_bitmap *b);

/* Sets the bits of what is mapped in the range in the bitmap at @address. */
int dirty_report(struct space *s, uint64_t iova, uint64_t last,
                 uint64_t address);

#endif
