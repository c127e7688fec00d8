/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_VFIO_USER_H
#define VFM_VFIO_USER_H

/*
 * Devices behind a vfio-user server.
 *
 * Opening one speaks to the server, learns what it can do and asks for its
 * state, and changes nothing: a device found stopped stays stopped, for a
 * server keeps its device's state when a client goes away, and whether that
 * device may run is not for the library to guess.
 *
 * Beside what <vfmig/device.h> offers for every device, a VMM whose device this
 * is gives it memory and interrupts here.
 *
 * Errors, ownership, threads: as in <vfmig/device.h>.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/device.h>
#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Zero means the default everywhere but in size, which the caller sets to
 * sizeof(struct vfm_vfio_user_options).  Bytes beyond what this library knows
 * must be zero, else the open fails with -E2BIG; values out of bounds make it
 * fail with -EINVAL.
 */
struct vfm_vfio_user_options {
    size_t size;

    /* How long one command may take, by kind; ms.  Defaults: 5,000 to
     * connect and for a command, 60,000 for a change of state or a reset,
     * 30,000 for a piece of the device's state. */
    uint32_t connect_timeout_ms;
    uint32_t command_timeout_ms;
    uint32_t state_timeout_ms;
    uint32_t data_timeout_ms;

    /* Bytes of device state in one message and how many of those may be under
     * way.  Defaults: reads of 1 MiB, 2 at a time; writes of 32 KiB, 8 at a
     * time, as servers exist that lose their place in larger ones; of 1 MiB, 2
     * at a time, if the server says that it does not.  What the server says it
     * can take is a limit in any case.  Bounds: 4 KiB to 16 MiB, 1 to 16. */
    uint32_t read_size;
    uint32_t read_depth;
    uint32_t write_size;
    uint32_t write_depth;

    /* Do not offer the server memory for the device's state to go through
     * instead of messages.  Where it takes some, read_size and read_depth are
     * those of pieces in it, for both directions; the default is 512 KiB, 4 at
     * a time. */
    bool no_data_area;
};

/*
 * Connects to the server that listens at @path and opens its device.
 *
 * @name appears in messages and is copied; NULL stands for @path.  @options
 * may be NULL, and is not needed afterwards.  A server that refuses the
 * version that is proposed is connected to once more and offered an older one
 * (vfio-user, VFIO_USER_VERSION).
 *
 * A device that cannot be migrated can be opened too: its
 * vfm_device_info.migration is 0 and vfm_device_set_state() is refused.
 *
 * Returns 0 and a handle in *@devp.
 *   -ENOENT, -ECONNREFUSED  nobody listens at @path
 *   -ENAMETOOLONG           @path does not fit into a socket's address
 *   -EINVAL, -E2BIG         @options
 *   -EPROTONOSUPPORT        the server speaks another major version
 *   -EPROTO                 the server's answers make no sense
 *   -ETIMEDOUT              it does not answer
 */
int vfm_device_open_vfio_user(const char *path, const char *name,
                              const struct vfm_vfio_user_options *options,
                              struct vfm_device **devp, struct vfm_error *err);

/*
 * The same on the connected stream socket @fd, which the handle then owns and
 * closes; it stays the caller's only if this fails, and then of no use if the
 * server was spoken to.  NULL for @name stands for "fd:" and the number.
 *
 * Returns 0 and a handle in *@devp, or as vfm_device_open_vfio_user().
 *   -ENOTSOCK, -EBADF       @fd is no socket
 *   -EINVAL                 @fd is a socket of another type, or @options
 */
int vfm_device_open_vfio_user_fd(int fd, const char *name,
                                 const struct vfm_vfio_user_options *options,
                                 struct vfm_device **devp,
                                 struct vfm_error *err);

/* Access to a mapping, for vfm_vfio_user_dma_map(). */
#define VFM_DMA_READ  UINT32_C(1)
#define VFM_DMA_WRITE UINT32_C(2)

/*
 * Lets the device reach @size bytes of memory at @iova, which are those of the
 * file @fd from @fd_offset on; @access is VFM_DMA_READ, VFM_DMA_WRITE or both
 * (vfio-user, VFIO_USER_DMA_MAP).  Offered to the server in pieces of 16 GiB:
 * either all of them are mapped or none.
 *
 * @fd -1 maps memory that the device reaches by messages only; they are
 * answered by the callback of vfm_vfio_user_set_dma_ops().  @fd stays the
 * caller's.
 *
 * Some servers refuse while the device is stopped: map before.
 *
 * Returns 0, or what the server answered, as for a range that overlaps another.
 *   -EINVAL       no bytes, more than there are addresses, unknown bits in
 *                 @access, or @dev is of another kind
 *   -EOPNOTSUPP   the server takes no descriptors
 *   -E2BIG        more than 65,535 pieces
 */
int vfm_vfio_user_dma_map(struct vfm_device *dev, uint64_t iova, uint64_t size,
                          int fd, uint64_t fd_offset, uint32_t access,
                          struct vfm_error *err);

/*
 * Takes the mapping of exactly @size bytes at @iova away.
 *
 * Returns 0, or what the server answered; it is asked for what was never
 * mapped, too.
 *   -EINVAL       @dev is of another kind
 */
int vfm_vfio_user_dma_unmap(struct vfm_device *dev, uint64_t iova,
                            uint64_t size, struct vfm_error *err);

/*
 * Answers the device's own reads and writes of memory that was mapped without
 * a descriptor: @len bytes at @iova, which need not lie in a mapping.  Both
 * return 0 or a negative errno, which the device is told.
 * Called from within calls on @dev, also from those a migration makes;
 * they must not call the library.
 */
struct vfm_dma_ops {
    size_t size; /* sizeof(struct vfm_dma_ops) */

    int (*read)(void *opaque, uint64_t iova, void *buf, size_t len);
    int (*write)(void *opaque, uint64_t iova, const void *buf, size_t len);
};

/*
 * Has such access answered by @ops, which is copied, instead of by those set
 * before.  NULL refuses all access, which is also how a device begins, and NULL
 * in it that kind of access.  @opaque is passed to the functions and stays the
 * caller's.
 *
 * Returns 0; on failure those set before stay.
 *   -EINVAL   @dev is of another kind, or ops->size cannot be
 *   -E2BIG    @ops has members that this library does not know
 */
int vfm_vfio_user_set_dma_ops(struct vfm_device *dev,
                              const struct vfm_dma_ops *ops, void *opaque,
                              struct vfm_error *err);

/*
 * Ties @count interrupts of kind @index (0 INTx, 1 MSI, 2 MSI-X) from @start
 * on to the eventfds @fds; an entry of -1 unties one.  @count 0 turns
 * the kind off.  Sent in as many messages as the server's limit wants; what
 * came before a refusal stays set.  The descriptors stay the caller's
 * (vfio-user, VFIO_USER_DEVICE_SET_IRQS).
 *
 * Returns 0, or what the server answered.
 *   -EINVAL       @start plus @count is more than 32 bits have, @fds is NULL
 *                 without need, or @dev is of another kind
 *   -EOPNOTSUPP   the server takes no descriptors
 */
int vfm_vfio_user_set_irqs(struct vfm_device *dev, uint32_t index,
                           uint32_t start, uint32_t count, const int *fds,
                           struct vfm_error *err);

/* A part of a region that can be mapped, in bytes. */
struct vfm_region_area {
    uint64_t offset;
    uint64_t size;
};

/*
 * Tells where region @region (0 to 8, as VFIO_DEVICE_GET_REGION_INFO counts
 * them) may be mapped: stores up to @max areas, in bytes, and, in *@fd, a
 * descriptor that stays the device's and is closed with it.  An area's offset
 * is that within the region; in @fd it lies at *@fd_offset plus that.  What is
 * mapped of it is the caller's to unmap.
 *
 * Returns how many areas there are, which may be more than @max; 0 and *@fd -1
 * if the region cannot be mapped; or what the server answered, and *@fd -1.
 *   -EINVAL       there is no such region, or @dev is of another kind
 *   -EPROTO       an area is not within the region
 */
int vfm_vfio_user_region_areas(struct vfm_device *dev, uint32_t region,
                               struct vfm_region_area *areas, size_t max,
                               int *fd, uint64_t *fd_offset,
                               struct vfm_error *err);

/*
 * Serves what the device asked of us while nothing else was going on, such as
 * reads of memory that was mapped without a descriptor.  Never waits.  Poll
 * vfm_vfio_user_fd() for reading to know when to call it.
 *
 * Returns 0, or the error that ended the connection; -EINVAL if @dev is of
 * another kind.
 */
int vfm_vfio_user_process(struct vfm_device *dev, struct vfm_error *err);

/* A descriptor for polling only, whatever number of sockets there are.  It
 * stays the device's and the same.  -1 if @dev is of another kind. */
int vfm_vfio_user_fd(const struct vfm_device *dev);

#ifdef __cplusplus
}
#endif

#endif /* VFM_VFIO_USER_H */
