/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of a type 1 container: VFIO_IOMMU_DIRTY_PAGES.
 */
#include <errno.h>
#include <stdlib.h>

#include "dirty/kernel.h"
#include "protocol/vfio-uapi.h"
#include "util/error.h"
#include "util/ioctl.h"

/* What the kernel takes at once.  It does not let a mapping be cut, so that a
 * range is asked for as a whole. */
#define PAGES_MAX ((UINT64_C(1) << 31) - 1)

struct container {
    int fd;
    uint64_t page_size; /* the only one that it answers for: its smallest */
    struct kernel_ranges ranges;
};

static int control(const struct container *c, uint32_t flag)
{
    struct uapi_type1_dirty arg = {
        .argsz = offsetof(struct uapi_type1_dirty, iova),
        .flags = flag,
    };

    return ioctl_retry(c->fd, UAPI_IOMMU_DIRTY_PAGES, &arg);
}

static int check_ranges(const struct container *c,
                        const struct vfm_dirty_range *ranges, size_t n,
                        struct vfm_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].length / c->page_size > PAGES_MAX)
            return error_set(
                err, -E2BIG,
                "type 1 log: 0x%llx bytes are more than the kernel "
                "can tell of in one piece",
                (unsigned long long)ranges[i].length);
        if ((ranges[i].address | ranges[i].length) & (c->page_size - 1))
            return error_set(err, -EINVAL,
                             "type 1 log: 0x%llx bytes at 0x%llx are no whole "
                             "pages of %llu",
                             (unsigned long long)ranges[i].length,
                             (unsigned long long)ranges[i].address,
                             (unsigned long long)c->page_size);
    }
    return 0;
}

static int start(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                 struct vfm_error *err)
{
    struct container *c = opaque;
    int ret = check_ranges(c, ranges, n, err);

    if (ret < 0)
        return ret;
    ret = kernel_ranges_set(&c->ranges, ranges, n);
    if (ret < 0)
        return error_set(err, ret, "type 1 log: out of memory");
    ret = control(c, UAPI_DIRTY_PAGES_START);
    if (ret < 0)
        return kernel_failed(err, ret, "type 1 log: cannot start it");
    return 0;
}

static int get(void *opaque, uint64_t address, uint64_t length,
               uint64_t *bitmap, size_t bitmap_bytes)
{
    const struct container *c = opaque;
    struct uapi_type1_dirty arg = {
        .argsz = sizeof(arg),
        .flags = UAPI_DIRTY_PAGES_GET_BITMAP,
        .iova = address,
        .size = length,
        .page_size = c->page_size,
        .bitmap_size = bitmap_bytes,
        .bitmap = (uintptr_t)bitmap,
    };

    return ioctl_retry(c->fd, UAPI_IOMMU_DIRTY_PAGES, &arg);
}

static int report(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err)
{
    struct container *c = opaque;
    int ret = kernel_report(&c->ranges, c->page_size, PAGES_MAX, get, c, sink);

    if (ret < 0)
        return kernel_failed(err, ret, "type 1 log: cannot read it");
    return 0;
}

static int stop(void *opaque, struct vfm_error *err)
{
    int ret = control(opaque, UAPI_DIRTY_PAGES_STOP);

    if (ret < 0)
        return kernel_failed(err, ret, "type 1 log: cannot stop it");
    return 0;
}

static void free_container(void *opaque)
{
    struct container *c = opaque;

    kernel_ranges_free(&c->ranges);
    free(c);
}

/* The kernel's smallest page size for the container. */
static int get_page_size(int fd, uint64_t *page_size, struct vfm_error *err)
{
    struct uapi_type1_info info = { .argsz = sizeof(info) };
    int ret = ioctl_retry(fd, UAPI_IOMMU_GET_INFO, &info);

    if (ret < 0)
        return kernel_failed(err, ret,
                             "type 1 log: cannot ask the container what it is");
    if ((info.flags & UAPI_IOMMU_INFO_PGSIZES) == 0 || info.page_sizes == 0)
        return error_set(err, -EPROTO,
                         "type 1 log: the container has no page size");
    *page_size = info.page_sizes & (~info.page_sizes + 1);
    return 0;
}

int vfm_dirty_tracker_new_type1(int container_fd,
                                struct vfm_dirty_tracker **trackerp,
                                struct vfm_error *err)
{
    static const struct vfm_dirty_ops ops = {
        .name = "type 1 log",
        .start = start,
        .report = report,
        .stop = stop,
        .free = free_container,
    };
    struct container *c;
    uint64_t page_size = 0;
    int ret = get_page_size(container_fd, &page_size, err);

    *trackerp = NULL;
    if (ret < 0)
        return ret;
    c = calloc(1, sizeof(*c));
    if (c != NULL) {
        c->fd = container_fd;
        c->page_size = page_size;
    }
    return kernel_tracker_new(&ops, c, trackerp, err);
}
