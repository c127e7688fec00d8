/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_DEVICE_DEVICE_H
#define VFM_SRC_DEVICE_DEVICE_H

/*
 * The device as the layers above drive it, and what a backend must provide.
 *
 * Nothing here waits.  A *call* is started and then finished as soon as it
 * will: the finish returns -EAGAIN until the device has answered or the
 * call's deadline has passed.  One call at a time per device; the data of a
 * session flows beside it.  device_wait_fds() says what to poll for meanwhile.
 */

#include <poll.h>
#include <stdint.h>

#include <vfmig/device.h>

#include "device/state.h"

enum device_op {
    DEVICE_SET_STATE,    /* in: state */
    DEVICE_GET_STATE,    /* out: state */
    DEVICE_RESET,        /* */
    DEVICE_DATA_SIZE,    /* out: bytes */
    DEVICE_PRECOPY_INFO, /* out: precopy */
    DEVICE_REGION_READ,  /* in: accesses, num_accesses */
    DEVICE_REGION_WRITE, /* likewise */
    DEVICE_LOG_START,    /* in: ranges, num_ranges */
    DEVICE_LOG_STOP,     /* */
    DEVICE_LOG_REPORT,   /* in: mark, opaque */
};

/* Addresses that a device uses: @length bytes from @address on. */
struct device_range {
    uint64_t address;
    uint64_t length;
};

/* Told of pages that the device has written, as vfm_dirty_mark() is. */
typedef void device_mark_fn(void *opaque, uint64_t address, uint64_t page_size,
                            const uint64_t *bitmap, uint64_t num_pages);

/* Told of a range that the device can write to. */
typedef void device_reach_fn(void *opaque, uint64_t address, uint64_t length);

/* A part of a region, and what becomes of the access to it.  It and its buffer
 * must stay until the call is finished. */
struct device_access {
    uint32_t region;
    uint64_t offset;
    void *buf;  /* filled, or only read if the region is written */
    size_t len; /* any; the backend cuts it to what the device takes */
    int ret;    /* out: 0, why it was not made, or -ECANCELED if it was not
                 * even begun, as one before it failed */
};

struct device_call {
    enum device_op op;
    enum vfm_state state;
    uint64_t bytes;
    struct vfm_precopy_info precopy;

    /* Made in this order, without waiting for one before the next; an error is
     * that of the first that failed.  Reads behind it are made all the same;
     * writes behind it only if they were under way. */
    struct device_access *accesses;
    unsigned int num_accesses; /* at least 1 */

    const struct device_range *ranges; /* must stay, too */
    size_t num_ranges;
    device_mark_fn *mark; /* called until the call is finished */
    void *opaque;
};

/*
 * What a backend must provide.  Every member but room() is required.
 *
 * Backends translate; they hold no policy and no copy of the state.  All take
 * what the device says as hostile.  A failure of the transport itself is
 * sticky: every later call returns the first error.
 */
struct device_ops {
    const char *name;

    /* Begins @call, which the backend may refer to until it is finished.
     * Returns 0, or an error, and then the call is over. */
    int (*call_start)(struct vfm_device *dev, struct device_call *call,
                      struct vfm_error *err);

    /* Returns 0 when the call is over and its out members are valid, -EAGAIN
     * while it is under way, or the error that ended it. */
    int (*call_finish)(struct vfm_device *dev, struct device_call *call,
                       struct vfm_error *err);

    /* Shows the next bytes of the saving session, which stay valid until
     * consume(), which takes the first @len of them away.
     * Returns how many there are, 0 at the end of the state (STOP_COPY),
     * -ENOMSG if there is nothing more for now (PRE_COPY), -EAGAIN if they are
     * on their way, or an error.  The end and an error stay; after -ENOMSG the
     * next call asks the device anew. */
    ssize_t (*peek)(struct vfm_device *dev, const void **data,
                    struct vfm_error *err);
    void (*consume)(struct vfm_device *dev, size_t len);

    /* Hands bytes to the loading session.  Returns how many were taken, at
     * least 1; they need not be kept.  -EAGAIN if none can be taken now, or
     * an error, which may be that of an earlier write. */
    ssize_t (*write)(struct vfm_device *dev, const void *data, size_t len,
                     struct vfm_error *err);

    /* Shows where what is written next may be put, so that it is not copied:
     * write() knows it by its address.  It stays until that write, or the end
     * of the session.  Returns its size, 0 if there is no such place, -EAGAIN
     * if there is none now, or an error.  May be NULL: there is none. */
    ssize_t (*room)(struct vfm_device *dev, void **room, struct vfm_error *err);

    /* Returns 0 when the device has taken all that was written, -EAGAIN
     * before, or the first error. */
    int (*flush)(struct vfm_device *dev, struct vfm_error *err);

    /* The session is over, or another begins: forgets what was read ahead
     * and what was written. */
    void (*end_session)(struct vfm_device *dev);

    /* Reads or writes @len bytes of a region, all of them, and waits for it; a
     * call may be under way meanwhile, and goes on undisturbed. */
    int (*access)(struct vfm_device *dev, bool write, uint32_t region,
                  uint64_t offset, void *buf, size_t len,
                  struct vfm_error *err);

    /* Tells of all that the device can write to. */
    void (*reach)(struct vfm_device *dev, device_reach_fn *each, void *opaque);

    /* Says what to poll for so that what is under way can go on, and at
     * which time (monotonic, ns; CLOCK_NEVER) to come back at the latest.
     * Stores up to DEVICE_MAX_FDS entries and returns how many.  An entry
     * with events 0 waits for hang-up only. */
    int (*wait_fds)(struct vfm_device *dev, struct pollfd *fds,
                    int64_t *deadline);

    /* Takes what the device has sent, without being asked for anything.
     * Returns 0, or the error by which the transport has failed. */
    int (*check)(struct vfm_device *dev, struct vfm_error *err);

    /* Frees what the backend put in dev->backend.  Never fails. */
    void (*close)(struct vfm_device *dev);
};

#define DEVICE_MAX_FDS 3

/* What is under way. */
enum device_phase {
    DEVICE_IDLE,
    DEVICE_MOVING,  /* SET_STATE under way */
    DEVICE_ASKING,  /* it failed; GET_STATE under way */
    DEVICE_CALLING, /* another call */
};

/* Where a recovery is; see recover.c. */
enum recovery_step {
    RECOVERY_FALLING_BACK,
    RECOVERY_RESETTING,
    RECOVERY_ASKING,
    RECOVERY_RETURNING,
    RECOVERY_OVER,
};

struct device_recovery {
    enum recovery_step step;
    enum vfm_state fallback;
    bool discards; /* what the device holds must not run */
    enum vfm_recovery how;
    struct vfm_error why; /* the fallback, then the reset, did not work */
};

struct vfm_device {
    const struct device_ops *ops;
    void *backend; /* owned by ops */
    char *name;

    /* Filled in by the backend when it opens the device. */
    struct vfm_device_info info;
    uint8_t pci_space[256]; /* as it was: for what never changes in it */

    /* As last known; changed by device.c only. */
    enum vfm_state state;

    /* The kind of session that is open: never one in a state that has none;
     * SESSION_NONE in a state that has one only after a failed transition,
     * for then nobody knows how much of it is left. */
    enum session session;
    bool refusal_told; /* the caller knows that a write was refused */

    enum device_phase phase;
    struct device_call call;
    struct vfm_error failure; /* why the move failed, while asking */
    struct device_recovery recovery;
};

/* Makes a handle for a backend's open function: @name is copied.  Returns NULL
 * without memory.  From here on vfm_device_close() frees it, and ops->close()
 * what is in dev->backend. */
struct vfm_device *device_new(const struct device_ops *ops, void *backend,
                              const char *name);

/* Sets what the backend learnt at opening. */
void device_opened(struct vfm_device *dev, enum vfm_state state);

/*
 * vfm_device_set_state() and the other calls without waiting: 0 when over,
 * -EAGAIN while under way (call device_*_finish() again), or the error.  A
 * start may finish at once: it returns what finish would.
 *
 * device_call_start() does not; 0 from it means that the call goes on.
 */
int device_set_state_start(struct vfm_device *dev, enum vfm_state want,
                           struct vfm_error *err);
int device_set_state_finish(struct vfm_device *dev, struct vfm_error *err);
int device_call_start(struct vfm_device *dev, const struct device_call *call,
                      struct vfm_error *err);
int device_call_finish(struct vfm_device *dev, struct device_call *result,
                       struct vfm_error *err);

/*
 * vfm_device_recover() without waiting.  The finish returns 0 when it is over,
 * with the outcome in *@how, or -EAGAIN; recover_describe() then adds what
 * became of the device to @err: @how, the worst if it took several of them.
 */
void device_recover_start(struct vfm_device *dev, enum vfm_state fallback);
/* The same, but by a reset at once: what the device holds is not wanted.  Where
 * a reset does not make it run it is left in STOP, whatever @fallback says: it
 * may hold all of it still. */
void device_recover_by_reset_start(struct vfm_device *dev,
                                   enum vfm_state fallback);
int device_recover_finish(struct vfm_device *dev, enum vfm_recovery *how);
void device_recover_describe(const struct vfm_device *dev,
                             enum vfm_recovery how, struct vfm_error *err);

/* Waits until what is under way may have got further; for the blocking
 * calls. */
int device_wait(struct vfm_device *dev, struct vfm_error *err);

/* The session's data without waiting; as the members of device_ops, but
 * refused with -EBADFD where the session is none or of the other kind. */
ssize_t device_peek(struct vfm_device *dev, const void **data,
                    struct vfm_error *err);
void device_consume(struct vfm_device *dev, size_t len);
ssize_t device_write(struct vfm_device *dev, const void *data, size_t len,
                     struct vfm_error *err);
ssize_t device_room(struct vfm_device *dev, void **room, struct vfm_error *err);
int device_flush(struct vfm_device *dev, struct vfm_error *err);

/* Whether a call is under way. */
static inline bool device_is_busy(const struct vfm_device *dev)
{
    return dev->phase != DEVICE_IDLE;
}

/* Whether the device can still be reached: 0, or why not. */
static inline int device_check(struct vfm_device *dev, struct vfm_error *err)
{
    return dev->ops->check(dev, err);
}

static inline void device_reach(struct vfm_device *dev, device_reach_fn *each,
                                void *opaque)
{
    dev->ops->reach(dev, each, opaque);
}

static inline int device_wait_fds(struct vfm_device *dev, struct pollfd *fds,
                                  int64_t *deadline)
{
    return dev->ops->wait_fds(dev, fds, deadline);
}

#endif
