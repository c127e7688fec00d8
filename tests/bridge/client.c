/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tries everything that a VFIO program does with an emulated device that it
 * takes for one of the kernel's.
 *
 *   client group|cdev ADDRESS [CHAPTER]...
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"

void expect(bool is_true, const char *sentence)
{
    if (is_true)
        return;
    fprintf(stderr, "client: not so: %s (%s)\n", sentence, strerror(errno));
    exit(EXIT_FAILURE);
}

/* -------------------------------------------------------------- regions */

static void try_mapping(struct client *c)
{
    uint64_t buf[64] = { 0 };
    struct vfio_region_info *info = (struct vfio_region_info *)buf;
    const struct vfio_region_info_cap_sparse_mmap *cap =
        (const void *)(info + 1);
    const uint64_t *mapped;
    uint64_t value = 0x1122334455667788;
    uint64_t size;

    info->argsz = sizeof(buf);
    info->index = VFIO_PCI_BAR2_REGION_INDEX;
    expect(ioctl(c->device, VFIO_DEVICE_GET_REGION_INFO, info) == 0 &&
               (info->flags & VFIO_REGION_INFO_FLAG_MMAP) != 0 &&
               (info->flags & VFIO_REGION_INFO_FLAG_CAPS) != 0 &&
               info->cap_offset == sizeof(*info) &&
               cap->header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP &&
               cap->nr_areas == 1 && cap->areas[0].offset == EDEV_BAR2_TRAPPED,
           "a region that can be mapped says where");
    size = cap->areas[0].size;
    mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->device,
                  (off_t)(info->offset + EDEV_BAR2_TRAPPED));
    expect(mapped != MAP_FAILED, "it is mapped there");
    client_write(c, VFIO_PCI_BAR2_REGION_INDEX, EDEV_BAR2_TRAPPED + 64, &value,
                 sizeof(value));
    expect(mapped[8] == value, "what is written is seen in the mapping");
    munmap((void *)(uintptr_t)mapped, size);
    expect(mmap(NULL, 4096, PROT_READ, MAP_SHARED, c->device,
                (off_t)info->offset) == MAP_FAILED &&
               errno == EINVAL,
           "it is mapped nowhere else");
}

void try_regions(struct client *c)
{
    struct vfio_device_info info = { .argsz = sizeof(info) };
    struct vfio_region_info region;
    uint16_t vendor;

    expect(ioctl(c->device, VFIO_DEVICE_GET_INFO, &info) == 0 &&
               (info.flags & VFIO_DEVICE_FLAGS_PCI) != 0 &&
               info.num_regions == VFIO_PCI_NUM_REGIONS &&
               info.num_irqs == VFIO_PCI_NUM_IRQS,
           "it is a PCI device");
    client_read(c, VFIO_PCI_CONFIG_REGION_INDEX, 0, &vendor, sizeof(vendor));
    expect(vendor == EDEV_PCI_VENDOR, "its configuration space is read");
    expect(reg32(c, EDEV_REG_MAGIC) == EDEV_MAGIC, "its registers are read");
    set64(c, EDEV_REG_SCRATCH, 42);
    expect(reg64(c, EDEV_REG_SCRATCH) == 42, "its registers are written");
    client_region(c, VFIO_PCI_BAR1_REGION_INDEX, &region);
    expect(region.size == 0, "a region that is not there is empty");
    try_mapping(c);
    expect(ioctl(c->device, VFIO_DEVICE_RESET) == 0 &&
               reg64(c, EDEV_REG_SCRATCH) == 0,
           "a reset forgets");
}

/* ----------------------------------------------------------- interrupts */

static int set_vectors(const struct client *c, uint32_t start, uint32_t count,
                       const int32_t *fds)
{
    uint8_t buf[256];
    struct vfio_irq_set *set = (struct vfio_irq_set *)buf;

    *set = (struct vfio_irq_set){
        .argsz = (uint32_t)(sizeof(*set) + count * sizeof(*fds)),
        .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
        .index = VFIO_PCI_MSIX_IRQ_INDEX,
        .start = start,
        .count = count,
    };
    memcpy(set->data, fds, count * sizeof(*fds));
    return ioctl(c->device, VFIO_DEVICE_SET_IRQS, set);
}

static bool is_signalled(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t count;

    return poll(&p, 1, 0) == 1 && read(fd, &count, sizeof(count)) == 8;
}

/* A vector that is raised, and one that is not; then they are untied. */
void try_interrupts(struct client *c)
{
    struct vfio_irq_info info = { .argsz = sizeof(info),
                                  .index = VFIO_PCI_MSIX_IRQ_INDEX };
    int32_t fds[3] = { eventfd(0, 0), -1, eventfd(0, 0) };
    int32_t none[3] = { -1, -1, -1 };
    uint32_t vector = 2;

    expect(ioctl(c->device, VFIO_DEVICE_GET_IRQ_INFO, &info) == 0 &&
               info.count == 8 && (info.flags & VFIO_IRQ_INFO_EVENTFD) != 0,
           "it has MSI-X");
    expect(set_vectors(c, 0, 3, fds) == 0, "vectors are tied to eventfds");
    set32(c, EDEV_REG_IRQ_ENABLE, EDEV_IRQ_SOFTWARE);
    set32(c, EDEV_REG_IRQ_VECTOR, vector);
    set32(c, EDEV_REG_IRQ_RAISE, EDEV_IRQ_SOFTWARE);
    expect(is_signalled(fds[2]), "an interrupt arrives");
    expect(!is_signalled(fds[0]), "and no other");
    set32(c, EDEV_REG_IRQ_CAUSE, EDEV_IRQ_SOFTWARE);
    expect(set_vectors(c, 0, 3, none) == 0, "vectors are untied");
    set32(c, EDEV_REG_IRQ_RAISE, EDEV_IRQ_SOFTWARE);
    expect(!is_signalled(fds[2]), "an untied vector is silent");
    set32(c, EDEV_REG_IRQ_CAUSE, EDEV_IRQ_SOFTWARE);
    expect(set_vectors(c, 7, 2, none) < 0 && errno == EINVAL,
           "there is no ninth vector");
    close(fds[0]);
    close(fds[2]);
}

/* --------------------------------------------------------------- errors */

/* The program's own mistakes are errors, and the device lives on. */
static void try_bad_pointers(const struct client *c)
{
    char *nowhere =
        mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int32_t closed = dup(c->device);
    struct vfio_region_info info;
    off_t at = (off_t)client_region(c, VFIO_PCI_BAR0_REGION_INDEX, &info) +
               EDEV_REG_SCRATCH;

    close(closed);
    expect(pread(c->device, nowhere, 8, at) < 0 && errno == EFAULT,
           "a read to nowhere is refused");
    expect(pwrite(c->device, nowhere, 8, at) < 0 && errno == EFAULT,
           "a write from nowhere is refused");
    expect(mprotect(nowhere, 4096, PROT_READ | PROT_WRITE) == 0 &&
               pread(c->device, nowhere + 4092, 8, at) < 0 && errno == EFAULT &&
               pwrite(c->device, nowhere + 4092, 8, at) < 0 && errno == EFAULT,
           "so is one that is half there");
    expect(set_vectors(c, 0, 1, &closed) < 0 && errno == EBADF,
           "a descriptor that is closed is refused");
    expect(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, c->device, at) ==
                   MAP_FAILED &&
               errno == EINVAL,
           "nobody has a copy of a region");
    set64(c, EDEV_REG_SCRATCH, 43);
    expect(reg64(c, EDEV_REG_SCRATCH) == 43, "it answers as before");
    munmap(nowhere, 8192);
}

void try_errors(struct client *c)
{
    struct vfio_device_info info = { .argsz = 4 };
    struct vfio_region_info region = { .argsz = sizeof(region), .index = 99 };
    uint64_t value = 0;
    char byte;

    expect(ioctl(c->device, VFIO_DEVICE_GET_INFO, &info) < 0 && errno == EINVAL,
           "a short argument is refused");
    expect(ioctl(c->device, VFIO_DEVICE_GET_INFO, 8) < 0 && errno == EFAULT,
           "an argument that is nowhere is refused");
    expect(ioctl(c->device, VFIO_DEVICE_GET_REGION_INFO, &region) < 0 &&
               errno == EINVAL,
           "a region that is none is refused");
    expect(ioctl(c->device, _IO(VFIO_TYPE, 255), 0) < 0 && errno == ENOTTY,
           "an unknown request is refused");
    expect(client_feature(c, VFIO_DEVICE_FEATURE_GET | 0xfff, &value, 8) ==
               -ENOTTY,
           "an unknown feature is refused");
    expect(client_feature(c,
                          VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET |
                              VFIO_DEVICE_FEATURE_MIGRATION,
                          &value, 8) == -EINVAL,
           "what is to be both read and written is refused");
    expect(pread(c->device, &byte, 1, (off_t)200 << 40) < 0 && errno == EINVAL,
           "a read beyond all regions is refused");
    expect(read(c->device, &byte, 1) < 0 && errno == EINVAL,
           "a read of no place is refused");
    try_bad_pointers(c);
    if (!c->by_cdev)
        expect(ioctl(c->group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:00.0") < 0 &&
                   errno == ENODEV,
               "the device of another group is refused");
}

/* ----------------------------------------------------------------------- */

static const struct chapter {
    const char *name;
    void (*run)(struct client *c);
} chapters[] = {
    { "regions", try_regions },
    { "interrupts", try_interrupts },
    { "dma", try_dma },
    { "log", try_log },
    { "migration", try_migration },
    { "errors", try_errors },
    { "processes", try_processes },
    { "races", try_races },
};

static bool is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 3; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc <= 3;
}

int main(int argc, char **argv)
{
    struct client c;

    if (argc < 3) {
        fprintf(stderr, "usage: client group|cdev ADDRESS [CHAPTER]...\n");
        return 2;
    }
    alarm(CLIENT_SECONDS);
    client_open(&c, argv[1], argv[2]);
    for (size_t i = 0; i < sizeof(chapters) / sizeof(chapters[0]); i++) {
        if (!is_wanted(chapters[i].name, argc, argv))
            continue;
        chapters[i].run(&c);
        printf("%s\n", chapters[i].name);
    }
    client_close(&c);
    return EXIT_SUCCESS;
}
