/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_NODE_H
#define VFM_BRIDGE_NODE_H

/*
 * The device nodes, and what opening one gives.
 *
 *   container.c  /dev/vfio/vfio: type 1
 *   group.c      /dev/vfio/N
 *   node.c       /dev/vfio/devices/vfioN, devices by group, and which is which
 *   iommufd.c    /dev/iommu
 */

#include "bridge/device.h"
#include "bridge/file.h"
#include "bridge/space.h"

/* Opens the node @path; @flags are those of open().  -ENXIO: it is none of
 * ours. */
int node_open(const char *path, int flags);

/* What @path is a number of; 0: not a node of ours. */
dev_t node_number(const char *path);

/* The number of the character device of device @n. */
dev_t node_cdev_number(int n);

/* In a child. */
void node_forget_all(void);

/* A descriptor of the device of @group, which is to see @space; with the
 * group's lock. */
int node_open_member(struct file *group, const struct place *place,
                     struct space *space);

/* container.c.  A group comes and goes; container_space() is NULL before
 * VFIO_SET_IOMMU. */
int container_open(int flags);
bool is_container(const struct file *f);
void container_join(struct file *container);
void container_leave(struct file *container);
struct space *container_space(struct file *container);

/* group.c.  A group that is blocked cannot be opened, and one that is open not
 * blocked: -EBUSY.  With the last descriptor of its device that sees no memory
 * any more. */
int group_open(const struct place *place, int flags, dev_t number);
int group_block(const struct place *place);
void group_unblock(const struct place *place);
void group_device_closed(struct file *group, struct device *device);
void group_forget_all(void);

/* iommufd.c.  A device is known to it by a number, and given the space of an
 * IOAS or of a page table made from one, which is in use from then on. */
int iommufd_open(int flags);
bool is_iommufd(const struct file *f);
int iommufd_bind(struct file *iommufd, uint32_t *id);
void iommufd_unbind(struct file *iommufd, uint32_t id);
struct space *iommufd_use(struct file *iommufd, uint32_t id);
void iommufd_unuse(struct file *iommufd, const struct space *space);

#endif
