/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Type 1's log of what devices write: as in the kernel it knows no more than
 * what they could have written, which is all that is mapped.
 */
#include <errno.h>
#include <string.h>

#include "bridge/dirty.h"
#include "bridge/memory.h"
#include "bridge/uapi.h"

/* Sets @count bits from @first on in the bitmap at @address. */
static int set_bits(uint64_t address, uint64_t first, uint64_t count)
{
    uint8_t bytes[4096];
    int ret = 0;

    while (count > 0 && ret == 0) {
        uint64_t at = first / 8;
        uint64_t room = sizeof(bytes) * 8 - first % 8;
        uint64_t n = count < room ? count : room;
        size_t len = (size_t)((first % 8 + n + 7) / 8);

        ret = memory_read(address + at, bytes, len);
        if (ret < 0)
            break;
        for (uint64_t i = first % 8; i < first % 8 + n;)
            if (i % 8 == 0 && first % 8 + n - i >= 8) {
                bytes[i / 8] = 0xff;
                i += 8;
            } else {
                bytes[i / 8] |= (uint8_t)(1u << i % 8);
                i++;
            }
        ret = memory_write(address + at, bytes, len);
        first += n;
        count -= n;
    }
    return ret;
}

int dirty_check(uint64_t size, const struct vfio_bitmap *b)
{
    uint64_t words = (size / BRIDGE_PAGE_SIZE + 63) / 64;

    if (b->pgsize != BRIDGE_PAGE_SIZE || size == 0 ||
        size % BRIDGE_PAGE_SIZE != 0 || b->size > DIRTY_BITMAP_MAX ||
        b->size < words * 8)
        return -EINVAL;
    return 0;
}

int dirty_report(struct space *s, uint64_t iova, uint64_t last,
                 uint64_t address)
{
    int ret = 0;

    pthread_mutex_lock(&s->list_lock);
    for (size_t i = 0; i < s->count && ret == 0; i++) {
        const struct mapping *m = &s->mappings[i];
        uint64_t begin = m->iova > iova ? m->iova : iova;
        uint64_t end = m->iova + (m->size - 1);

        end = end < last ? end : last;
        if (begin <= end && (m->access & SPACE_WRITE) != 0)
            ret = set_bits(address, (begin - iova) / BRIDGE_PAGE_SIZE,
                           (end - begin) / BRIDGE_PAGE_SIZE + 1);
    }
    pthread_mutex_unlock(&s->list_lock);
    return ret;
}

static int get_bitmap(struct space *s, bool is_logging, const void *arg)
{
    struct uapi_type1_dirty d;
    struct vfio_bitmap b;
    uint64_t last;
    int ret = argument_get(arg, &d, sizeof(d), sizeof(d));

    if (ret < 0)
        return ret;
    b = (struct vfio_bitmap){ .pgsize = d.page_size, .size = d.bitmap_size };
    last = d.iova + (d.size - 1);
    if (!is_logging || d.iova % BRIDGE_PAGE_SIZE != 0 ||
        (d.size > 0 && last < d.iova))
        return -EINVAL;
    ret = dirty_check(d.size, &b);
    return ret < 0 ? ret : dirty_report(s, d.iova, last, d.bitmap);
}

int dirty_ioctl(struct space *s, atomic_bool *is_logging, void *arg)
{
    struct vfio_iommu_type1_dirty_bitmap head;
    int ret = argument_get(arg, &head, sizeof(head), sizeof(head));

    if (ret < 0)
        return ret;
    switch (head.flags) {
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
        *is_logging = true;
        return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
        *is_logging = false;
        return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
        return get_bitmap(s, *is_logging, arg);
    }
    return -EINVAL;
}
