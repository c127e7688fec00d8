/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_PROTOCOL_VFIO_UAPI_H
#define VFM_SRC_PROTOCOL_VFIO_UAPI_H

/*
 * The part of the kernel's VFIO interface that vfmig relies on.
 *
 * A copy of numbers, not of text: distributions ship <linux/vfio.h> of any
 * age, and the names below must mean the same on all of them.  They carry a
 * prefix of ours so that both headers can be included.
 */

#include <stdint.h>
#include <sys/ioctl.h>

/* ioctl()s: on a container, a group, a device, a data descriptor. */
#define UAPI_SET_IOMMU               _IO(';', 102)
#define UAPI_IOMMU_GET_INFO          _IO(';', 112)
#define UAPI_IOMMU_DIRTY_PAGES       _IO(';', 117)
#define UAPI_GROUP_GET_STATUS        _IO(';', 103)
#define UAPI_GROUP_SET_CONTAINER     _IO(';', 104)
#define UAPI_GROUP_GET_DEVICE_FD     _IO(';', 106)
#define UAPI_DEVICE_GET_INFO         _IO(';', 107)
#define UAPI_DEVICE_GET_REGION_INFO  _IO(';', 108)
#define UAPI_DEVICE_RESET_NOW        _IO(';', 111)
#define UAPI_DEVICE_FEATURE          _IO(';', 117)
#define UAPI_DEVICE_BIND_IOMMUFD     _IO(';', 118)
#define UAPI_DEVICE_ATTACH_IOMMUFD   _IO(';', 119)
#define UAPI_GET_PRECOPY_INFO        _IO(';', 121)

/* SET_IOMMU: the kind; GROUP_GET_STATUS: flags. */
#define UAPI_TYPE1V2_IOMMU           3
#define UAPI_GROUP_VIABLE            UINT32_C(1)

/* VFIO_DEVICE_FEATURE: flags. */
#define UAPI_FEATURE_MASK            UINT32_C(0xffff)
#define UAPI_FEATURE_GET             (UINT32_C(1) << 16)
#define UAPI_FEATURE_SET             (UINT32_C(1) << 17)
#define UAPI_FEATURE_PROBE           (UINT32_C(1) << 18)

/* VFIO_DEVICE_FEATURE: numbers. */
#define UAPI_FEATURE_MIGRATION       1
#define UAPI_FEATURE_DEVICE_STATE    2
#define UAPI_FEATURE_LOG_START       6
#define UAPI_FEATURE_LOG_STOP        7
#define UAPI_FEATURE_LOG_REPORT      8
#define UAPI_FEATURE_DATA_SIZE       9
#define UAPI_FEATURE_PRECOPY_INFO_V2 12

/* Feature 1: flags. */
#define UAPI_MIGRATION_STOP_COPY     (UINT64_C(1) << 0)
#define UAPI_MIGRATION_P2P           (UINT64_C(1) << 1)
#define UAPI_MIGRATION_PRE_COPY      (UINT64_C(1) << 2)

/* struct vfio_precopy_info: flags. */
#define UAPI_PRECOPY_REINIT          (UINT32_C(1) << 0)

/* The eight migration states. */
#define UAPI_STATE_ERROR             0
#define UAPI_STATE_STOP              1
#define UAPI_STATE_RUNNING           2
#define UAPI_STATE_STOP_COPY         3
#define UAPI_STATE_RESUMING          4
#define UAPI_STATE_RUNNING_P2P       5
#define UAPI_STATE_PRE_COPY          6
#define UAPI_STATE_PRE_COPY_P2P      7
#define UAPI_NUM_STATES              8

/* VFIO_DEVICE_GET_INFO: flags. */
#define UAPI_DEVICE_RESET            (UINT32_C(1) << 0)
#define UAPI_DEVICE_PCI              (UINT32_C(1) << 1)

/* VFIO_DEVICE_GET_REGION_INFO: flags, indexes and the one capability. */
#define UAPI_REGION_READ             (UINT32_C(1) << 0)
#define UAPI_REGION_WRITE            (UINT32_C(1) << 1)
#define UAPI_REGION_MMAP             (UINT32_C(1) << 2)
#define UAPI_REGION_CAPS             (UINT32_C(1) << 3)
#define UAPI_REGION_BAR0             0
#define UAPI_REGION_ROM              6
#define UAPI_REGION_CONFIG           7
#define UAPI_REGION_VGA              8
#define UAPI_NUM_REGIONS             9
#define UAPI_CAP_SPARSE_MMAP         1

/* VFIO_DEVICE_GET_IRQ_INFO and SET_IRQS: flags and indexes. */
#define UAPI_IRQ_EVENTFD             (UINT32_C(1) << 0)
#define UAPI_IRQ_DATA_NONE           (UINT32_C(1) << 0)
#define UAPI_IRQ_DATA_BOOL           (UINT32_C(1) << 1)
#define UAPI_IRQ_DATA_EVENTFD        (UINT32_C(1) << 2)
#define UAPI_IRQ_ACTION_MASK         (UINT32_C(1) << 3)
#define UAPI_IRQ_ACTION_UNMASK       (UINT32_C(1) << 4)
#define UAPI_IRQ_ACTION_TRIGGER      (UINT32_C(1) << 5)
#define UAPI_IRQ_INTX                0
#define UAPI_IRQ_MSI                 1
#define UAPI_IRQ_MSIX                2
#define UAPI_IRQ_ERR                 3
#define UAPI_IRQ_REQ                 4
#define UAPI_NUM_IRQS                5

/* VFIO_DEVICE_FEATURE: what comes before each feature's own. */
struct uapi_feature {
    uint32_t argsz;
    uint32_t flags;
};

/* Feature 6.  @ranges is the address of @num_ranges pairs of an iova and a
 * length. */
struct uapi_log_control {
    uint64_t page_size;
    uint32_t num_ranges;
    uint32_t reserved;
    uint64_t ranges;
};

/* Feature 8.  @bitmap is an address; bits are set, none is cleared. */
struct uapi_log_report {
    uint64_t iova;
    uint64_t length;
    uint64_t page_size;
    uint64_t bitmap;
};

/* VFIO_IOMMU_GET_INFO. */
#define UAPI_IOMMU_INFO_PGSIZES (UINT32_C(1) << 0)

struct uapi_type1_info {
    uint32_t argsz;
    uint32_t flags;
    uint64_t page_sizes; /* bit n: 2^n bytes */
};

/* VFIO_IOMMU_DIRTY_PAGES: flags, one at a time; what follows them is there for
 * GET_BITMAP only. */
#define UAPI_DIRTY_PAGES_START      (UINT32_C(1) << 0)
#define UAPI_DIRTY_PAGES_STOP       (UINT32_C(1) << 1)
#define UAPI_DIRTY_PAGES_GET_BITMAP (UINT32_C(1) << 2)

struct uapi_type1_dirty {
    uint32_t argsz;
    uint32_t flags;
    uint64_t iova;
    uint64_t size;
    uint64_t page_size;
    uint64_t bitmap_size; /* bytes */
    uint64_t bitmap;      /* its address */
};

struct uapi_group_status {
    uint32_t argsz;
    uint32_t flags;
};

struct uapi_bind_iommufd {
    uint32_t argsz;
    uint32_t flags;
    int32_t iommufd;
    uint32_t devid; /* out */
};

struct uapi_attach_iommufd {
    uint32_t argsz;
    uint32_t flags;
    uint32_t pt_id;
};

struct uapi_device_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t num_regions;
    uint32_t num_irqs;
};

struct uapi_region_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t cap_offset;
    uint64_t size;
    uint64_t offset; /* in the device's descriptor */
};

/* Feature 2. */
struct uapi_device_state {
    uint32_t state;
    int32_t data_fd;
};

struct uapi_precopy_info {
    uint32_t argsz;
    uint32_t flags;
    uint64_t initial_bytes;
    uint64_t dirty_bytes;
};

#endif
