/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings, and telling servers of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bridge/backing.h"
#include "bridge/device.h"
#include "bridge/memory.h"
#include "bridge/real.h"
#include "bridge/space.h"
#include "bridge/uapi.h"
#include "protocol/vfio-user.h"

void space_init(struct space *s)
{
    *s = (struct space){ .mappings = NULL };
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->list_lock, NULL);
}

void space_free(struct space *s)
{
    free(s->mappings);
    s->mappings = NULL;
}

/* The first mapping that ends after @iova. */
static size_t find(const struct space *s, uint64_t iova)
{
    size_t low = 0;
    size_t high = s->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct mapping *m = &s->mappings[mid];

        if (m->iova + (m->size - 1) < iova)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ------------------------------------------------------- one mapping */

static int send_map(struct device *d, const struct mapping *m,
                    const struct wire_fds *fds, uint64_t offset)
{
    struct vfu_dma_map map = {
        .argsz = sizeof(map),
        .flags = ((m->access & SPACE_READ) != 0 ? VFU_DMA_MAP_READ : 0) |
                 ((m->access & SPACE_WRITE) != 0 ? VFU_DMA_MAP_WRITE : 0),
        .fd_offset = offset,
        .iova = m->iova,
        .size = m->size,
    };
    struct exchange x = {
        .command = VFU_DMA_MAP,
        .head = &map,
        .head_len = sizeof(map),
        .fds = fds,
    };

    return link_call(&d->link, &x);
}

/* Memory that has no descriptor is for messages. */
static int map_for(struct device *d, const struct mapping *m)
{
    struct wire_fds fds = { .count = 0 };
    uint64_t offset = 0;
    int ret;

    if (d->link.max_fds > 0) {
        ret = backing_find(m->address, m->size, (m->access & SPACE_WRITE) != 0,
                           &offset);
        if (ret >= 0)
            fds.fd[fds.count++] = ret;
    }
    ret = fds.count > 0 ? 0 : link_serve(&d->link);
    if (ret == 0)
        ret = send_map(d, m, &fds, fds.count > 0 ? offset : 0);
    if (fds.count > 0)
        REAL(close)(fds.fd[0]);
    return ret;
}

static int unmap_for(struct device *d, const struct mapping *m)
{
    struct vfu_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = m->iova,
        .size = m->size,
    };
    struct exchange x = {
        .command = VFU_DMA_UNMAP,
        .head = &unmap,
        .head_len = sizeof(unmap),
    };

    return link_call(&d->link, &x);
}

/* ---------------------------------------------------- all the devices */

static int map_everywhere(struct space *s, const struct mapping *m)
{
    int ret = 0;

    for (struct device *d = s->devices; d != NULL && ret == 0;
         d = d->next_in_space) {
        ret = map_for(d, m);
        if (ret == 0)
            continue;
        for (struct device *u = s->devices; u != d; u = u->next_in_space)
            unmap_for(u, m);
    }
    return ret;
}

/* Nobody can say no to it: a server that does has lost the mapping, or is
 * lost itself. */
static void unmap_everywhere(struct space *s, const struct mapping *m)
{
    for (struct device *d = s->devices; d != NULL; d = d->next_in_space)
        unmap_for(d, m);
}

static int insert(struct space *s, size_t at, const struct mapping *m)
{
    if (s->count == SPACE_MAX_MAPPINGS)
        return -ENOSPC;
    if (s->count == s->room) {
        size_t room = s->room == 0 ? 64 : s->room * 2;
        void *more = realloc(s->mappings, room * sizeof(*s->mappings));

        if (more == NULL)
            return -ENOMEM;
        s->mappings = more;
        s->room = room;
    }
    memmove(s->mappings + at + 1, s->mappings + at,
            (s->count - at) * sizeof(*s->mappings));
    s->mappings[at] = *m;
    s->count++;
    return 0;
}

static void take_out(struct space *s, size_t at, size_t count)
{
    if (count == 0)
        return;
    pthread_mutex_lock(&s->list_lock);
    memmove(s->mappings + at, s->mappings + at + count,
            (s->count - at - count) * sizeof(*s->mappings));
    s->count -= count;
    pthread_mutex_unlock(&s->list_lock);
}

static int check(const struct mapping *m)
{
    uint64_t all = m->iova | m->size | m->address;

    if (m->size == 0 || all % BRIDGE_PAGE_SIZE != 0 || m->access == 0 ||
        m->iova + (m->size - 1) < m->iova ||
        m->address + (m->size - 1) < m->address ||
        m->iova + (m->size - 1) > BRIDGE_LAST_IOVA)
        return -EINVAL;
    return 0;
}

/* The mapping is in the list before servers hear of it: they may use it before
 * they have answered. */
static int map_locked(struct space *s, const struct mapping *m)
{
    size_t at = find(s, m->iova);
    int ret;

    if (at < s->count && s->mappings[at].iova <= m->iova + (m->size - 1))
        return -EEXIST;
    pthread_mutex_lock(&s->list_lock);
    ret = insert(s, at, m);
    pthread_mutex_unlock(&s->list_lock);
    if (ret < 0)
        return ret;
    ret = map_everywhere(s, m);
    if (ret < 0)
        take_out(s, at, 1);
    return ret;
}

int space_map(struct space *s, const struct mapping *m)
{
    int ret = check(m);

    if (ret < 0)
        return ret;
    pthread_mutex_lock(&s->lock);
    ret = map_locked(s, m);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

static int unmap_locked(struct space *s, uint64_t iova, uint64_t last,
                        uint64_t *unmapped)
{
    size_t first = find(s, iova);
    size_t end = first;

    for (; end < s->count && s->mappings[end].iova <= last; end++) {
        const struct mapping *m = &s->mappings[end];

        if (m->iova < iova || m->iova + (m->size - 1) > last)
            return -EINVAL;
    }
    for (size_t i = first; i < end; i++) {
        unmap_everywhere(s, &s->mappings[i]);
        *unmapped += s->mappings[i].size;
    }
    take_out(s, first, end - first);
    return 0;
}

int space_unmap(struct space *s, uint64_t iova, uint64_t last,
                uint64_t *unmapped)
{
    int ret;

    *unmapped = 0;
    pthread_mutex_lock(&s->lock);
    ret = unmap_locked(s, iova, last, unmapped);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

size_t space_count(struct space *s)
{
    size_t count;

    pthread_mutex_lock(&s->list_lock);
    count = s->count;
    pthread_mutex_unlock(&s->list_lock);
    return count;
}

int space_find_free(struct space *s, uint64_t size, uint64_t *iova)
{
    uint64_t at = BRIDGE_PAGE_SIZE; /* an address of 0 invites mistakes */

    pthread_mutex_lock(&s->list_lock);
    for (size_t i = 0; i < s->count; i++) {
        const struct mapping *m = &s->mappings[i];

        if (m->iova >= at && m->iova - at >= size)
            break;
        at = m->iova + m->size;
    }
    pthread_mutex_unlock(&s->list_lock);
    if (size == 0 || at > BRIDGE_LAST_IOVA || size - 1 > BRIDGE_LAST_IOVA - at)
        return -ENOSPC;
    *iova = at;
    return 0;
}

/* ------------------------------------------------ devices come and go */

static void set_space(struct device *d, struct space *s)
{
    pthread_mutex_lock(&d->space_lock);
    d->space = s;
    pthread_mutex_unlock(&d->space_lock);
}

int space_attach(struct space *s, struct device *d)
{
    size_t i;
    int ret = 0;

    pthread_mutex_lock(&s->lock);
    set_space(d, s);
    for (i = 0; i < s->count && ret == 0; i++)
        ret = map_for(d, &s->mappings[i]);
    if (ret == 0) {
        d->next_in_space = s->devices;
        s->devices = d;
    } else {
        while (--i > 0)
            unmap_for(d, &s->mappings[i - 1]);
        set_space(d, NULL);
    }
    pthread_mutex_unlock(&s->lock);
    return ret;
}

void space_detach(struct space *s, struct device *d)
{
    pthread_mutex_lock(&s->lock);
    for (struct device **at = &s->devices; *at != NULL;
         at = &(*at)->next_in_space)
        if (*at == d) {
            *at = d->next_in_space;
            break;
        }
    for (size_t i = 0; i < s->count; i++)
        unmap_for(d, &s->mappings[i]);
    set_space(d, NULL);
    pthread_mutex_unlock(&s->lock);
}

/* -------------------------------------------------- the device's DMA */

/* The piece of memory at @iova: its address and how much of it is there. */
static int look_up(struct space *s, uint64_t iova, uint32_t access,
                   uint64_t *address, uint64_t *len)
{
    const struct mapping *m;
    int ret = -EFAULT;
    size_t at;

    pthread_mutex_lock(&s->list_lock);
    at = find(s, iova);
    m = at < s->count ? &s->mappings[at] : NULL;
    if (m != NULL && m->iova <= iova) {
        ret = (m->access & access) != 0 ? 0 : -EACCES;
        *address = m->address + (iova - m->iova);
        *len = m->size - (iova - m->iova);
    }
    pthread_mutex_unlock(&s->list_lock);
    return ret;
}

static int reach(struct device *d, uint64_t iova, void *buf, size_t len,
                 uint32_t access)
{
    uint8_t *at = buf;
    int ret = 0;

    pthread_mutex_lock(&d->space_lock);
    while (len > 0 && ret == 0) {
        uint64_t address;
        uint64_t n;

        ret = d->space == NULL ? -EFAULT
                               : look_up(d->space, iova, access, &address, &n);
        if (ret < 0)
            break;
        n = n < len ? n : len;
        ret = access == SPACE_READ ? memory_read(address, at, n)
                                   : memory_write(address, at, n);
        iova += n;
        at += n;
        len -= n;
    }
    pthread_mutex_unlock(&d->space_lock);
    return ret;
}

static int read_memory(void *opaque, uint64_t iova, void *buf, size_t len)
{
    return reach(opaque, iova, buf, len, SPACE_READ);
}

static int write_memory(void *opaque, uint64_t iova, const void *buf,
                        size_t len)
{
    return reach(opaque, iova, (void *)(uintptr_t)buf, len, SPACE_WRITE);
}

const struct link_memory space_memory = { read_memory, write_memory };
