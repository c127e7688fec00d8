/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_BACKEND_VFIO_KERNEL_H
#define VFM_SRC_BACKEND_VFIO_KERNEL_H

/*
 * A device of the kernel.
 *
 *   address.c  where it is: sysfs
 *   list.c     all that there are
 *   group.c    the others of its group
 *   open.c     getting at its descriptor: a cdev and iommufd, or a group
 *   learn.c    what it is and can do
 *   call.c     one system call for each operation
 *   data.c     the session: a descriptor that is read or written
 *   log.c      its log of its own DMA
 *
 * The kernel answers at once or makes the caller wait: there is no deadline
 * for what a driver does within an ioctl().
 */

#include <dirent.h>

#include <vfmig/vfio.h>

#include "device/device.h"
#include "protocol/vfio-uapi.h"

#define KERNEL_READ_SIZE (1 << 20)

struct kernel_device {
    struct vfm_device *dev;
    int fd;
    bool owns_fd;
    int iommu_fd;     /* iommufd or container; -1 */
    int group_fd;     /* -1 */
    uint32_t ioas_id; /* that it is attached to */

    uint64_t region_offset[UAPI_NUM_REGIONS];
    uint64_t region_size[UAPI_NUM_REGIONS];

    /* The last call's answer. */
    int result;
    struct vfm_error why;

    /* The session. */
    int data_fd;        /* -1 */
    bool has_flags;     /* struct uapi_precopy_info's are valid */
    bool blocked;       /* it had nothing to read, or took nothing */
    int64_t blocked_at; /* since when */
    ssize_t ended;      /* what peek() says from now on: 0 or an error */
    bool has_ended;
    uint8_t *buf; /* KERNEL_READ_SIZE, aligned to a page */
    size_t at;
    size_t len;

    /* The log. */
    struct device_range *ranges;
    size_t num_ranges;
};

static inline struct kernel_device *kernel_of(const struct vfm_device *dev)
{
    return dev->backend;
}

/* A feature: @buf begins with a struct uapi_feature, and has @size bytes. */
int kernel_feature(const struct kernel_device *k, uint32_t flags, void *buf,
                   size_t size);

/* Where it is now. */
int kernel_get_state(const struct kernel_device *k, enum vfm_state *state);

/* Fills in dev->info and the regions, and the state. */
int kernel_learn(struct kernel_device *k, struct vfm_error *err);

/* Reads or writes a region, all of @len. */
int kernel_access(struct kernel_device *k, bool write, uint32_t region,
                  uint64_t offset, void *buf, size_t len);

/* device_ops: data.c. */
ssize_t data_peek(struct vfm_device *dev, const void **data,
                  struct vfm_error *err);
void data_consume(struct vfm_device *dev, size_t len);
ssize_t data_write(struct vfm_device *dev, const void *data, size_t len,
                   struct vfm_error *err);
int data_flush(struct vfm_device *dev, struct vfm_error *err);
void data_end(struct vfm_device *dev);
int data_wait_fds(struct vfm_device *dev, struct pollfd *fds,
                  int64_t *deadline);
/* A session begins with @fd, which is ours from now on. */
int data_begin(struct kernel_device *k, int fd);

/* log.c */
int log_start(struct kernel_device *k, const struct device_call *call);
int log_stop(struct kernel_device *k);
int log_report(struct kernel_device *k, const struct device_call *call);

/* Where a device is, by what its user calls it. */
struct kernel_address {
    const char *root; /* of the file system: "" but in tests */
    char folder[512]; /* in sysfs */
    char name[64];    /* of the device, as its group knows it */
    char cdev[64];    /* "vfio0"; empty: none */
    int group;        /* -1: none */
    char driver[64];  /* empty: none */
    bool is_mediated;
};

/* Finds "0000:00:01.0", an mdev's UUID, or "/dev/vfio/devices/vfioN".  @root
 * stays the caller's. */
int address_find(const char *root, const char *text,
                 struct kernel_address *address, struct vfm_error *err);

/* A handle for the log of the device that is open as @fd, which stays the
 * caller's: nothing else is asked. */
int kernel_open_for_log(int fd, const char *name, struct vfm_device **devp,
                        struct vfm_error *err);

/* The entries of @folder, sorted, without hidden ones.  Returns how many, for
 * address_free_names() in any case, or a negative errno value. */
int address_scan(const char *folder, struct dirent ***names);
void address_free_names(struct dirent **names, int count);

/* vfm_device_open_vfio() in another file system. */
int kernel_open(const char *root, const char *text, struct vfm_device **devp,
                struct vfm_error *err);

/* Whether its driver is one of VFIO's. */
bool address_is_vfio(const struct kernel_address *address);

/* Whether open() takes the cdev and iommufd. */
bool address_has_iommufd(const struct kernel_address *address);

/* Names those in its group whose driver is none of VFIO's: ": NAME (DRIVER),
 * NAME (DRIVER)"; an empty text if sysfs does not tell. */
void group_name_others(const struct kernel_address *address, char *text,
                       size_t size);

/* vfm_vfio_each() in another file system. */
int kernel_each(const char *root, vfm_vfio_each_fn *each, void *opaque,
                struct vfm_error *err);

extern const struct device_ops kernel_ops;

#endif
