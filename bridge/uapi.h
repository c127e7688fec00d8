/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_UAPI_H
#define VFM_BRIDGE_UAPI_H

/*
 * What the bridge answers of the kernel's interface beyond what vfmig itself
 * relies on: <linux/vfio.h> for groups and type 1, and the numbers of iommufd,
 * whose header Debian 12 does not have.
 */

#include <linux/vfio.h>

#include "protocol/iommufd-uapi.h"
#include "protocol/vfio-uapi.h"

#define UAPI_DEVICE_DETACH_IOMMUFD _IO(';', 120)

#define UAPI_IOMMU_DESTROY         _IO(';', 0x80)
#define UAPI_IOAS_IOVA_RANGES      _IO(';', 0x84)
#define UAPI_IOAS_MAP              _IO(';', 0x85)
#define UAPI_IOAS_UNMAP            _IO(';', 0x86)
#define UAPI_HWPT_ALLOC            _IO(';', 0x89)
#define UAPI_GET_HW_INFO           _IO(';', 0x8a)

struct uapi_iommu_destroy {
    uint32_t size; /* of this */
    uint32_t id;
};

struct uapi_iova_range {
    uint64_t start;
    uint64_t last;
};

struct uapi_ioas_iova_ranges {
    uint32_t size; /* of this */
    uint32_t ioas_id;
    uint32_t num_iovas;
    uint32_t reserved;
    uint64_t allowed_iovas; /* address of so many ranges */
    uint64_t out_iova_alignment;
};

#define UAPI_IOAS_MAP_FIXED_IOVA UINT32_C(1)
#define UAPI_IOAS_MAP_WRITEABLE  UINT32_C(2)
#define UAPI_IOAS_MAP_READABLE   UINT32_C(4)

struct uapi_ioas_map {
    uint32_t size; /* of this */
    uint32_t flags;
    uint32_t ioas_id;
    uint32_t reserved;
    uint64_t user_va;
    uint64_t length;
    uint64_t iova;
};

struct uapi_ioas_unmap {
    uint32_t size; /* of this */
    uint32_t ioas_id;
    uint64_t iova;
    uint64_t length; /* in: 0 to UINT64_MAX, all; out: what went */
};

struct uapi_hwpt_alloc {
    uint32_t size; /* of this */
    uint32_t flags;
    uint32_t dev_id;
    uint32_t pt_id;
    uint32_t out_hwpt_id;
    uint32_t reserved;
    uint32_t data_type;
    uint32_t data_len;
    uint64_t data_uptr;
    uint32_t fault_id;
    uint32_t reserved2;
};

struct uapi_hw_info {
    uint32_t size; /* of this */
    uint32_t flags;
    uint32_t dev_id;
    uint32_t data_len;
    uint64_t data_uptr;
    uint32_t out_data_type;
    uint32_t reserved;
    uint64_t out_capabilities;
};

/* The last of the addresses that devices may be given. */
#define BRIDGE_LAST_IOVA ((UINT64_C(1) << 48) - 1)
#define BRIDGE_PAGE_SIZE UINT64_C(4096)

#endif
