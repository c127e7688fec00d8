/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings of guest memory, and direct access to them.
 *
 * Which pages were written is kept in log.c; messages to the client are the
 * business of engine.c and connection.c.
 */
#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emulator/dma.h"

void dma_init(struct dma *d)
{
    *d = (struct dma){ 0 };
}

/* Where the first mapping at or after @iova, or around it, is. */
static size_t position(const struct dma *d, uint64_t iova)
{
    size_t low = 0, high = d->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct mapping *m = &d->mappings[mid];

        if (m->iova + (m->size - 1) < iova)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct mapping *dma_find(const struct dma *d, uint64_t iova)
{
    size_t i = position(d, iova);

    return i < d->count && d->mappings[i].iova <= iova ? &d->mappings[i] : NULL;
}

static void release(struct dma *d, struct mapping *m)
{
    log_detach(d, m);
    if (m->memory != NULL)
        munmap(m->memory, m->size);
}

static void remove_at(struct dma *d, size_t i)
{
    release(d, &d->mappings[i]);
    d->count--;
    memmove(&d->mappings[i], &d->mappings[i + 1],
            (d->count - i) * sizeof(d->mappings[0]));
}

void dma_drop(struct dma *d)
{
    enum mutant mutant = d->mutant;

    log_stop(d);
    for (size_t i = 0; i < d->count; i++)
        release(d, &d->mappings[i]);
    free(d->mappings);
    dma_init(d);
    d->mutant = mutant;
}

/*
 * A file that the client truncates under a mapping turns an access into
 * SIGBUS.  While one is under way, the handler leaves it by a jump.
 */
static sigjmp_buf bus_error;
static volatile sig_atomic_t accessing;

static void on_bus_error(int number)
{
    if (accessing)
        siglongjmp(bus_error, 1);
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_bus_errors(void)
{
    struct sigaction action = { .sa_handler = on_bus_error };

    sigaction(SIGBUS, &action, NULL);
}

static int copy(void *to, const void *from, size_t size)
{
    if (sigsetjmp(bus_error, 1) != 0) {
        accessing = 0;
        return -EFAULT;
    }
    accessing = 1;
    memcpy(to, from, size);
    accessing = 0;
    return 0;
}

static int map_memory(struct mapping *m, int fd)
{
    int prot = ((m->flags & VFU_DMA_MAP_READ) != 0 ? PROT_READ : 0) |
               ((m->flags & VFU_DMA_MAP_WRITE) != 0 ? PROT_WRITE : 0);
    struct stat st;
    void *p;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (m->fd_offset > INT64_MAX || m->size > SIZE_MAX)
        return -EINVAL;
    if (S_ISREG(st.st_mode) && ((uint64_t)st.st_size < m->fd_offset ||
                                (uint64_t)st.st_size - m->fd_offset < m->size))
        return -EINVAL;
    p = mmap(NULL, m->size, prot, MAP_SHARED | MAP_NORESERVE, fd,
             (off_t)m->fd_offset);
    if (p == MAP_FAILED)
        return -errno;
    m->memory = p;
    catch_bus_errors();
    return 0;
}

static bool same(const struct mapping *m, const struct vfu_dma_map *map,
                 bool with_memory)
{
    return m->iova == map->iova && m->size == map->size &&
           m->fd_offset == map->fd_offset && m->flags == map->flags &&
           (m->memory != NULL) == with_memory;
}

static int check_map(const struct dma *d, const struct vfu_dma_map *map, int fd)
{
    const uint32_t known = VFU_DMA_MAP_READ | VFU_DMA_MAP_WRITE;
    size_t i;

    if (map->size == 0 || map->size - 1 > UINT64_MAX - map->iova ||
        (map->flags & ~known) != 0 || (map->flags & known) == 0)
        return -EINVAL;
    i = position(d, map->iova);
    if (i < d->count && d->mappings[i].iova <= map->iova + (map->size - 1))
        return same(&d->mappings[i], map, fd >= 0) ? -EALREADY : -EEXIST;
    return d->count < DMA_MAPPINGS_MAX ? 0 : -ENOSPC;
}

static int make_room(struct dma *d)
{
    size_t room = d->room == 0 ? 64 : d->room * 2;
    struct mapping *p;

    if (d->count < d->room)
        return 0;
    p = reallocarray(d->mappings, room, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    d->mappings = p;
    d->room = room;
    return 0;
}

static int add(struct dma *d, const struct vfu_dma_map *map, int fd)
{
    struct mapping m = {
        .iova = map->iova,
        .size = map->size,
        .fd_offset = map->fd_offset,
        .flags = map->flags,
    };
    size_t i = position(d, m.iova);
    int ret = make_room(d);

    if (ret == 0 && fd >= 0)
        ret = map_memory(&m, fd);
    if (ret == 0)
        ret = log_attach(d, &m);
    if (ret < 0) {
        release(d, &m);
        return ret;
    }
    memmove(&d->mappings[i + 1], &d->mappings[i],
            (d->count - i) * sizeof(d->mappings[0]));
    d->mappings[i] = m;
    d->count++;
    return 0;
}

int dma_map(struct dma *d, const struct vfu_dma_map *map, int fd)
{
    int ret = check_map(d, map, fd);

    if (ret == 0)
        ret = add(d, map, fd);
    if (fd >= 0)
        close(fd);
    return ret;
}

int dma_unmap(struct dma *d, uint64_t iova, uint64_t size)
{
    size_t i = position(d, iova);

    if (i == d->count || d->mappings[i].iova != iova ||
        d->mappings[i].size != size)
        return -ENOENT;
    remove_at(d, i);
    return 0;
}

int dma_read(const struct mapping *m, uint64_t iova, void *to, size_t size)
{
    assert(m->memory != NULL && iova - m->iova <= m->size - size);
    return copy(to, m->memory + (iova - m->iova), size);
}

int dma_write(struct dma *d, struct mapping *m, uint64_t iova, const void *from,
              size_t size)
{
    assert(m->memory != NULL && iova - m->iova <= m->size - size);
    log_mark(d, m, iova, size);
    return copy(m->memory + (iova - m->iova), from, size);
}
