/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver of the demo: everything that knows the emulated device's
 * registers.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <vfmig/vfio_user.h>

#include "emulator/registers.h"
#include "vm.h"

#define BAR0            0
#define CONFIG          7
#define PCI_COMMAND     4
#define PCI_MEMORY      0x2
#define PCI_BUS_MASTER  0x4

#define RING_IOVA       UINT64_C(0x100000)
#define RING_SEED       UINT64_C(42)
#define RING_PAGES      (VM_MEMORY_SIZE / EDEV_PAGE_SIZE)

#define STOP_TIMEOUT_MS 5000

__attribute__((format(printf, 3, 4))) static int fail(struct vfm_error *err,
                                                      int code, const char *fmt,
                                                      ...)
{
    va_list ap;

    va_start(ap, fmt);
    err->code = code;
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    return code;
}

static int read_register(struct vm *vm, uint64_t reg, void *value, size_t len,
                         struct vfm_error *err)
{
    return vfm_device_region_read(vm->dev, BAR0, reg, value, len, err);
}

static int write_u64(struct vm *vm, uint64_t reg, uint64_t value,
                     struct vfm_error *err)
{
    return vfm_device_region_write(vm->dev, BAR0, reg, &value, sizeof(value),
                                   err);
}

static int write_u32(struct vm *vm, uint64_t reg, uint32_t value,
                     struct vfm_error *err)
{
    return vfm_device_region_write(vm->dev, BAR0, reg, &value, sizeof(value),
                                   err);
}

int vm_open(struct vm *vm, const char *socket, int memory_fd,
            struct vfm_error *err)
{
    void *memory =
        mmap(NULL, VM_MEMORY_SIZE, PROT_READ, MAP_SHARED, memory_fd, 0);
    int ret;

    *vm = (struct vm){ .memory_fd = memory_fd };
    if (memory == MAP_FAILED)
        return fail(err, -errno, "memory: %s", strerror(errno));
    vm->memory = memory;
    ret = vfm_device_open_vfio_user(socket, NULL, NULL, &vm->dev, err);
    if (ret < 0)
        return ret;
    /* Before the device is stopped: some servers want it so. */
    return vfm_vfio_user_dma_map(vm->dev, RING_IOVA, VM_MEMORY_SIZE, memory_fd,
                                 0, VFM_DMA_READ | VFM_DMA_WRITE, err);
}

void vm_close(struct vm *vm)
{
    vfm_device_close(vm->dev);
    if (vm->memory != NULL)
        munmap((void *)vm->memory, VM_MEMORY_SIZE);
}

int vm_start_work(struct vm *vm, struct vfm_error *err)
{
    const uint16_t command = PCI_MEMORY | PCI_BUS_MASTER;
    int ret = vfm_device_region_write(vm->dev, CONFIG, PCI_COMMAND, &command,
                                      sizeof(command), err);

    if (ret == 0)
        ret = write_u64(vm, EDEV_REG_DMA_DST, RING_IOVA, err);
    if (ret == 0)
        ret = write_u64(vm, EDEV_REG_DMA_LENGTH, VM_MEMORY_SIZE, err);
    if (ret == 0)
        ret = write_u64(vm, EDEV_REG_DMA_SEED, RING_SEED, err);
    if (ret == 0)
        ret = write_u64(vm, EDEV_REG_DMA_RATE, VM_RING_RATE, err);
    if (ret == 0)
        ret = write_u32(vm, EDEV_REG_DMA_OP, EDEV_DMA_OP_RING, err);
    if (ret == 0)
        ret = write_u32(vm, EDEV_REG_DMA_DOORBELL, EDEV_DMA_START, err);
    return ret;
}

int vm_stop_work(struct vm *vm, struct vfm_error *err)
{
    int ret = write_u32(vm, EDEV_REG_DMA_DOORBELL, EDEV_DMA_STOP, err);

    for (int ms = 0; ret == 0 && ms < STOP_TIMEOUT_MS; ms++) {
        uint32_t status;

        ret = read_register(vm, EDEV_REG_DMA_STATUS, &status, sizeof(status),
                            err);
        if (ret == 0 && status == EDEV_DMA_FAILED)
            return fail(err, -EIO, "the device's DMA failed");
        if (ret < 0 || status != EDEV_DMA_BUSY)
            return ret;
        poll(NULL, 0, 1);
    }
    return ret < 0 ? ret : fail(err, -ETIMEDOUT, "the DMA engine goes on");
}

int vm_look(struct vm *vm, struct vm_sight *sight, struct vfm_error *err)
{
    int ret = read_register(vm, EDEV_REG_COUNTER, &sight->counter,
                            sizeof(sight->counter), err);

    if (ret == 0)
        ret = read_register(vm, EDEV_REG_DMA_SEQUENCE, &sight->pages,
                            sizeof(sight->pages), err);
    return ret;
}

static int check_page(const uint8_t *page, uint64_t sequence,
                      struct vfm_error *err)
{
    struct edev_ring_page head;

    memcpy(&head, page, sizeof(head));
    if (head.magic != EDEV_RING_MAGIC || head.sequence != sequence ||
        head.seed != RING_SEED)
        return fail(err, -EBADMSG, "memory: page %llu is missing",
                    (unsigned long long)sequence);
    for (unsigned int i = sizeof(head) / 8; i < EDEV_WORDS_PER_PAGE; i++) {
        uint64_t word;

        memcpy(&word, page + 8 * i, sizeof(word));
        if (word != edev_word(RING_SEED, sequence, 0, i))
            return fail(err, -EBADMSG, "memory: page %llu, word %u is wrong",
                        (unsigned long long)sequence, i);
    }
    return 0;
}

int vm_check_memory(struct vm *vm, uint64_t *checked, struct vfm_error *err)
{
    struct vm_sight sight;
    uint64_t first;
    int ret = vm_look(vm, &sight, err);

    if (ret < 0)
        return ret;
    first = sight.pages > RING_PAGES ? sight.pages - RING_PAGES : 0;
    for (uint64_t n = first; n < sight.pages; n++) {
        ret = check_page(vm->memory + n % RING_PAGES * EDEV_PAGE_SIZE, n, err);
        if (ret < 0)
            return ret;
    }
    *checked = sight.pages - first;
    return 0;
}

/* What the device's memory is made of. */
struct device_memory {
    uint64_t size;
    uint64_t seed;
    uint64_t hot_size;
    uint64_t rate;
    uint64_t writes;
};

static uint64_t expected_word(const struct device_memory *m, uint64_t page)
{
    uint64_t hot = m->hot_size / EDEV_PAGE_SIZE;
    uint64_t first_hot = m->size / EDEV_PAGE_SIZE - hot;
    uint64_t generation = 0;

    if (page >= first_hot)
        generation = edev_generation(m->writes, hot, page - first_hot);
    return edev_word(m->seed, page, generation, 0);
}

int vm_check_device(struct vm *vm, unsigned int n, struct vfm_error *err)
{
    struct device_memory m = { 0 };
    uint64_t pages;
    int ret = write_u64(vm, EDEV_REG_MEM_RATE, 0, err);

    if (ret == 0)
        ret = read_register(vm, EDEV_REG_MEM_SIZE, &m, sizeof(m), err);
    if (ret < 0)
        return ret;
    pages = m.size / EDEV_PAGE_SIZE;
    if (pages == 0)
        return fail(err, -EBADMSG, "the device has no memory");
    for (unsigned int i = 0; i < n; i++) {
        uint64_t page = edev_mix(i) % pages;
        uint64_t word = 0;

        ret = write_u64(vm, EDEV_REG_MEM_PAGE, page, err);
        if (ret == 0)
            ret =
                read_register(vm, EDEV_REG_MEM_WORD, &word, sizeof(word), err);
        if (ret < 0)
            return ret;
        if (word != expected_word(&m, page))
            return fail(err, -EBADMSG, "the device's page %llu is wrong",
                        (unsigned long long)page);
    }
    return 0;
}
