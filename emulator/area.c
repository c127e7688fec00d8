/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory shared with the client.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "emulator/area.h"

/* The file's bytes over the first of memory that reaches beyond them.  Returns
 * MAP_FAILED and errno. */
static void *map_with_slack(int fd, uint64_t size, uint64_t mapped)
{
    int prot = PROT_READ | PROT_WRITE;
    void *base = mmap(NULL, mapped, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int error;

    if (base == MAP_FAILED ||
        mmap(base, size, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) !=
            MAP_FAILED)
        return base;
    error = errno;
    munmap(base, mapped);
    errno = error;
    return MAP_FAILED;
}

int area_map(struct area *a, int fd, uint64_t size)
{
    struct stat st;
    int seals;
    void *base;

    if (a->base != NULL)
        return -EEXIST;
    if (size == 0 || size > AREA_SIZE_MAX)
        return -EINVAL;
    /* Of a file that shrinks the rest of a mapping is a trap. */
    seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
        return -EINVAL;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size < 0 || (uint64_t)st.st_size < size)
        return -EINVAL;
    base = map_with_slack(fd, size, size + AREA_SLACK);
    if (base == MAP_FAILED)
        return -errno;
    *a = (struct area){
        .base = base,
        .size = size,
        .mapped = size + AREA_SLACK,
    };
    return 0;
}

void area_unmap(struct area *a)
{
    if (a->base != NULL)
        munmap(a->base, a->mapped);
    *a = (struct area){ 0 };
}

uint8_t *area_at(const struct area *a, uint64_t offset, uint64_t size)
{
    if (a->base == NULL || size > a->size || offset > a->size - size)
        return NULL;
    return a->base + offset;
}
