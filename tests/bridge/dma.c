/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that the device writes, and its log of that.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"

#define SIZE UINT64_C(0x40000)
#define IOVA UINT64_C(0x10000000)

/* ------------------------------------------------------------ the engine */

static void be_master(const struct client *c)
{
    uint16_t command = 0x0006;

    client_write(c, VFIO_PCI_CONFIG_REGION_INDEX, 4, &command, sizeof(command));
}

static int tie_interrupt(const struct client *c)
{
    uint32_t buf[16];
    struct vfio_irq_set *set = (struct vfio_irq_set *)buf;
    int32_t fd = eventfd(0, 0);

    *set = (struct vfio_irq_set){
        .argsz = sizeof(*set) + sizeof(fd),
        .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
        .index = VFIO_PCI_MSIX_IRQ_INDEX,
        .count = 1,
    };
    memcpy(set->data, &fd, sizeof(fd));
    expect(ioctl(c->device, VFIO_DEVICE_SET_IRQS, set) == 0,
           "the engine's interrupt is tied");
    set32(c, EDEV_REG_IRQ_VECTOR, 0);
    set32(c, EDEV_REG_IRQ_ENABLE, EDEV_IRQ_DMA_DONE | EDEV_IRQ_DMA_ERROR);
    return fd;
}

uint32_t client_fill(struct client *c, uint64_t iova, uint64_t len,
                     uint64_t seed)
{
    struct pollfd done = { .events = POLLIN };
    int ready;

    be_master(c);
    done.fd = tie_interrupt(c);
    set64(c, EDEV_REG_DMA_DST, iova);
    set64(c, EDEV_REG_DMA_LENGTH, len);
    set64(c, EDEV_REG_DMA_SEED, seed);
    set32(c, EDEV_REG_DMA_OP, EDEV_DMA_OP_FILL);
    set32(c, EDEV_REG_DMA_DOORBELL, EDEV_DMA_START);
    do
        ready = poll(&done, 1, CLIENT_SECONDS * 1000);
    while (ready < 0 && errno == EINTR);
    expect(ready == 1, "the engine says when it is done");
    close(done.fd);
    set32(c, EDEV_REG_IRQ_CAUSE, EDEV_IRQ_DMA_DONE | EDEV_IRQ_DMA_ERROR);
    return reg32(c, EDEV_REG_DMA_ERROR);
}

bool is_filled(const void *memory, uint64_t len, uint64_t seed)
{
    const uint64_t *words = memory;

    for (uint64_t i = 0; i < len / 8; i++)
        if (words[i] != edev_word(seed, i / EDEV_WORDS_PER_PAGE, 0,
                                  (unsigned)(i % EDEV_WORDS_PER_PAGE)))
            return false;
    return true;
}

/* ---------------------------------------------------------------- memory */

static void *map_shared(bool close_it)
{
    int fd = memfd_create("memory", MFD_CLOEXEC);
    void *memory;

    expect(ftruncate(fd, (off_t)SIZE) == 0, "there is memory");
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    expect(memory != MAP_FAILED, "memory is mapped");
    if (close_it)
        close(fd);
    return memory;
}

static void *map_anonymous(void)
{
    void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    expect(memory != MAP_FAILED, "memory is mapped");
    return memory;
}

static void fill_and_check(struct client *c, void *memory, const char *sentence)
{
    static uint64_t seed;

    memset(memory, 0, SIZE);
    expect(client_map(c, memory, SIZE, IOVA, true) == 0, "it is shown memory");
    expect(client_fill(c, IOVA, SIZE, ++seed) == EDEV_DMA_ERR_NONE &&
               is_filled(memory, SIZE, seed),
           sentence);
    expect(client_unmap(c, IOVA, SIZE) == 0, "memory is taken away");
    expect(client_fill(c, IOVA, SIZE, ++seed) == EDEV_DMA_ERR_MAPPING,
           "what was taken away is not reached");
    munmap(memory, SIZE);
}

static void try_rules(struct client *c)
{
    void *memory = map_anonymous();

    expect(client_map(c, memory, SIZE, IOVA + 1, true) == -EINVAL,
           "memory lies at pages");
    expect(client_map(c, memory, SIZE, IOVA, false) == 0,
           "memory may be there to be read only");
    expect(client_map(c, memory, 4096, IOVA + 4096, true) == -EEXIST,
           "mappings do not overlap");
    expect(client_fill(c, IOVA, SIZE, 1) == EDEV_DMA_ERR_ACCESS,
           "what is there to be read is not written");
    expect(client_unmap(c, IOVA, 4096) == (c->by_cdev ? -ENOENT : -EINVAL),
           "a mapping is not cut in two");
    expect(client_unmap(c, IOVA, SIZE) == 0, "memory is taken away");
    munmap(memory, SIZE);
}

/* With no memory at all the engine waits for some: there is always a page. */
void try_dma(struct client *c)
{
    void *page = map_anonymous();

    expect(client_map(c, page, 4096, 0, true) == 0, "it is shown a page");
    fill_and_check(c, map_shared(false), "it writes a shared file's memory");
    fill_and_check(c, map_shared(true),
                   "it writes memory whose file was closed");
    fill_and_check(c, map_anonymous(), "it writes memory that is no file's");
    try_rules(c);
    expect(client_unmap(c, 0, 4096) == 0, "the page is taken away");
    munmap(page, SIZE);
}

/* --------------------------------------------------------------- the log */

static uint64_t report(const struct client *c)
{
    uint64_t bits = 0;
    struct vfio_device_feature_dma_logging_report r = {
        .iova = IOVA,
        .length = SIZE,
        .page_size = 4096,
        .bitmap = (uintptr_t)&bits,
    };

    expect(client_feature(c,
                          VFIO_DEVICE_FEATURE_GET |
                              VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
                          &r, sizeof(r)) == 0,
           "the log is read");
    return bits;
}

void try_log(struct client *c)
{
    void *memory = map_shared(false);
    struct vfio_device_feature_dma_logging_range range = { IOVA, SIZE };
    struct vfio_device_feature_dma_logging_control start = {
        .page_size = 4096,
        .num_ranges = 1,
        .ranges = (uintptr_t)&range,
    };

    expect(client_map(c, memory, SIZE, IOVA, true) == 0, "it is shown memory");
    expect(client_feature(c,
                          VFIO_DEVICE_FEATURE_SET |
                              VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
                          &start, sizeof(start)) == 0,
           "its log is started");
    client_fill(c, IOVA + 3 * 4096, 2 * 4096, 1);
    expect(report(c) == 3 << 3, "the log has the pages that were written");
    expect(report(c) == 0, "and forgets what it has told");
    expect(client_feature(c,
                          VFIO_DEVICE_FEATURE_SET |
                              VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
                          &start, 0) == 0,
           "its log is stopped");
    expect(client_unmap(c, IOVA, SIZE) == 0, "memory is taken away");
    munmap(memory, SIZE);
}
