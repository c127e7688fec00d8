/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_DIRTY_H
#define VFM_DIRTY_H

/*
 * Which pages of guest memory were written.
 *
 * A *tracker* knows who wrote: a device, by its own log or by that of its
 * IOMMU; the processors, by KVM's; anybody, by functions of the caller's.  It
 * is started, reports now and then, and is stopped.  Several are asked one
 * after the other, and what they report is merged in a *sink*.
 *
 * A migration of a whole VM (vfm_migration_add_tracker() in
 * <vfmig/migration.h>) does all that by itself: it starts the trackers before
 * it reads the first page, asks them at the end of each round, and once more
 * when the VM and its devices have stopped.  A device that logs its own DMA
 * needs no tracker of the caller's.
 *
 * Addresses are guest-physical.  Without a vIOMMU the I/O addresses of devices
 * are the same.
 *
 * Errors     Functions returning int return a negative errno value on failure
 *            and, if @err is not NULL, say in a sentence what failed.  After a
 *            report that failed nobody knows what was written: all that the
 *            tracker was started for counts as written.
 * Ownership  What a tracker is made of (descriptors, callbacks' argument)
 *            stays the caller's and must outlive it.
 * Threads    One thread at a time per handle, but for
 *            vfm_dirty_tracker_collect().  Handles share nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vfm_dirty_tracker;
struct vfm_dirty_sink;

/* The page size that the library itself works with. */
#define VFM_DIRTY_PAGE_SIZE 4096

/* Addresses and lengths are multiples of VFM_DIRTY_PAGE_SIZE. */
struct vfm_dirty_range {
    uint64_t address;
    uint64_t length;
};

/* ------------------------------------------------------------- sinks */

/*
 * Makes a sink for @n ranges, which must not overlap.
 *
 * Returns 0 and the sink, with no page marked, in *@sinkp.
 *   -EINVAL   a range that is empty, unaligned, beyond 2^64 or overlaps
 *   -ENOMEM   out of memory: one bit per page is kept
 */
int vfm_dirty_sink_new(const struct vfm_dirty_range *ranges, size_t n,
                       struct vfm_dirty_sink **sinkp, struct vfm_error *err);
/* NULL is allowed. */
void vfm_dirty_sink_free(struct vfm_dirty_sink *sink);

/*
 * Marks pages as written.  Bit n of @bitmap, which is bit n mod 64 of word n /
 * 64, stands for the @page_size bytes from @address + n * @page_size on.  These
 * pages may be larger or smaller than the sink's own and out of step with them:
 * every page of the sink that has a byte in common with a marked one is marked.
 * What lies outside of the sink's ranges is nobody's and ignored.
 */
void vfm_dirty_mark(struct vfm_dirty_sink *sink, uint64_t address,
                    uint64_t page_size, const uint64_t *bitmap,
                    uint64_t num_pages);

/* Marks every page that has one of the @length bytes at @address. */
void vfm_dirty_mark_range(struct vfm_dirty_sink *sink, uint64_t address,
                          uint64_t length);

/* The marks of the sink's range @index, a bit for each VFM_DIRTY_PAGE_SIZE,
 * those beyond the last page zero.  Valid as long as the sink; the caller may
 * clear bits.  NULL past the last range. */
uint64_t *vfm_dirty_sink_bitmap(struct vfm_dirty_sink *sink, size_t index);

/* Returns how many pages are marked. */
uint64_t vfm_dirty_sink_count(const struct vfm_dirty_sink *sink);
/* Clears all marks. */
void vfm_dirty_sink_clear(struct vfm_dirty_sink *sink);

/* ---------------------------------------------------------- trackers */

/*
 * What a tracker does.  Each function returns 0, or a negative errno value and
 * a sentence in @err; or -EAGAIN, and is then called again with the same
 * arguments, after a millisecond at the latest, until it returns another.
 */
struct vfm_dirty_ops {
    size_t size; /* sizeof(struct vfm_dirty_ops) */

    const char *name; /* for messages, such as "KVM dirty log"; static */

    /* Begins to log writes to @n ranges, which are valid during the call.
     * What was written before is of no interest. */
    int (*start)(void *opaque, const struct vfm_dirty_range *ranges, size_t n,
                 struct vfm_error *err);

    /* Marks what was written since start() or the last report() that
     * succeeded, by vfm_dirty_mark(); more than that does no harm, less is
     * the loss of guest memory. */
    int (*report)(void *opaque, struct vfm_dirty_sink *sink,
                  struct vfm_error *err);

    /* Ends the logging.  Called once for each start() that succeeded. */
    int (*stop)(void *opaque, struct vfm_error *err);

    /* Frees @opaque.  May be NULL. */
    void (*free)(void *opaque);
};

/* Makes a tracker of the caller's functions; @ops is copied.
 *
 * Returns 0 and the tracker in *@trackerp; on failure @opaque is not freed.
 *   -EINVAL   a function that must be there is NULL
 *   -E2BIG    @ops has members that this library does not know
 */
int vfm_dirty_tracker_new(const struct vfm_dirty_ops *ops, void *opaque,
                          struct vfm_dirty_tracker **trackerp,
                          struct vfm_error *err);

/* Stops it if it was started, and frees it.  NULL is allowed. */
void vfm_dirty_tracker_free(struct vfm_dirty_tracker *tracker);

/* The name of its kind; static. */
const char *vfm_dirty_tracker_name(const struct vfm_dirty_tracker *tracker);

/*
 * For those who use a tracker without a migration.  A tracker is started once
 * at a time (-EBUSY), and reports only while it is started (-EINVAL).  A report
 * that fails marks all that it was started for.  These wait where a tracker
 * says -EAGAIN, 5 seconds at most (-ETIMEDOUT).
 */
int vfm_dirty_tracker_start(struct vfm_dirty_tracker *tracker,
                            const struct vfm_dirty_range *ranges, size_t n,
                            struct vfm_error *err);
int vfm_dirty_tracker_report(struct vfm_dirty_tracker *tracker,
                             struct vfm_dirty_sink *sink,
                             struct vfm_error *err);
int vfm_dirty_tracker_stop(struct vfm_dirty_tracker *tracker,
                           struct vfm_error *err);

/* ------------------------------------------- trackers in the kernel
 *
 * Each returns 0 and the tracker in *@trackerp; what the kernel answers is
 * passed on; -ENOMEM besides.  Descriptors stay the caller's.  Rules:
 * <linux/vfio.h>, <linux/iommufd.h>, and KVM's api.rst, sections on
 * KVM_GET_DIRTY_LOG, KVM_CLEAR_DIRTY_LOG and KVM_CAP_DIRTY_LOG_RING. */

/*
 * The log that a VFIO device keeps of its own DMA:
 * VFIO_DEVICE_FEATURE_DMA_LOGGING_START, _REPORT and _STOP on @device_fd.
 *
 *   -ENOTTY   the device has no log
 */
int vfm_dirty_tracker_new_vfio(int device_fd,
                               struct vfm_dirty_tracker **trackerp,
                               struct vfm_error *err);

/*
 * The IOMMU's dirty bits of the page table @hwpt_id of @iommu_fd, which was
 * allocated with IOMMU_HWPT_ALLOC_DIRTY_TRACKING; for every device that is
 * attached to it.  Each range must be mapped, in one piece or several.
 */
int vfm_dirty_tracker_new_iommufd(int iommu_fd, uint32_t hwpt_id,
                                  struct vfm_dirty_tracker **trackerp,
                                  struct vfm_error *err);

/*
 * A type 1 container's log, VFIO_IOMMU_DIRTY_PAGES.  The kernel knows what is
 * pinned and no more: unless every device in the container pins what it uses,
 * all that is mapped counts as written, each time.  A range must not cut a
 * mapping in two, and ends on pages of the container's smallest size.
 */
int vfm_dirty_tracker_new_type1(int container_fd,
                                struct vfm_dirty_tracker **trackerp,
                                struct vfm_error *err);

/* A memory slot, as it was given to KVM_SET_USER_MEMORY_REGION. */
struct vfm_dirty_slot {
    uint32_t slot; /* the address space in its upper 16 bits */
    uint32_t flags;
    uint64_t address; /* guest-physical */
    uint64_t length;
    uint64_t userspace_address;
};

/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is enabled for the VM, so that the log has
 * to be cleared by KVM_CLEAR_DIRTY_LOG.  KVM cannot be asked for that, and
 * writes get lost if it is not said as it is. */
#define VFM_DIRTY_KVM_MANUAL_PROTECT 1u

/*
 * KVM's log of what the processors wrote.  Starting and stopping sets and
 * clears KVM_MEM_LOG_DIRTY_PAGES of the slots, which are copied; the ranges
 * that it is started for do not matter.  @flags: VFM_DIRTY_KVM_*.
 *
 *   -EINVAL   no slot, one that is no whole pages, unknown flags
 */
int vfm_dirty_tracker_new_kvm_log(int vm_fd, const struct vfm_dirty_slot *slots,
                                  size_t num_slots, unsigned int flags,
                                  struct vfm_dirty_tracker **trackerp,
                                  struct vfm_error *err);

/*
 * KVM's dirty rings: one per processor, of @ring_bytes as given to
 * KVM_CAP_DIRTY_LOG_RING (or _ACQ_REL), mapped from the descriptors
 * @vcpu_fds.
 *
 * A processor whose ring is full leaves KVM_RUN with KVM_EXIT_DIRTY_RING_FULL:
 * its thread then calls vfm_dirty_tracker_collect() and runs it again.  Before
 * the last report all processors must be out of KVM_RUN.
 *
 *   -EINVAL   @ring_bytes is no power of two or less than a page, no
 *             processor, slots of the same addresses, as two address spaces
 *             have them, or as above
 */
int vfm_dirty_tracker_new_kvm_ring(int vm_fd, const int *vcpu_fds,
                                   size_t num_vcpus, size_t ring_bytes,
                                   const struct vfm_dirty_slot *slots,
                                   size_t num_slots,
                                   struct vfm_dirty_tracker **trackerp,
                                   struct vfm_error *err);

/* Empties the rings of a KVM ring tracker into its own memory, so that
 * processors can go on.  From any thread, beside any other call on the tracker
 * but free.  Returns 0, -EINVAL for another kind of tracker, or what the kernel
 * answered. */
int vfm_dirty_tracker_collect(struct vfm_dirty_tracker *tracker,
                              struct vfm_error *err);

#ifdef __cplusplus
}
#endif

#endif /* VFM_DIRTY_H */
