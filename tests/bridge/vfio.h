/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_BRIDGE_VFIO_H
#define VFM_TESTS_BRIDGE_VFIO_H

/*
 * <linux/vfio.h>, and what Debian 12's is too old for.
 */

#include <linux/vfio.h>

#ifndef VFIO_DEVICE_FEATURE_MIG_DATA_SIZE
#define VFIO_DEVICE_FEATURE_MIG_DATA_SIZE 9
#endif

#ifndef VFIO_MIGRATION_PRE_COPY
#define VFIO_MIGRATION_PRE_COPY    (1 << 2)
#define VFIO_DEVICE_STATE_PRE_COPY 6
#define VFIO_MIG_GET_PRECOPY_INFO  _IO(VFIO_TYPE, VFIO_BASE + 21)
struct vfio_precopy_info {
    __u32 argsz;
    __u32 flags;
    __aligned_u64 initial_bytes;
    __aligned_u64 dirty_bytes;
};
#endif

#ifndef VFIO_DEVICE_BIND_IOMMUFD
#define VFIO_DEVICE_BIND_IOMMUFD      _IO(VFIO_TYPE, VFIO_BASE + 18)
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)
struct vfio_device_bind_iommufd {
    __u32 argsz;
    __u32 flags;
    __s32 iommufd;
    __u32 out_devid;
};
struct vfio_device_attach_iommufd_pt {
    __u32 argsz;
    __u32 flags;
    __u32 pt_id;
};
#endif

/* <linux/iommufd.h>, which it does not have. */
#define IOMMU_DESTROY    _IO(';', 0x80)
#define IOMMU_IOAS_ALLOC _IO(';', 0x81)
#define IOMMU_IOAS_MAP   _IO(';', 0x85)
#define IOMMU_IOAS_UNMAP _IO(';', 0x86)
struct iommu_destroy {
    __u32 size;
    __u32 id;
};
struct iommu_ioas_alloc {
    __u32 size;
    __u32 flags;
    __u32 out_ioas_id;
};
struct iommu_ioas_map {
    __u32 size;
    __u32 flags; /* 1 fixed, 2 writeable, 4 readable */
    __u32 ioas_id;
    __u32 reserved;
    __aligned_u64 user_va;
    __aligned_u64 length;
    __aligned_u64 iova;
};
struct iommu_ioas_unmap {
    __u32 size;
    __u32 ioas_id;
    __aligned_u64 iova;
    __aligned_u64 length;
};

#endif
