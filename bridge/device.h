/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_DEVICE_H
#define VFM_BRIDGE_DEVICE_H

/*
 * A device: what its server says of it, and the ioctl()s, reads, writes and
 * mappings of its descriptors.
 *
 *   device.c   connecting, information, reset
 *   region.c   regions
 *   irq.c      interrupts
 *   feature.c  VFIO_DEVICE_FEATURE
 *   session.c  data descriptors
 *
 * However many descriptors a device has, there is one of these and one
 * connection.
 */

#include <stdatomic.h>

#include "bridge/file.h"
#include "bridge/link.h"
#include "bridge/place.h"
#include "bridge/uapi.h"
#include "protocol/vfio-user.h"

#define DEVICE_MAX_AREAS    64

/* Where the region is in the device's descriptor: as in the kernel. */
#define DEVICE_REGION_SHIFT 40

struct region {
    uint32_t flags;
    uint64_t size;
    int fd; /* -1: cannot be mapped */
    uint64_t fd_offset;
    uint32_t num_areas;
    struct vfu_sparse_area areas[DEVICE_MAX_AREAS];
};

struct session;
struct space;

struct device {
    struct place place;
    atomic_int refs; /* taken under other locks, and under none */
    int opens;       /* by descriptors of the device itself: while connected */
    struct device *next;
    struct link link;

    struct vfu_device_info info;
    struct region regions[UAPI_NUM_REGIONS];
    struct vfu_irq_info irqs[UAPI_NUM_IRQS];

    /* Where it is, and the session that this began; state_lock. */
    pthread_mutex_t state_lock;
    _Atomic uint32_t state;
    struct session *session;

    /* What memory it sees; space_lock, which its own DMA takes. */
    pthread_mutex_t space_lock;
    struct space *space;
    struct device *next_in_space;
};

/* Device @n of those that the environment names; -ENODEV: there is none. */
int device_place(int n, struct place *place);

/* The device there, which is connected to if nobody has it yet and, with
 * @anew, reset then, as one of the kernel's would be.  @alone: -EBUSY if
 * somebody has.  device_close() ends that, and with the last the connection. */
int device_open(const struct place *place, bool anew, bool alone,
                struct device **dp);
void device_close(struct device *d);

/* A reference keeps the structure, no more. */
void device_ref(struct device *d);
void device_put(struct device *d);

/* In a child. */
void device_forget_all(void);

/* What its descriptors do. */
int device_ioctl(struct device *d, unsigned long request, void *arg);

/* region.c.  region_learn() asks the server for region @index; a descriptor
 * that comes with it is region_close_all()'s to close. */
int region_learn(struct device *d, uint32_t index);
void region_close_all(struct device *d);
int device_region_info(struct device *d, void *arg);
ssize_t device_read(struct device *d, void *buf, size_t len, int64_t pos);
ssize_t device_write(struct device *d, const void *buf, size_t len,
                     int64_t pos);
int device_map(struct device *d, uint64_t offset, size_t len, int *fd,
               uint64_t *fd_offset);

/* irq.c */
int device_irq_info(struct device *d, void *arg);
int device_set_irqs(struct device *d, void *arg);

/* feature.c */
int device_feature(struct device *d, void *arg);
/* Asks for the state; with state_lock. */
int feature_learn_state(struct device *d);

/* session.c.  With state_lock; session_begin() returns a descriptor. */
bool session_goes_on(uint32_t from, uint32_t to);
bool session_begins(uint32_t from, uint32_t to);
int session_begin(struct device *d);
void session_end(struct device *d);

#endif
