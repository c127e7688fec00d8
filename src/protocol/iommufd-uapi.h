/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_PROTOCOL_IOMMUFD_UAPI_H
#define VFM_SRC_PROTOCOL_IOMMUFD_UAPI_H

/*
 * The part of the kernel's iommufd interface that vfmig relies on; numbers, as
 * in vfio-uapi.h.  Dirty tracking came with Linux 6.7.
 */

#include <stdint.h>
#include <sys/ioctl.h>

#define UAPI_IOAS_ALLOC              _IO(';', 0x81)
#define UAPI_HWPT_SET_DIRTY_TRACKING _IO(';', 0x8b)
#define UAPI_HWPT_GET_DIRTY_BITMAP   _IO(';', 0x8c)

/* IOMMU_HWPT_SET_DIRTY_TRACKING: flags. */
#define UAPI_HWPT_DIRTY_ENABLE       UINT32_C(1)

struct uapi_ioas_alloc {
    uint32_t size; /* of this */
    uint32_t flags;
    uint32_t ioas_id; /* out */
};

struct uapi_hwpt_set_dirty {
    uint32_t size; /* of this */
    uint32_t flags;
    uint32_t hwpt_id;
    uint32_t reserved;
};

struct uapi_hwpt_get_dirty {
    uint32_t size; /* of this */
    uint32_t hwpt_id;
    uint32_t flags;
    uint32_t reserved;
    uint64_t iova;
    uint64_t length;
    uint64_t page_size;
    uint64_t data; /* the bitmap's address; bits are set, none is cleared */
};

#endif
