/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The type 1 container.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/dirty.h"
#include "bridge/memory.h"
#include "bridge/node.h"

/* What is known of the kernel's flags. */
#define MAP_FLAGS ((uint32_t)(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
#define UNMAP_FLAGS \
    ((uint32_t)(VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP))

struct container {
    struct file file;
    struct space space;
    pthread_mutex_t lock;
    unsigned groups;
    _Atomic unsigned long iommu; /* 0: not set */
    atomic_bool is_logging;
};

static struct container *container_of(struct file *f)
{
    return (struct container *)f;
}

/* ---------------------------------------------------------- extensions */

static int check_extension(unsigned long extension)
{
    switch (extension) {
    case VFIO_TYPE1_IOMMU:
    case VFIO_TYPE1v2_IOMMU:
    case VFIO_DMA_CC_IOMMU:
    case VFIO_UNMAP_ALL:
        return 1;
    }
    return 0;
}

static int set_iommu(struct container *c, unsigned long type)
{
    int ret = -EINVAL;

    if (type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU)
        return -ENODEV;
    pthread_mutex_lock(&c->lock);
    if (c->groups > 0 && c->iommu == 0) {
        c->iommu = type;
        ret = 0;
    }
    pthread_mutex_unlock(&c->lock);
    return ret;
}

/* ----------------------------------------------------------------- info */

struct info_caps {
    struct vfio_info_cap_header range_head;
    uint32_t num_ranges;
    uint32_t reserved;
    struct uapi_iova_range range;
    struct vfio_iommu_type1_info_cap_migration migration;
    struct vfio_iommu_type1_info_dma_avail avail;
    uint32_t padding;
};

#define CAP_OFFSET(member)                             \
    ((uint32_t)(sizeof(struct vfio_iommu_type1_info) + \
                offsetof(struct info_caps, member)))

static int get_info(struct container *c, void *arg)
{
    struct vfio_iommu_type1_info info;
    struct info_caps caps = {
        .range_head = { VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1,
                        CAP_OFFSET(migration) },
        .num_ranges = 1,
        .range = { 0, BRIDGE_LAST_IOVA },
        .migration.header = { VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, 1,
                              CAP_OFFSET(avail) },
        .migration.pgsize_bitmap = BRIDGE_PAGE_SIZE,
        .migration.max_dirty_bitmap_size = DIRTY_BITMAP_MAX,
        .avail.header = { VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 1, 0 },
        .avail.avail = (uint32_t)(SPACE_MAX_MAPPINGS - space_count(&c->space)),
    };
    size_t min = offsetof(struct vfio_iommu_type1_info, cap_offset);
    uint32_t room;
    int ret = argument_get(arg, &info, min, sizeof(info));

    if (ret < 0)
        return ret;
    room = info.argsz;
    info = (struct vfio_iommu_type1_info){
        .argsz = sizeof(info) + sizeof(caps),
        .flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
        .iova_pgsizes = ~(BRIDGE_PAGE_SIZE - 1),
    };
    if (room >= info.argsz) {
        info.cap_offset = sizeof(info);
        ret = argument_put((char *)arg + sizeof(info), &caps, sizeof(caps));
    }
    if (ret < 0)
        return ret;
    return argument_put(arg, &info, room < sizeof(info) ? min : sizeof(info));
}

/* ------------------------------------------------------------- mappings */

static int map_dma(struct container *c, void *arg)
{
    struct vfio_iommu_type1_dma_map map;
    struct mapping m;
    int ret = argument_get(arg, &map, sizeof(map), sizeof(map));

    if (ret < 0)
        return ret;
    if ((map.flags & ~MAP_FLAGS) != 0)
        return -EINVAL;
    m = (struct mapping){
        .iova = map.iova,
        .size = map.size,
        .address = map.vaddr,
        .access =
            ((map.flags & VFIO_DMA_MAP_FLAG_READ) != 0 ? SPACE_READ : 0) |
            ((map.flags & VFIO_DMA_MAP_FLAG_WRITE) != 0 ? SPACE_WRITE : 0),
    };
    return space_map(&c->space, &m);
}

/* The last address of what is to go. */
static int check_unmap(const struct vfio_iommu_type1_dma_unmap *unmap,
                       uint64_t *last)
{
    if ((unmap->flags & ~UNMAP_FLAGS) != 0 || unmap->flags == UNMAP_FLAGS)
        return -EINVAL;
    *last = UINT64_MAX;
    if ((unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL) != 0)
        return unmap->iova == 0 && unmap->size == 0 ? 0 : -EINVAL;
    *last = unmap->iova + (unmap->size - 1);
    if (unmap->size == 0 || *last < unmap->iova ||
        (unmap->iova | unmap->size) % BRIDGE_PAGE_SIZE != 0)
        return -EINVAL;
    return 0;
}

/* What goes is reported before it does. */
static int report_unmapped(struct container *c, const void *arg,
                           const struct vfio_iommu_type1_dma_unmap *unmap,
                           uint64_t last)
{
    struct vfio_bitmap b;
    int ret;

    if ((unmap->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) == 0)
        return 0;
    if (!c->is_logging || unmap->argsz < sizeof(*unmap) + sizeof(b))
        return -EINVAL;
    ret = memory_read((uintptr_t)arg + sizeof(*unmap), &b, sizeof(b));
    if (ret == 0)
        ret = dirty_check(unmap->size, &b);
    return ret < 0
               ? ret
               : dirty_report(&c->space, unmap->iova, last, (uintptr_t)b.data);
}

static int unmap_dma(struct container *c, void *arg)
{
    struct vfio_iommu_type1_dma_unmap unmap;
    uint64_t unmapped = 0;
    uint64_t last;
    int ret = argument_get(arg, &unmap, sizeof(unmap), sizeof(unmap));

    if (ret == 0)
        ret = check_unmap(&unmap, &last);
    if (ret == 0)
        ret = report_unmapped(c, arg, &unmap, last);
    if (ret == 0)
        ret = space_unmap(&c->space, unmap.iova, last, &unmapped);
    unmap.size = unmapped;
    return ret < 0 ? ret : argument_put(arg, &unmap, sizeof(unmap));
}

static int ioctl_iommu(struct container *c, unsigned long request, void *arg)
{
    if (c->iommu == 0)
        return -EINVAL;
    switch (request) {
    case VFIO_IOMMU_GET_INFO:
        return get_info(c, arg);
    case VFIO_IOMMU_MAP_DMA:
        return map_dma(c, arg);
    case VFIO_IOMMU_UNMAP_DMA:
        return unmap_dma(c, arg);
    case VFIO_IOMMU_DIRTY_PAGES:
        return c->iommu == VFIO_TYPE1v2_IOMMU
                   ? dirty_ioctl(&c->space, &c->is_logging, arg)
                   : -EACCES;
    }
    return -ENOTTY;
}

static int ioctl_container(struct file *f, unsigned long request, void *arg)
{
    struct container *c = container_of(f);

    switch (request) {
    case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION:
        return check_extension((uintptr_t)arg);
    case VFIO_SET_IOMMU:
        return set_iommu(c, (uintptr_t)arg);
    }
    return ioctl_iommu(c, request, arg);
}

static void release_container(struct file *f)
{
    space_free(&container_of(f)->space);
    free(f);
}

static const struct file_ops container_ops = {
    .name = "vfio-container",
    .ioctl = ioctl_container,
    .release = release_container,
};

int container_open(int flags)
{
    struct container *c = calloc(1, sizeof(*c));
    int fd;

    if (c == NULL)
        return -ENOMEM;
    space_init(&c->space);
    pthread_mutex_init(&c->lock, NULL);
    c->file.rdev = node_number("/dev/vfio/vfio");
    fd = file_open(&c->file, &container_ops, flags, false);
    if (fd < 0)
        free(c);
    return fd;
}

bool is_container(const struct file *f)
{
    return f->ops == &container_ops;
}

void container_join(struct file *f)
{
    struct container *c = container_of(f);

    pthread_mutex_lock(&c->lock);
    c->groups++;
    pthread_mutex_unlock(&c->lock);
}

/* With the last group its IOMMU goes. */
void container_leave(struct file *f)
{
    struct container *c = container_of(f);
    uint64_t unmapped;

    pthread_mutex_lock(&c->lock);
    if (--c->groups == 0) {
        c->iommu = 0;
        c->is_logging = false;
        space_unmap(&c->space, 0, UINT64_MAX, &unmapped);
    }
    pthread_mutex_unlock(&c->lock);
}

struct space *container_space(struct file *f)
{
    struct container *c = container_of(f);

    return c->iommu == 0 ? NULL : &c->space;
}
