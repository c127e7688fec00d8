/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying from and to the program by the kernel's hand, which looks before it
 * touches.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bridge/memory.h"

static int copy(uint64_t address, void *buf, size_t len, bool write)
{
    struct iovec mine = { buf, len };
    struct iovec theirs = { (void *)(uintptr_t)address, len };
    ssize_t n;

    if (len == 0)
        return 0;
    n = write ? process_vm_writev(getpid(), &mine, 1, &theirs, 1, 0)
              : process_vm_readv(getpid(), &mine, 1, &theirs, 1, 0);
    if (n == (ssize_t)len)
        return 0;
    /* Forbidden to us (a filter of system calls): then by trust. */
    if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
        memcpy(write ? theirs.iov_base : buf, write ? buf : theirs.iov_base,
               len);
        return 0;
    }
    return -EFAULT;
}

int memory_read(uint64_t address, void *buf, size_t len)
{
    return copy(address, buf, len, false);
}

int memory_write(uint64_t address, const void *buf, size_t len)
{
    return copy(address, (void *)(uintptr_t)buf, len, true);
}

#define PAGE_BYTES 4096
#define PAGES_MAX  256 /* at once */

/* A byte of each page, as that is all that can be there or not. */
int memory_check(const void *from, size_t len)
{
    uintptr_t at = (uintptr_t)from;
    uintptr_t end = at + len;
    uint8_t bytes[PAGES_MAX] = { 0 };

    if (end < at)
        return -EFAULT;
    while (at < end) {
        struct iovec theirs[PAGES_MAX];
        struct iovec mine = { bytes, 0 };
        ssize_t n;

        while (at < end && mine.iov_len < PAGES_MAX) {
            theirs[mine.iov_len++] = (struct iovec){ (void *)at, 1 };
            at += PAGE_BYTES - at % PAGE_BYTES;
        }
        n = process_vm_readv(getpid(), &mine, 1, theirs, mine.iov_len, 0);
        if (n < 0 && (errno == ENOSYS || errno == EPERM))
            return 0; /* as copy() */
        if (n != (ssize_t)mine.iov_len)
            return -EFAULT;
    }
    return 0;
}

int argument_put(void *arg, const void *from, size_t len)
{
    return memory_write((uintptr_t)arg, from, len);
}

int argument_get(const void *arg, void *to, size_t min, size_t max)
{
    uint32_t size;
    int ret = memory_read((uintptr_t)arg, &size, sizeof(size));

    if (ret < 0)
        return ret;
    if (size < min)
        return -EINVAL;
    memset(to, 0, max);
    return memory_read((uintptr_t)arg, to, size < max ? size : max);
}
