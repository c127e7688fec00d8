/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_PROTOCOL_VFIO_USER_H
#define VFM_SRC_PROTOCOL_VFIO_USER_H

/*
 * The vfio-user protocol as it is on the wire.
 *
 * Shared by the client (backend/) and the emulated device (emulator/), which
 * share nothing else: numbers and layouts only, no behaviour.  All integers
 * are in host byte order, structures have no padding, descriptors travel with
 * the header of their message.  Feature, state, region and interrupt numbers
 * are those of the kernel (vfio-uapi.h).
 */

#include <stddef.h>
#include <stdint.h>

#define VFU_VERSION_MAJOR 0
#define VFU_VERSION_MINOR 2

enum vfu_command {
    VFU_VERSION = 1,
    VFU_DMA_MAP = 2,
    VFU_DMA_UNMAP = 3,
    VFU_DEVICE_GET_INFO = 4,
    VFU_DEVICE_GET_REGION_INFO = 5,
    VFU_DEVICE_GET_REGION_IO_FDS = 6,
    VFU_DEVICE_GET_IRQ_INFO = 7,
    VFU_DEVICE_SET_IRQS = 8,
    VFU_REGION_READ = 9,
    VFU_REGION_WRITE = 10,
    VFU_DMA_READ = 11,  /* server to client */
    VFU_DMA_WRITE = 12, /* server to client */
    VFU_DEVICE_RESET = 13,
    VFU_REGION_WRITE_MULTI = 15,
    VFU_DEVICE_FEATURE = 16,
    VFU_MIG_DATA_READ = 17,
    VFU_MIG_DATA_WRITE = 18,
    VFU_MIG_GET_PRECOPY_INFO = 19, /* proposed, not in the text */
    /* Ours, behind VFU_CAP_DATA_AREA: docs/vfio-user-data-area.md. */
    VFU_MIG_AREA_SET = 64,
    VFU_MIG_AREA_READ = 65,
    VFU_MIG_AREA_WRITE = 66,
};

/* struct vfu_header: flags. */
#define VFU_TYPE_MASK     UINT32_C(0xf)
#define VFU_TYPE_COMMAND  UINT32_C(0)
#define VFU_TYPE_REPLY    UINT32_C(1)
#define VFU_FLAG_NO_REPLY UINT32_C(0x10)
#define VFU_FLAG_ERROR    UINT32_C(0x20)

struct vfu_header {
    uint16_t id;
    uint16_t command;
    uint32_t size; /* of the whole message, this header included */
    uint32_t flags;
    uint32_t error; /* positive errno, if VFU_FLAG_ERROR */
};
_Static_assert(sizeof(struct vfu_header) == 16, "no padding");

/* Followed by JSON, terminated by NUL, both counted in the size. */
struct vfu_version {
    uint16_t major;
    uint16_t minor;
};
_Static_assert(sizeof(struct vfu_version) == 4, "no padding");

/* Defaults of the capabilities that the JSON may leave out. */
#define VFU_DEFAULT_MAX_MSG_FDS        1
#define VFU_DEFAULT_MAX_DATA_XFER_SIZE (UINT32_C(1) << 20)

/* A capability of ours, true or absent, which others ignore: a server that has
 * it takes a message whole, however the socket cuts it.  It should go without
 * saying, but servers exist that lose their place in one that does not
 * arrive in one piece, and they say nothing. */
#define VFU_CAP_WHOLE_MESSAGES         "vfmig_whole_messages"

/* Another: how many bytes of memory the client would share with the server, and
 * in the reply how many of these the server would take, for a device's state to
 * go through.  Absent: none. */
#define VFU_CAP_DATA_AREA              "vfmig_data_area"

struct vfu_device_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t num_regions;
    uint32_t num_irqs;
};
_Static_assert(sizeof(struct vfu_device_info) == 16, "no padding");

struct vfu_region_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t cap_offset; /* from the start of this structure */
    uint64_t size;
    uint64_t offset;
};
_Static_assert(sizeof(struct vfu_region_info) == 32, "no padding");

struct vfu_cap_header {
    uint16_t id;
    uint16_t version;
    uint32_t next; /* from the start of the region info; 0: last */
};
_Static_assert(sizeof(struct vfu_cap_header) == 8, "no padding");

struct vfu_sparse_area {
    uint64_t offset;
    uint64_t size;
};
_Static_assert(sizeof(struct vfu_sparse_area) == 16, "no padding");

/* Followed by nr_areas areas. */
struct vfu_cap_sparse_mmap {
    struct vfu_cap_header header;
    uint32_t nr_areas;
    uint32_t reserved;
};
_Static_assert(sizeof(struct vfu_cap_sparse_mmap) == 16, "no padding");

struct vfu_irq_info {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t count;
};
_Static_assert(sizeof(struct vfu_irq_info) == 16, "no padding");

/* Followed by count bytes if UAPI_IRQ_DATA_BOOL. */
struct vfu_irq_set {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t start;
    uint32_t count;
};
_Static_assert(sizeof(struct vfu_irq_set) == 20, "no padding");

/* Followed by count bytes of data in a write and in the reply to a read. */
struct vfu_region_access {
    uint64_t offset;
    uint32_t region;
    uint32_t count;
};
_Static_assert(sizeof(struct vfu_region_access) == 16, "no padding");

/* struct vfu_dma_map: flags. */
#define VFU_DMA_MAP_READ  UINT32_C(1)
#define VFU_DMA_MAP_WRITE UINT32_C(2)

struct vfu_dma_map {
    uint32_t argsz;
    uint32_t flags;
    uint64_t fd_offset;
    uint64_t iova;
    uint64_t size;
};
_Static_assert(sizeof(struct vfu_dma_map) == 32, "no padding");

/* struct vfu_dma_unmap: flags. */
#define VFU_DMA_UNMAP_GET_DIRTY UINT32_C(1)
#define VFU_DMA_UNMAP_ALL       UINT32_C(2)

struct vfu_dma_unmap {
    uint32_t argsz;
    uint32_t flags;
    uint64_t iova;
    uint64_t size;
};
_Static_assert(sizeof(struct vfu_dma_unmap) == 24, "no padding");

/* Followed by count bytes in a DMA_WRITE and in the reply to a DMA_READ. */
struct vfu_dma_access {
    uint64_t iova;
    uint64_t count;
};
_Static_assert(sizeof(struct vfu_dma_access) == 16, "no padding");

/* Followed by the feature's own structure. */
struct vfu_feature {
    uint32_t argsz;
    uint32_t flags;
};
_Static_assert(sizeof(struct vfu_feature) == 8, "no padding");

struct vfu_feature_device_state {
    uint32_t state;
    uint32_t data_fd; /* unused: all ones */
};
_Static_assert(sizeof(struct vfu_feature_device_state) == 8, "no padding");

struct vfu_log_range {
    uint64_t iova;
    uint64_t length;
};
_Static_assert(sizeof(struct vfu_log_range) == 16, "no padding");

/* Followed by num_ranges ranges. */
struct vfu_feature_log_start {
    uint64_t page_size;
    uint32_t num_ranges; /* 0: everything */
    uint32_t reserved;
};
_Static_assert(sizeof(struct vfu_feature_log_start) == 16, "no padding");

/* The reply is followed by the bitmap: one bit per page, byte n/8, bit n%8,
 * rounded up to 64 bits. */
struct vfu_feature_log_report {
    uint64_t iova;
    uint64_t length;
    uint64_t page_size;
};
_Static_assert(sizeof(struct vfu_feature_log_report) == 24, "no padding");

/* Followed by size bytes in a MIG_DATA_WRITE and in the reply to a
 * MIG_DATA_READ. */
struct vfu_mig_data {
    uint32_t argsz;
    uint32_t size;
};
_Static_assert(sizeof(struct vfu_mig_data) == 8, "no padding");

/* Comes with the descriptor of the memory: a file of that size at least, sealed
 * against shrinking. */
struct vfu_mig_area {
    uint32_t argsz;
    uint32_t flags; /* 0 */
    uint64_t size;
};
_Static_assert(sizeof(struct vfu_mig_area) == 16, "no padding");

/* MIG_DATA_READ and MIG_DATA_WRITE whose data is in the area.  The reply to a
 * read has the size that there was. */
struct vfu_mig_area_data {
    uint32_t argsz; /* with the data */
    uint32_t size;
    uint64_t offset; /* in the area */
};
_Static_assert(sizeof(struct vfu_mig_area_data) == 16, "no padding");

struct vfu_precopy_info {
    uint32_t argsz;
    uint32_t flags;
    uint64_t initial_bytes;
    uint64_t dirty_bytes;
};
_Static_assert(sizeof(struct vfu_precopy_info) == 24, "no padding");

#endif
