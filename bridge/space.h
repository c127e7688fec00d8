/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_SPACE_H
#define VFM_BRIDGE_SPACE_H

/*
 * The addresses that devices see: what a type 1 container or an IOAS of
 * iommufd maps, and the devices that it is for.  A device that comes later gets
 * all of it.
 *
 * Locks: @lock is held over what servers are told; @list_lock, inside it, only
 * while the mappings are looked at or changed, as servers may ask for memory
 * before they answer.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge/link.h"

#define SPACE_READ         1u
#define SPACE_WRITE        2u
#define SPACE_MAX_MAPPINGS 65535

struct mapping {
    uint64_t iova;
    uint64_t size;
    uint64_t address;
    uint32_t access;
};

struct device;

struct space {
    pthread_mutex_t lock;
    pthread_mutex_t list_lock;
    struct mapping *mappings; /* ascending */
    size_t count;
    size_t room;
    struct device *devices; /* by device.next_in_space */
};

void space_init(struct space *s);
void space_free(struct space *s);

/* 0, -EINVAL, -EEXIST, -ENOSPC, -ENOMEM, or what a server said. */
int space_map(struct space *s, const struct mapping *m);

/* Takes all mappings within the range away, and tells how many bytes that
 * were.  -EINVAL: it would cut one in two. */
int space_unmap(struct space *s, uint64_t iova, uint64_t last,
                uint64_t *unmapped);

/* How many mappings there are. */
size_t space_count(struct space *s);

/* Where @size free bytes are. */
int space_find_free(struct space *s, uint64_t size, uint64_t *iova);

int space_attach(struct space *s, struct device *d);
void space_detach(struct space *s, struct device *d);

/* The device's own access to memory without a descriptor; @opaque is the
 * struct device. */
extern const struct link_memory space_memory;

#endif
