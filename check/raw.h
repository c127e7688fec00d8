/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_RAW_H
#define VFM_CHECK_RAW_H

/*
 * A device as it is: what is asked of it is what it gets, and what it answers
 * is what comes back.
 *
 * There is no table of states in between, nothing is tried again, repaired or
 * believed.  All functions return 0 or a count, or the device's own errno,
 * negative.  The transport's failures are those of sockets: -ETIMEDOUT,
 * -ECONNRESET, -EPROTO; after one of them raw_is_broken() until raw_reopen().
 *
 * What a kind of device has not is refused with -EOPNOTSUPP.
 *
 * Threads: none; one caller at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vfmig/error.h>

#include "protocol/vfio-uapi.h"

/* A range of I/O addresses. */
struct raw_range {
    uint64_t iova;
    uint64_t length;
};

/* A VFIO_DEVICE_FEATURE as its caller spells it. */
struct raw_feature {
    uint32_t flags; /* the number and UAPI_FEATURE_* */
    uint32_t argsz; /* 0: what is right */
    void *data;     /* what follows the head; changed by a GET */
    size_t size;    /* of it */
    size_t got;     /* out: bytes of data in the answer */
};

struct raw_region {
    uint64_t size;  /* 0: absent */
    uint32_t flags; /* UAPI_REGION_* */
};

struct raw;

/* How to speak to one kind of device; every member may be NULL but the first
 * four and close. */
struct raw_ops {
    const char *kind; /* "vfio", "vfio-user" */

    int (*feature)(struct raw *raw, struct raw_feature *f);
    ssize_t (*read)(struct raw *raw, int fd, void *buf, size_t len);
    ssize_t (*write)(struct raw *raw, int fd, const void *buf, size_t len);
    void (*close)(struct raw *raw);

    int (*precopy_info)(struct raw *raw, int fd,
                        struct uapi_precopy_info *info);
    int (*reset)(struct raw *raw);
    int (*reopen)(struct raw *raw, struct vfm_error *err);
    int (*open_twice)(struct raw *raw);
    int (*device_info)(struct raw *raw, struct uapi_device_info *info);

    int (*region_info)(struct raw *raw, uint32_t index,
                       struct raw_region *region);
    int (*region_read)(struct raw *raw, uint32_t index, uint64_t offset,
                       void *buf, size_t len);
    int (*region_write)(struct raw *raw, uint32_t index, uint64_t offset,
                        const void *buf, size_t len);

    int (*irq_count)(struct raw *raw, uint32_t index);
    int (*set_irq)(struct raw *raw, uint32_t index, uint32_t start,
                   int eventfd);

    int (*mask_irq)(struct raw *raw, uint32_t index, uint32_t start,
                    uint32_t action);
    pid_t (*peer)(struct raw *raw);

    int (*dma_map)(struct raw *raw, struct raw_range range, int fd);
    int (*dma_unmap)(struct raw *raw, struct raw_range range);
    int (*log_start)(struct raw *raw, uint64_t page_size,
                     const struct raw_range *ranges, size_t num_ranges);
    int (*log_report)(struct raw *raw, struct raw_range range,
                      uint64_t page_size, uint64_t *bitmap);
};

struct raw {
    const struct raw_ops *ops;
    void *impl;
    bool has_descriptors; /* a session is a descriptor, not messages */
    size_t max_read;      /* of one raw_read(); SIZE_MAX: any */
    size_t max_write;
    int64_t deadline; /* monotonic, ns: of whatever is under way */
    int broken;       /* the transport's error, negative */
};

/* What a command line may say of a vfio-user server; 0: the default. */
struct raw_limits {
    uint32_t connect_ms;
    uint32_t command_ms;
    uint32_t state_ms;
    uint32_t data_ms;
};

/* Opens the device at @address, as vfm_device_open_vfio() takes it. */
int raw_open_vfio(const char *address, struct raw **rawp,
                  struct vfm_error *err);
/* Connects to the server that listens at @path. */
int raw_open_vfio_user(const char *path, const struct raw_limits *limits,
                       struct raw **rawp, struct vfm_error *err);
/* NULL is allowed. */
void raw_close(struct raw *raw);

/* Closes the device and opens it again: what a program that dies does. */
int raw_reopen(struct raw *raw, struct vfm_error *err);
/* Opens it a second time, beside this one, and closes that.  0 if it went
 * well. */
int raw_open_twice(struct raw *raw);

bool raw_is_broken(const struct raw *raw);

int raw_feature(struct raw *raw, struct raw_feature *f);
/* Whether it says that it has @feature with UAPI_FEATURE_GET or _SET. */
bool raw_probe(struct raw *raw, uint32_t feature, uint32_t access);
int raw_migration(struct raw *raw, uint64_t *flags);
int raw_get_state(struct raw *raw, uint32_t *state);
/* @data_fd: the caller's from now on, -1 if none came; may be NULL. */
int raw_set_state(struct raw *raw, uint32_t state, int *data_fd);
int raw_data_size(struct raw *raw, uint64_t *bytes);

/* A session's bytes.  @fd is its descriptor, ignored where there are none. */
ssize_t raw_read(struct raw *raw, int fd, void *buf, size_t len);
ssize_t raw_write(struct raw *raw, int fd, const void *buf, size_t len);
int raw_precopy_info(struct raw *raw, int fd, struct uapi_precopy_info *info);

int raw_reset(struct raw *raw);
int raw_device_info(struct raw *raw, struct uapi_device_info *info);

int raw_region_info(struct raw *raw, uint32_t index, struct raw_region *region);
int raw_region_read(struct raw *raw, uint32_t index, uint64_t offset, void *buf,
                    size_t len);
int raw_region_write(struct raw *raw, uint32_t index, uint64_t offset,
                     const void *buf, size_t len);

/* How many interrupts of kind @index there are. */
int raw_irq_count(struct raw *raw, uint32_t index);
/* Ties one to an eventfd, which stays the caller's; -1 unties it. */
int raw_set_irq(struct raw *raw, uint32_t index, uint32_t start, int eventfd);

/* Does UAPI_IRQ_ACTION_MASK, _UNMASK or _TRIGGER to one. */
int raw_mask_irq(struct raw *raw, uint32_t index, uint32_t start,
                 uint32_t action);

/* The process that serves the device; -EOPNOTSUPP where there is none. */
pid_t raw_peer(struct raw *raw);

/* Maps the memory of file @fd, from its beginning, for reading and writing. */
int raw_dma_map(struct raw *raw, struct raw_range range, int fd);
int raw_dma_unmap(struct raw *raw, struct raw_range range);

int raw_log_start(struct raw *raw, uint64_t page_size,
                  const struct raw_range *ranges, size_t num_ranges);
int raw_log_stop(struct raw *raw);
/* One bit per page, added to @bitmap, which has room for them, rounded up to
 * 64. */
int raw_log_report(struct raw *raw, struct raw_range range, uint64_t page_size,
                   uint64_t *bitmap);

#endif
