/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_UNIT_BACKEND_FAKE_KERNEL_DEVICE_H
#define VFM_TESTS_UNIT_BACKEND_FAKE_KERNEL_DEVICE_H

/*
 * A VFIO device of the kernel: ioctl(), read(), write(), pread() and pwrite()
 * on its descriptors are answered by the rules of the uAPI, which are written
 * down once more, with the structures of the kernel's own headers.  Other
 * descriptors are left alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kdev {
    int fd;         /* what is given to the library */
    int real_fd;    /* one that the real kernel answers for; -2: none */
    int session_fd; /* what the library was given; -1: no session */

    uint64_t migration; /* VFIO_MIGRATION_*; 0: no such feature */
    uint32_t state;
    uint32_t flags; /* VFIO_DEVICE_FLAGS_* */
    bool has_data_size;
    bool has_log;
    bool has_flags; /* of what is left to pre-copy */
    bool flags_are_valid;
    uint8_t config[256];
    uint32_t config_size;

    const uint8_t *data; /* that it saves */
    size_t size;
    size_t at;
    size_t pre_copy_size; /* so much of it before it stops */
    size_t piece;         /* the most at once; 0: any */
    bool ends_by_zero;    /* in PRE_COPY, not by ENOMSG */
    bool never_ends;      /* ENOMSG in STOP_COPY, too */
    unsigned int busy;    /* EAGAINs before data comes or is taken */
    uint8_t loaded[4096];
    size_t loaded_size;

    unsigned long fail_request; /* answered with @fail, once */
    uint32_t fail_flags;        /* of the feature; 0: any */
    int fail;
    int fail_access; /* of a region */
    int fail_read;
    int fail_write;
    unsigned int interrupts; /* EINTR first */

    /* On the way to it: its group 7, a container, /dev/vfio/devices/vfio3 and
     * an iommufd, as files of these names below any folder. */
    bool is_viable;
    int container_fd;
    int given_fd; /* by the group */
    bool is_bound;
    bool has_iommu;

    unsigned int ioctls;
    unsigned int num_ranges;
    unsigned int sessions; /* opened */
    unsigned int resets;
};

extern struct kdev kdev;

/* A program that defines this has calls fail: below 0, with errno set, or of
 * the bytes to be moved only one is, if it is 1.  @point counts the calls. */
struct fail_point;
int kdev_strikes(struct fail_point *point, const void *caller)
    __attribute__((weak));
void kdev_works(bool works) __attribute__((weak));

/* Everything as a good device has it, RUNNING. */
void kdev_start(void);
void kdev_stop(void);

#endif
