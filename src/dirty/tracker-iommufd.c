/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOMMU's dirty bits, of one page table of iommufd.
 */
#include <stdlib.h>

#include "dirty/kernel.h"
#include "protocol/iommufd-uapi.h"
#include "util/error.h"
#include "util/ioctl.h"

struct hwpt {
    int fd;
    uint32_t id;
    struct kernel_ranges ranges;
};

static int set_tracking(const struct hwpt *h, bool on)
{
    struct uapi_hwpt_set_dirty arg = {
        .size = sizeof(arg),
        .flags = on ? UAPI_HWPT_DIRTY_ENABLE : 0,
        .hwpt_id = h->id,
    };

    return ioctl_retry(h->fd, UAPI_HWPT_SET_DIRTY_TRACKING, &arg);
}

static int get(void *opaque, uint64_t address, uint64_t length,
               uint64_t *bitmap, size_t bitmap_bytes)
{
    const struct hwpt *h = opaque;
    struct uapi_hwpt_get_dirty arg = {
        .size = sizeof(arg),
        .hwpt_id = h->id,
        .iova = address,
        .length = length,
        .page_size = VFM_DIRTY_PAGE_SIZE,
        .data = (uintptr_t)bitmap,
    };

    (void)bitmap_bytes;
    return ioctl_retry(h->fd, UAPI_HWPT_GET_DIRTY_BITMAP, &arg);
}

static int read_bits(struct hwpt *h, struct vfm_dirty_sink *sink)
{
    return kernel_report(&h->ranges, VFM_DIRTY_PAGE_SIZE, KERNEL_PIECE_PAGES,
                         get, h, sink);
}

static int start(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                 struct vfm_error *err)
{
    struct hwpt *h = opaque;
    int ret = kernel_ranges_set(&h->ranges, ranges, n);

    if (ret < 0)
        return error_set(err, ret, "IOMMU's dirty bits: out of memory");
    ret = set_tracking(h, true);
    if (ret < 0)
        return kernel_failed(err, ret,
                             "IOMMU's dirty bits: cannot start tracking");
    return 0;
}

static int report(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err)
{
    struct hwpt *h = opaque;
    int ret = read_bits(h, sink);

    if (ret < 0)
        return kernel_failed(err, ret, "IOMMU's dirty bits: cannot read those");
    return 0;
}

static int stop(void *opaque, struct vfm_error *err)
{
    const struct hwpt *h = opaque;
    int ret = set_tracking(h, false);

    if (ret < 0)
        return kernel_failed(err, ret,
                             "IOMMU's dirty bits: cannot stop tracking");
    return 0;
}

static void free_hwpt(void *opaque)
{
    struct hwpt *h = opaque;

    kernel_ranges_free(&h->ranges);
    free(h);
}

int vfm_dirty_tracker_new_iommufd(int iommu_fd, uint32_t hwpt_id,
                                  struct vfm_dirty_tracker **trackerp,
                                  struct vfm_error *err)
{
    static const struct vfm_dirty_ops ops = {
        .name = "IOMMU's dirty bits",
        .start = start,
        .report = report,
        .stop = stop,
        .free = free_hwpt,
    };
    struct hwpt *h = calloc(1, sizeof(*h));

    if (h != NULL) {
        h->fd = iommu_fd;
        h->id = hwpt_id;
    }
    return kernel_tracker_new(&ops, h, trackerp, err);
}
