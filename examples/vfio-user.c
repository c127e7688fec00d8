/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM's side of a device behind a vfio-user server: it gives the device
 * memory and interrupts, and looks where its regions can be mapped.
 *
 *     example-vfio-user SOCKET
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vfmig/device.h>
#include <vfmig/vfio_user.h>

#define RAM_SIZE    (UINT64_C(1) << 20)
#define RAM_IOVA    UINT64_C(0x100000)
#define MSG_IOVA    UINT64_C(0x80000000)
#define MSIX        2
#define MAX_VECTORS 64
#define MAX_AREAS   8

/* Memory that the device reaches by asking. */
static char by_message[4096];

static bool is_ours(uint64_t iova, size_t len)
{
    return iova >= MSG_IOVA && len <= sizeof(by_message) &&
           iova - MSG_IOVA <= sizeof(by_message) - len;
}

static int read_memory(void *opaque, uint64_t iova, void *data, size_t len)
{
    (void)opaque;
    if (!is_ours(iova, len))
        return -EFAULT;
    memcpy(data, by_message + (iova - MSG_IOVA), len);
    return 0;
}

static int write_memory(void *opaque, uint64_t iova, const void *data,
                        size_t len)
{
    (void)opaque;
    if (!is_ours(iova, len))
        return -EFAULT;
    memcpy(by_message + (iova - MSG_IOVA), data, len);
    return 0;
}

static const struct vfm_dma_ops memory_ops = {
    .size = sizeof(memory_ops),
    .read = read_memory,
    .write = write_memory,
};

/* One range that is mapped by a descriptor and one that is not. */
static int give_memory(struct vfm_device *dev, struct vfm_error *err)
{
    int fd = memfd_create("ram", MFD_CLOEXEC);
    int ret = -1;

    if (fd >= 0 && ftruncate(fd, (off_t)RAM_SIZE) == 0)
        ret = vfm_vfio_user_dma_map(dev, RAM_IOVA, RAM_SIZE, fd, 0,
                                    VFM_DMA_READ | VFM_DMA_WRITE, err);
    if (fd >= 0)
        close(fd);
    if (ret < 0)
        return ret;
    ret = vfm_vfio_user_set_dma_ops(dev, &memory_ops, NULL, err);
    if (ret < 0)
        return ret;
    return vfm_vfio_user_dma_map(dev, MSG_IOVA, sizeof(by_message), -1, 0,
                                 VFM_DMA_READ | VFM_DMA_WRITE, err);
}

static int give_interrupts(struct vfm_device *dev, uint32_t count,
                           struct vfm_error *err)
{
    int fds[MAX_VECTORS];
    int ret;

    if (count > MAX_VECTORS)
        count = MAX_VECTORS;
    for (uint32_t i = 0; i < count; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ret = vfm_vfio_user_set_irqs(dev, MSIX, 0, count, fds, err);
    /* The device has its own copies now. */
    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
    if (ret == 0)
        printf("%u interrupts\n", count);
    return ret;
}

static int show_regions(struct vfm_device *dev, struct vfm_error *err)
{
    struct vfm_region_area areas[MAX_AREAS];
    uint64_t fd_offset;
    int fd;

    for (uint32_t region = 0; region < 6; region++) {
        int n = vfm_vfio_user_region_areas(dev, region, areas, MAX_AREAS, &fd,
                                           &fd_offset, err);

        if (n < 0)
            return n;
        for (int i = 0; i < n && i < MAX_AREAS; i++)
            printf("region %u: 0x%llx bytes at 0x%llx can be mapped\n", region,
                   (unsigned long long)areas[i].size,
                   (unsigned long long)areas[i].offset);
    }
    return 0;
}

static int set_up(struct vfm_device *dev, struct vfm_error *err)
{
    struct vfm_device_info info = { .size = sizeof(info) };
    int ret = give_memory(dev, err);

    vfm_device_get_info(dev, &info);
    if (ret == 0)
        ret = give_interrupts(dev, info.msix_count, err);
    if (ret == 0)
        ret = show_regions(dev, err);
    /* Now and then, and whenever vfm_vfio_user_fd() can be read. */
    if (ret == 0)
        ret = vfm_vfio_user_process(dev, err);
    if (ret == 0)
        ret = vfm_vfio_user_dma_unmap(dev, RAM_IOVA, RAM_SIZE, err);
    return ret;
}

int main(int argc, char *argv[])
{
    struct vfm_error err = { 0 };
    struct vfm_device *dev;
    int ret;

    if (argc != 2) {
        fprintf(stderr, "usage: example-vfio-user SOCKET\n");
        return 2;
    }
    ret = vfm_device_open_vfio_user(argv[1], NULL, NULL, &dev, &err);
    if (ret == 0) {
        printf("%s is %s\n", vfm_device_name(dev),
               vfm_state_name(vfm_device_state(dev)));
        ret = set_up(dev, &err);
        vfm_device_close(dev);
    }
    if (ret < 0)
        fprintf(stderr, "example-vfio-user: %s\n", err.message);
    return ret < 0 ? 1 : 0;
}
