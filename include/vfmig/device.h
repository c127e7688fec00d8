/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_DEVICE_H
#define VFM_DEVICE_H

/*
 * A device whose state can be stopped, saved and loaded.
 *
 * The handle is the same for every kind of device; only the function that
 * opens it differs (<vfmig/vfio_user.h>).  A program that only wants to move a
 * device needs no more than to open it and to add it to a migration
 * (<vfmig/migration.h>); the functions below are for those who save, load or
 * test a device by themselves.
 *
 * Errors     Functions returning int or ssize_t return a negative errno value
 *            on failure and, if @err is not NULL, say in a sentence what
 *            failed.  A failed call never leaves the handle unusable:
 *            vfm_device_state() tells where the device ended up.
 *              -ETIMEDOUT  the device did not answer in time; it counts as
 *                          lost, and every later call fails the same way
 *              -EPROTO     the device's answer makes no sense; likewise lost
 *              -ENOTCONN   the connection to the device is gone
 *              -EBUSY      a migration is waiting for the device's answer; not
 *                          to accesses to regions, which never mind
 * Ownership  Pointers passed in are borrowed for the call.  A handle is freed
 *            by vfm_device_close() and by nothing else.
 *            While a migration has the device, leave it the session and the
 *            state.
 * Threads    One thread at a time per handle.  Handles share nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vfmig/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vfm_device;

/*
 * Migration states; the values are those of <linux/vfio.h>.
 *
 * "Session" below is the byte stream between the library and the device: it
 * opens on entering a state that has one and closes on entering one that has
 * not.
 */
enum vfm_state {
    /* Out of order.  Entered by the device only; leave by
     * vfm_device_reset(). */
    VFM_STATE_ERROR = 0,

    /* Neither runs nor touches memory.  No session. */
    VFM_STATE_STOP = 1,

    /* In normal use.  No session. */
    VFM_STATE_RUNNING = 2,

    /* As STOP; vfm_device_read() yields the rest of the state, then 0. */
    VFM_STATE_STOP_COPY = 3,

    /* As STOP; vfm_device_write() takes a saved state.  The device checks
     * it on the way to STOP: that transition is the one that fails. */
    VFM_STATE_RESUMING = 4,

    /* As RUNNING, but starts no access to other devices.  Optional. */
    VFM_STATE_RUNNING_P2P = 5,

    /* As RUNNING; vfm_device_read() yields what is known so far, then
     * -ENOMSG until there is more.  Optional. */
    VFM_STATE_PRE_COPY = 6,

    /* PRE_COPY and RUNNING_P2P together.  Optional. */
    VFM_STATE_PRE_COPY_P2P = 7,
};

/* Returns a static string such as "STOP_COPY", or "?" for an unknown value. */
const char *vfm_state_name(enum vfm_state state);

/* Finds the state called @name, in upper or lower case, '-' being as good as
 * '_'.  Returns 0 and the state in *@state, or -EINVAL. */
int vfm_state_from_name(const char *name, enum vfm_state *state);

/* What the device says it can do; the bits of VFIO_DEVICE_FEATURE_MIGRATION.
 * A device without STOP_COPY cannot be migrated at all. */
#define VFM_MIGRATION_STOP_COPY UINT64_C(1)
#define VFM_MIGRATION_P2P       UINT64_C(2)
#define VFM_MIGRATION_PRE_COPY  UINT64_C(4)

/*
 * What is known of a device since it was opened.
 *
 * Set size to sizeof(struct vfm_device_info) before the call.  A later version
 * may add members at the end; those the library does not know are zeroed.
 */
struct vfm_device_info {
    size_t size;

    const char *backend; /* "vfio-user", ...: static */
    uint64_t migration;  /* VFM_MIGRATION_*; 0: cannot be migrated */

    bool has_data_size;    /* vfm_device_data_size() works */
    bool has_precopy_info; /* vfm_device_precopy_info() works */
    bool has_dma_logging;
    bool has_reset;
    bool is_pci;

    /* From configuration space; 0 if it cannot be read (some servers refuse
     * while the device is stopped) or the device has none. */
    uint32_t config_size; /* bytes of configuration space: 0, 256 or 4096 */
    uint16_t vendor_id;
    uint16_t device_id;
    uint16_t subsystem_vendor_id;
    uint16_t subsystem_id;
    uint8_t revision_id;
    uint32_t class_code; /* 24 bits */
    uint32_t msix_count; /* entries of the MSI-X table */

    /* The largest read() and write() that is sure to be one message or one
     * system call. */
    uint32_t read_size;
    uint32_t write_size;

    /* Bytes of memory that is shared with a vfio-user server for state to go
     * through; 0: it goes in messages or by system calls. */
    uint64_t data_area_size;
};

/* Fills in @info.  Returns 0, or -EINVAL if info->size is smaller than that of
 * the first version. */
int vfm_device_get_info(const struct vfm_device *dev,
                        struct vfm_device_info *info);

/* Closes the session, if any, and frees @dev, which no migration may have any
 * more.  A server's device keeps its state; of one of the kernel the driver may
 * reset it when nobody has it open.  NULL is allowed. */
void vfm_device_close(struct vfm_device *dev);

/* The name the device was opened with; lives as long as @dev. */
const char *vfm_device_name(const struct vfm_device *dev);

/* Returns the state the device was last known to be in. */
enum vfm_state vfm_device_state(const struct vfm_device *dev);

/* Asks the device for its state (VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE);
 * vfm_device_state() then returns the answer.  A session that is none of that
 * state's is over.  Returns 0; on failure vfm_device_state() is what it was. */
int vfm_device_refresh_state(struct vfm_device *dev, struct vfm_error *err);

/* Whether the device has @state: STOP_COPY, RESUMING and what is mandatory if
 * it can be migrated, the others by its VFM_MIGRATION_* bits. */
bool vfm_device_has_state(const struct vfm_device *dev, enum vfm_state state);

/*
 * Does without what the device offers from now on, as if it did not offer it:
 * @migration is VFM_MIGRATION_PRE_COPY, VFM_MIGRATION_P2P or both.  To find out
 * what a device is worth without them, or when they are broken.
 *
 * It cannot be taken back but by opening the device again.
 *
 * Returns 0.
 *   -EINVAL   @migration has other bits
 *   -EBUSY    the device is in a state that it would not have any more
 */
int vfm_device_do_without(struct vfm_device *dev, uint64_t migration,
                          struct vfm_error *err);

/*
 * Moves the device to @want, through intermediate states if need be, and
 * returns when it is there.
 *
 * Asking for the state the device is in succeeds and does nothing (uAPI: "a
 * no-op that succeeds").  Which pairs are possible is the uAPI's rule:
 * anything but STOP_COPY to a PRE_COPY state, anything to ERROR, and anything
 * out of ERROR.
 *
 * On failure the device may be in any state on the way.  It has been asked:
 * vfm_device_state() is what it answered, or ERROR if it did not.  Whether
 * to go back, go on or reset is the caller's decision (vfm_device_recover()).
 *
 * Returns 0.
 *   -EINVAL       @want is ERROR, or not reachable from here
 *   -EOPNOTSUPP   this device does not have that state, or none has
 *   -EPROTO       the device opened no session where it should have
 *   others        what the device answered
 */
int vfm_device_set_state(struct vfm_device *dev, enum vfm_state want,
                         struct vfm_error *err);

/* Resets the device (VFIO_DEVICE_RESET): its state and its session are lost and
 * it is RUNNING.  Some servers reset without returning to RUNNING; they are
 * then told to.  Returns 0, or what the device answered: one without a reset,
 * see vfm_device_info.has_reset, refuses. */
int vfm_device_reset(struct vfm_device *dev, struct vfm_error *err);

/* How vfm_device_recover() ended. */
enum vfm_recovery {
    VFM_RECOVERY_NONE,   /* the device was already where it should be */
    VFM_RECOVERY_MOVED,  /* it went to the fallback state, nothing lost */
    VFM_RECOVERY_RESET,  /* it was reset: its state is lost */
    VFM_RECOVERY_FAILED, /* neither worked; vfm_device_state() is the truth */
};

/*
 * Brings a device back after a failure: to @fallback if it will go there, else
 * by a reset and then to @fallback.
 *
 * @err is an input too: if it holds a message, the outcome is added to it, so
 * that the sentence that reaches the user says why and what became of the
 * device.  Zero it first if there is none.
 *
 * Returns how it ended.
 */
enum vfm_recovery vfm_device_recover(struct vfm_device *dev,
                                     enum vfm_state fallback,
                                     struct vfm_error *err);

/*
 * Reads up to @len bytes of the device's state into @buf, waiting for them if
 * the device needs time.  How the stream is cut into reads means nothing
 * (<linux/vfio.h>, enum vfio_device_mig_state, PRE_COPY and STOP_COPY).
 *
 * Returns the number of bytes read, 0 at the end of the state (STOP_COPY).
 *   -ENOMSG       nothing more for now (PRE_COPY)
 *   -EBADFD       no saving session in this state
 *   -EINVAL       @len is 0
 */
ssize_t vfm_device_read(struct vfm_device *dev, void *buf, size_t len,
                        struct vfm_error *err);

/* Writes @len bytes of a saved state, all of them; none is no mistake.  A
 * refusal may come to light only at a later write or at the transition out of
 * RESUMING, which then fails once with it and leaves the device where it is.
 * How much had been taken before a refusal is not told: the load is void.
 *
 * Returns 0, or what the device answered.
 *   -EBADFD       no loading session in this state */
int vfm_device_write(struct vfm_device *dev, const void *buf, size_t len,
                     struct vfm_error *err);

/*
 * Asks how many bytes stopping now would leave to be saved
 * (VFIO_DEVICE_FEATURE_MIG_DATA_SIZE), in any state.
 *
 * It is the device's estimate and may be wrong either way: 0, or more than
 * there can be, are answers seen in the field and returned as they are.
 *
 * Returns 0 and them in *@bytes, which is left alone on failure.
 *   -EOPNOTSUPP   the device cannot tell
 */
int vfm_device_data_size(struct vfm_device *dev, uint64_t *bytes,
                         struct vfm_error *err);

/* The device has new initial data: initial_bytes may have grown and
 * dirty_bytes starts anew.  Valid only if the device offers it. */
#define VFM_PRECOPY_REINIT UINT32_C(1)

/* What VFIO_MIG_GET_PRECOPY_INFO says: estimates, in bytes.  Set size as in
 * struct vfm_device_info. */
struct vfm_precopy_info {
    size_t size;

    uint32_t flags;         /* VFM_PRECOPY_* */
    uint64_t initial_bytes; /* to be read and loaded before a stop is cheap */
    uint64_t dirty_bytes;   /* the rest of what is known so far */
};

/*
 * Asks what is left to read in a PRE_COPY state.  A device that once said that
 * it does not know the question is not asked again.
 *
 * Returns 0; *@info is left alone on failure.
 *   -EOPNOTSUPP   the device cannot tell
 *   -EINVAL       it is in no PRE_COPY state, or info->size is smaller than
 *                 that of the first version
 */
int vfm_device_precopy_info(struct vfm_device *dev,
                            struct vfm_precopy_info *info,
                            struct vfm_error *err);

/*
 * Reads or writes @len bytes of region @region (the numbers of
 * VFIO_DEVICE_GET_REGION_INFO: 0 to 5 the BARs, 7 configuration space) at
 * @offset, all of them, and waits for the device.  What does not fit into a
 * message is done piece by piece, from the first.  A VMM may do that for its
 * guest at any time, between the dispatches of a migration too, but as with all
 * else from one thread at a time.
 *
 * Returns 0, or what the device answered, as to a region or an offset that it
 * has not; then part of it may have been done.
 */
int vfm_device_region_read(struct vfm_device *dev, uint32_t region,
                           uint64_t offset, void *buf, size_t len,
                           struct vfm_error *err);
int vfm_device_region_write(struct vfm_device *dev, uint32_t region,
                            uint64_t offset, const void *buf, size_t len,
                            struct vfm_error *err);

#ifdef __cplusplus
}
#endif

#endif /* VFM_DEVICE_H */
