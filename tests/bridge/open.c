/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two ways to a device, its registers and its state.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"

static int open_node(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    expect(fd >= 0, path);
    expect(fstat(fd, &st) == 0 && S_ISCHR(st.st_mode),
           "a node is a character device");
    return fd;
}

/* ------------------------------------------------------------ by group */

static int open_group(const char *address)
{
    char path[300];
    char link[256];
    ssize_t n;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.100s/iommu_group",
             address);
    n = readlink(path, link, sizeof(link) - 1);
    expect(n > 0, "the device is in a group");
    link[n] = '\0';
    snprintf(path, sizeof(path), "/dev/vfio%s", strrchr(link, '/'));
    return open_node(path);
}

static void open_by_group(struct client *c)
{
    struct vfio_group_status status = { .argsz = sizeof(status) };
    struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };

    c->container = open_node("/dev/vfio/vfio");
    expect(ioctl(c->container, VFIO_GET_API_VERSION) == VFIO_API_VERSION,
           "the version is known");
    expect(ioctl(c->container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) == 1,
           "there is a type 1 IOMMU");
    c->group = open_group(c->address);
    expect(ioctl(c->group, VFIO_GROUP_GET_STATUS, &status) == 0 &&
               status.flags == VFIO_GROUP_FLAGS_VIABLE,
           "the group is viable, and in no container");
    expect(ioctl(c->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0 &&
               errno == EINVAL,
           "a container without a group has no IOMMU");
    expect(ioctl(c->group, VFIO_GROUP_GET_DEVICE_FD, c->address) < 0 &&
               errno == EINVAL,
           "a group without a container gives nothing out");
    expect(ioctl(c->group, VFIO_GROUP_SET_CONTAINER, &c->container) == 0,
           "the group joins the container");
    expect(ioctl(c->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0,
           "the container gets its IOMMU");
    expect(ioctl(c->container, VFIO_IOMMU_GET_INFO, &info) == 0 &&
               (info.iova_pgsizes & 4096) != 0 &&
               (info.flags & VFIO_IOMMU_INFO_CAPS) != 0 &&
               info.argsz > sizeof(info) && info.cap_offset == 0,
           "the IOMMU says what it can do, and how much more it would say");
    c->device = ioctl(c->group, VFIO_GROUP_GET_DEVICE_FD, c->address);
    expect(c->device >= 0, "the group gives its device out");
}

/* ------------------------------------------------------------- by cdev */

static void find_cdev(const char *address, char *path, size_t size)
{
    const struct dirent *entry;
    char folder[300];
    DIR *dir;

    snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%.100s/vfio-dev",
             address);
    dir = opendir(folder);
    expect(dir != NULL, folder);
    *path = '\0';
    while ((entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, "vfio", 4) == 0)
            snprintf(path, size, "/dev/vfio/devices/%.60s", entry->d_name);
    closedir(dir);
}

static void open_by_cdev(struct client *c)
{
    struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
    struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
    struct vfio_device_info info = { .argsz = sizeof(info) };
    struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
    char path[128];

    find_cdev(c->address, path, sizeof(path));
    c->device = open_node(path);
    c->container = open_node("/dev/iommu");
    expect(ioctl(c->device, VFIO_DEVICE_GET_INFO, &info) < 0 && errno == EINVAL,
           "an unbound device says nothing");
    bind.iommufd = c->container;
    expect(ioctl(c->device, VFIO_DEVICE_BIND_IOMMUFD, &bind) == 0,
           "the device is bound");
    expect(ioctl(c->device, VFIO_DEVICE_BIND_IOMMUFD, &bind) < 0 &&
               errno == EINVAL,
           "it is bound once");
    expect(ioctl(c->container, IOMMU_IOAS_ALLOC, &alloc) == 0,
           "there is an address space");
    c->ioas = attach.pt_id = alloc.out_ioas_id;
    expect(ioctl(c->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) == 0,
           "the device is attached to it");
}

void client_open(struct client *c, const char *how, const char *address)
{
    *c = (struct client){ .address = address, .group = -1 };
    c->by_cdev = strcmp(how, "cdev") == 0;
    if (c->by_cdev)
        open_by_cdev(c);
    else
        open_by_group(c);
}

void client_close(struct client *c)
{
    expect(close(c->device) == 0, "the device is closed");
    if (c->group >= 0)
        expect(close(c->group) == 0, "the group is closed");
    expect(close(c->container) == 0, "the container is closed");
}

/* ------------------------------------------------------------- mappings */

int client_map(struct client *c, void *memory, uint64_t size, uint64_t iova,
               bool writable)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ |
                 (writable ? (uint32_t)VFIO_DMA_MAP_FLAG_WRITE : 0),
        .vaddr = (uintptr_t)memory,
        .iova = iova,
        .size = size,
    };
    struct iommu_ioas_map ioas_map = {
        .size = sizeof(ioas_map),
        .flags = 1 | 4 | (writable ? 2 : 0),
        .ioas_id = c->ioas,
        .user_va = (uintptr_t)memory,
        .length = size,
        .iova = iova,
    };
    int ret = c->by_cdev ? ioctl(c->container, IOMMU_IOAS_MAP, &ioas_map)
                         : ioctl(c->container, VFIO_IOMMU_MAP_DMA, &map);

    return ret < 0 ? -errno : 0;
}

int client_unmap(struct client *c, uint64_t iova, uint64_t size)
{
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = iova,
        .size = size,
    };
    struct iommu_ioas_unmap ioas_unmap = {
        .size = sizeof(ioas_unmap),
        .ioas_id = c->ioas,
        .iova = iova,
        .length = size,
    };
    int ret = c->by_cdev ? ioctl(c->container, IOMMU_IOAS_UNMAP, &ioas_unmap)
                         : ioctl(c->container, VFIO_IOMMU_UNMAP_DMA, &unmap);

    if (ret == 0)
        expect((c->by_cdev ? ioas_unmap.length : unmap.size) == size,
               "it is told how much was unmapped");
    return ret < 0 ? -errno : 0;
}

/* ------------------------------------------------------------ registers */

uint64_t client_region(const struct client *c, uint32_t index,
                       struct vfio_region_info *info)
{
    *info = (struct vfio_region_info){ .argsz = sizeof(*info), .index = index };
    expect(ioctl(c->device, VFIO_DEVICE_GET_REGION_INFO, info) == 0,
           "a region is described");
    return info->offset;
}

void client_read(const struct client *c, uint32_t index, uint64_t at,
                 void *data, size_t len)
{
    struct vfio_region_info info;
    uint64_t offset = client_region(c, index, &info);

    expect(pread(c->device, data, len, (off_t)(offset + at)) == (ssize_t)len,
           "a region is read");
}

void client_write(const struct client *c, uint32_t index, uint64_t at,
                  const void *data, size_t len)
{
    struct vfio_region_info info;
    uint64_t offset = client_region(c, index, &info);

    expect(pwrite(c->device, data, len, (off_t)(offset + at)) == (ssize_t)len,
           "a region is written");
}

uint32_t reg32(const struct client *c, uint64_t at)
{
    uint32_t value;

    client_read(c, VFIO_PCI_BAR0_REGION_INDEX, at, &value, sizeof(value));
    return value;
}

uint64_t reg64(const struct client *c, uint64_t at)
{
    uint64_t value;

    client_read(c, VFIO_PCI_BAR0_REGION_INDEX, at, &value, sizeof(value));
    return value;
}

void set32(const struct client *c, uint64_t at, uint32_t value)
{
    client_write(c, VFIO_PCI_BAR0_REGION_INDEX, at, &value, sizeof(value));
}

void set64(const struct client *c, uint64_t at, uint64_t value)
{
    client_write(c, VFIO_PCI_BAR0_REGION_INDEX, at, &value, sizeof(value));
}

int client_feature(const struct client *c, uint32_t flags, void *data,
                   size_t len)
{
    uint8_t buf[256];
    struct vfio_device_feature *f = (struct vfio_device_feature *)buf;
    int ret;

    f->argsz = (uint32_t)(sizeof(*f) + len);
    f->flags = flags;
    memcpy(f->data, data, len);
    ret = ioctl(c->device, VFIO_DEVICE_FEATURE, f);
    memcpy(data, f->data, len);
    return ret < 0 ? -errno : 0;
}

/* --------------------------------------------------------------- states */

static struct vfio_device_feature_mig_state ask_state(const struct client *c,
                                                      uint32_t how,
                                                      uint32_t state)
{
    struct vfio_device_feature_mig_state s = { state, -1 };

    expect(client_feature(c, how | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &s,
                          sizeof(s)) == 0,
           "the device changes its state, or tells it");
    return s;
}

int client_go(const struct client *c, uint32_t state)
{
    return ask_state(c, VFIO_DEVICE_FEATURE_SET, state).data_fd;
}

uint32_t client_state(const struct client *c)
{
    return ask_state(c, VFIO_DEVICE_FEATURE_GET, 0).device_state;
}
