/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake-kernel.h"
#include "protocol/iommufd-uapi.h"

#define PAGE 4096

struct fake_kernel kernel;

void kernel_reset(void)
{
    memset(&kernel, 0, sizeof(kernel));
    kernel.page_sizes = 0x40201000;
}

void kernel_write(uint64_t page)
{
    assert_true(page < FAKE_PAGES);
    kernel.dirty[page] = true;
}

/* Sets a bit for each page of @page_size that has a dirty one, and never clears
 * one, as the kernel does. */
static void tell(uint64_t address, uint64_t length, uint64_t page_size,
                 uint64_t *bitmap, bool forget)
{
    if (length > kernel.largest)
        kernel.largest = length;
    for (uint64_t at = 0; at < length; at += PAGE) {
        uint64_t page = (address + at) / PAGE;
        uint64_t bit = at / page_size;

        if (page >= FAKE_PAGES || !kernel.dirty[page])
            continue;
        bitmap[bit / 64] |= UINT64_C(1) << bit % 64;
        kernel.dirty[page] = !forget;
    }
}

static int start_device(const struct vfio_device_feature_dma_logging_control *c)
{
    const struct vfio_device_feature_dma_logging_range *r =
        (const void *)(uintptr_t)c->ranges;

    assert_int_equal(c->page_size, PAGE);
    if (c->num_ranges == 0 || c->num_ranges > PAGE / sizeof(*r))
        return -EINVAL;
    kernel.num_ranges = c->num_ranges;
    kernel.first = r[0].iova;
    kernel.last = r[c->num_ranges - 1].iova + r[c->num_ranges - 1].length - 1;
    kernel.logs = true;
    return 0;
}

static int device_feature(struct vfio_device_feature *f)
{
    const struct vfio_device_feature_dma_logging_report *r =
        (const void *)f->data;

    switch (f->flags) {
    case VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET |
        VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
        return kernel.has_no_log ? -ENOTTY : 0;
    case VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
        assert_int_equal(
            f->argsz,
            sizeof(*f) +
                sizeof(struct vfio_device_feature_dma_logging_control));
        return start_device((const void *)f->data);
    case VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
        assert_int_equal(f->argsz, sizeof(*f) + sizeof(*r));
        if (!kernel.logs)
            return -EINVAL;
        assert_in_range(r->iova, kernel.first, kernel.last);
        assert_in_range(r->iova + r->length - 1, kernel.first, kernel.last);
        tell(r->iova, r->length, r->page_size, (void *)(uintptr_t)r->bitmap,
             true);
        return 0;
    case VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
        assert_int_equal(f->argsz, sizeof(*f));
        kernel.logs = false;
        return 0;
    default:
        return -EINVAL;
    }
}

static int iommu_set(const struct uapi_hwpt_set_dirty *arg)
{
    assert_int_equal(arg->size, 16);
    if (arg->hwpt_id != FAKE_HWPT)
        return -ENOENT;
    /* Switched on, it begins anew. */
    if (arg->flags & UAPI_HWPT_DIRTY_ENABLE)
        memset(kernel.dirty, 0, sizeof(kernel.dirty));
    kernel.logs = (arg->flags & UAPI_HWPT_DIRTY_ENABLE) != 0;
    return 0;
}

static int iommu_get(const struct uapi_hwpt_get_dirty *arg)
{
    assert_int_equal(arg->size, 48);
    assert_int_equal(arg->flags, 0);
    if (arg->hwpt_id != FAKE_HWPT)
        return -ENOENT;
    if (!kernel.logs || (arg->iova | arg->length) % arg->page_size != 0)
        return -EINVAL;
    tell(arg->iova, arg->length, arg->page_size, (void *)(uintptr_t)arg->data,
         true);
    return 0;
}

static int container_info(struct vfio_iommu_type1_info *info)
{
    assert_true(info->argsz >= 16);
    info->flags = VFIO_IOMMU_INFO_PGSIZES;
    info->iova_pgsizes = kernel.page_sizes;
    return 0;
}

static int container_get(const struct vfio_iommu_type1_dirty_bitmap *arg)
{
    const struct vfio_iommu_type1_dirty_bitmap_get *get =
        (const void *)arg->data;
    uint64_t pages = get->size / get->bitmap.pgsize;

    assert_int_equal(arg->argsz, sizeof(*arg) + sizeof(*get));
    if (!kernel.logs ||
        get->bitmap.pgsize != (kernel.page_sizes & -kernel.page_sizes) ||
        pages == 0 || get->bitmap.size < (pages + 63) / 64 * 8)
        return -EINVAL;
    tell(get->iova, get->size, get->bitmap.pgsize, (void *)get->bitmap.data,
         true);
    return 0;
}

static int container_dirty(const struct vfio_iommu_type1_dirty_bitmap *arg)
{
    switch (arg->flags) {
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
        kernel.logs = true;
        return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
        kernel.logs = false;
        return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
        return container_get(arg);
    default:
        return -EINVAL;
    }
}

static int vm_region(const struct kvm_userspace_memory_region *region)
{
    if (region->slot == 9)
        return -EINVAL;
    kernel.slot_flags = region->flags;
    kernel.logs = (region->flags & KVM_MEM_LOG_DIRTY_PAGES) != 0;
    kernel.first = region->guest_phys_addr;
    kernel.last = region->guest_phys_addr + region->memory_size - 1;
    return 0;
}

static int vm_log(const struct kvm_dirty_log *log)
{
    uint64_t length = kernel.last + 1 - kernel.first;

    if (!kernel.logs)
        return -ENOENT;
    /* KVM writes all words of the slot. */
    memset(log->dirty_bitmap, 0, (length / PAGE + 63) / 64 * 8);
    tell(kernel.first, length, PAGE, log->dirty_bitmap, !kernel.manual_protect);
    return 0;
}

static int vm_clear(const struct kvm_clear_dirty_log *arg)
{
    const uint64_t *bitmap = arg->dirty_bitmap;
    uint64_t first = kernel.first / PAGE;

    if (arg->first_page % 64 != 0)
        return -EINVAL;
    for (uint64_t i = 0; i < arg->num_pages; i++)
        if (bitmap[i / 64] >> i % 64 & 1)
            kernel.dirty[first + arg->first_page + i] = false;
    if (kernel.before_clear != NULL)
        kernel.before_clear();
    return 0;
}

static int answer(int fd, unsigned long request, void *arg)
{
    if (fd == FAKE_DEVICE && request == VFIO_DEVICE_FEATURE)
        return device_feature(arg);
    if (fd == FAKE_IOMMU && request == UAPI_HWPT_SET_DIRTY_TRACKING)
        return iommu_set(arg);
    if (fd == FAKE_IOMMU && request == UAPI_HWPT_GET_DIRTY_BITMAP)
        return iommu_get(arg);
    if (fd == FAKE_CONTAINER && request == VFIO_IOMMU_GET_INFO)
        return container_info(arg);
    if (fd == FAKE_CONTAINER && request == VFIO_IOMMU_DIRTY_PAGES)
        return container_dirty(arg);
    if (fd == FAKE_VM && request == KVM_SET_USER_MEMORY_REGION)
        return vm_region(arg);
    if (fd == FAKE_VM && request == KVM_GET_DIRTY_LOG)
        return vm_log(arg);
    if (fd == FAKE_VM && request == KVM_CLEAR_DIRTY_LOG)
        return vm_clear(arg);
    if (fd == FAKE_VM && request == KVM_RESET_DIRTY_RINGS) {
        __atomic_add_fetch(&kernel.resets, 1, __ATOMIC_RELAXED);
        return 0;
    }
    fail_msg("ioctl 0x%lx on descriptor %d", request, fd);
    return -ENOTTY;
}

static bool is_to_fail(unsigned long request)
{
    return kernel.fail != 0 && request == kernel.fail_request &&
           (kernel.fail_skip == 0 || kernel.fail_skip-- == 0);
}

/* The linker's name for what the library calls. */
int __wrap_ioctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
    int ret;

    if (kernel.interrupts > 0) {
        kernel.interrupts--;
        errno = EINTR;
        return -1;
    }
    ret = is_to_fail(request) ? kernel.fail : answer(fd, request, arg);
    if (ret >= 0)
        return ret;
    errno = -ret;
    return -1;
}
