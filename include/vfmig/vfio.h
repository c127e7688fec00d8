/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_VFIO_H
#define VFM_VFIO_H

/*
 * Opening a VFIO device of the kernel.
 *
 * Rules: <linux/vfio.h>, <linux/iommufd.h>.  The conventions are those of
 * <vfmig/device.h>, but for one: the kernel answers a system call when it is
 * done, so that a change of state is waited for within the call that asks for
 * it, one device after the other, and -ETIMEDOUT comes only from a session's
 * data, when there was none for 30 seconds.  Neither that nor -EPROTO makes a
 * device count as lost: the next call asks the kernel again.
 */

#include <stdbool.h>

#include <vfmig/device.h>
#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Opens the device at @address: a PCI address such as "0000:3b:00.2", the UUID
 * of a mediated device, or "/dev/vfio/devices/vfioN".  It is bound to an
 * iommufd of its own where the kernel has that, else its group joins a type 1
 * container; no memory is mapped, so that it can reach none.  For tools; a VMM
 * has its devices open already.
 *
 * Returns 0 and the device in *@devp.
 *   -EINVAL   @address is none
 *   -ENODEV   there is no such device, it is bound to no VFIO driver, or is in
 *             no IOMMU group
 *   -ENOENT   VFIO's modules are not loaded
 *   -EBUSY    somebody has it open
 *   -EPERM    its group holds devices that the kernel still uses
 *   others    what the kernel answered
 */
int vfm_device_open_vfio(const char *address, struct vfm_device **devp,
                         struct vfm_error *err);

/* What sysfs tells of a device.  The texts live until the callback returns. */
struct vfm_vfio_entry {
    const char *address;       /* as vfm_device_open_vfio() takes it */
    const char *driver;        /* "vfio-pci", "vfio_mdev", ...; "": none */
    const char *cdev;          /* "vfio0"; "": it has none */
    const char *debugfs_state; /* as the kernel spells it; "": not told */
    int group;                 /* -1: none */
    bool is_mediated;          /* an mdev, not a PCI function */
    bool by_iommufd;           /* vfm_device_open_vfio() opens the cdev */
};

/* Told of a device.  What it returns other than 0 ends the walk. */
typedef int vfm_vfio_each_fn(void *opaque, const struct vfm_vfio_entry *entry);

/*
 * Calls @each for every device of this machine that is bound to a VFIO driver,
 * PCI functions first, by address.  None is opened.
 *
 * Returns 0, what @each returned, or a negative errno value if sysfs could not
 * be read to the end: those told of are there all the same.
 */
int vfm_vfio_each(vfm_vfio_each_fn *each, void *opaque, struct vfm_error *err);

/*
 * Makes a handle for the device that the caller has open as @fd: from
 * VFIO_GROUP_GET_DEVICE_FD, or a character device that was bound to an
 * iommufd.  The descriptor stays the caller's, must outlive the handle, and may
 * be used beside it for everything but the migration.  @name appears in
 * messages and is copied; NULL stands for "vfio".
 *
 * Returns 0 and the device in *@devp, or what the kernel answered: -ENOTTY or
 * -EINVAL of a descriptor that is no VFIO device's.
 */
int vfm_device_open_vfio_fd(int fd, const char *name, struct vfm_device **devp,
                            struct vfm_error *err);

/*
 * The descriptor of a device that was opened here, to be used beside the handle
 * or instead of it: for what the library does not do, or to see what the device
 * itself answers.  It stays the handle's.  -1 if @dev is of another kind.
 */
int vfm_vfio_device_fd(const struct vfm_device *dev);

#ifdef __cplusplus
}
#endif

#endif /* VFM_VFIO_H */
