/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_MIGRATION_H
#define VFM_MIGRATION_H

/*
 * A migration: the state of one or more devices, and of the VM that they belong
 * to, goes from here over a channel (a source) or comes from there (a target),
 * and afterwards they run at exactly one side.
 *
 * A life:
 *
 *     vfm_migration_new()            source or target, on an open channel
 *     vfm_migration_add_device()     each device, under the name it has in
 *                                    the stream
 *     vfm_migration_set_pci()        who keeps its configuration space, if the
 *                                    VMM does
 *     vfm_migration_set_ram()        the memory, if it is to move as well,
 *     vfm_migration_add_tracker()    who knows what is written to it,
 *     vfm_migration_add_blob()       and what else the VMM has
 *     vfm_migration_run()            to the end, or
 *     vfm_migration_fd() and vfm_migration_dispatch() in a loop of one's own
 *     vfm_migration_get_outcome()    who owns the devices now
 *     vfm_migration_close()
 *
 * Both sides go through the same stages, in this order; docs/handover.md has
 * the picture.  Up to and including `loaded` every failure ends with the
 * devices as they were at the source.
 *
 * Errors     Functions returning int return a negative errno value on failure
 *            and, if @err is not NULL, say in a sentence what failed.  The
 *            first failure ends the migration; the sentence says what became
 *            of each device.
 * Ownership  The channel, the devices, the memory, the trackers, the listener
 *            and the callbacks' argument stay the caller's and must outlive
 *            the migration.  Names and structures are copied.
 * Threads    The library has none.  One thread at a time per migration;
 *            vfm_migration_cancel() may be called from any thread and from a
 *            signal handler.  Callbacks come from within
 *            vfm_migration_dispatch(), vfm_migration_run() and, of one that is
 *            under way, vfm_migration_close() only, and must not call
 *            functions of the same migration but the getters and
 *            vfm_migration_cancel().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/blob.h>
#include <vfmig/channel.h>
#include <vfmig/device.h>
#include <vfmig/dirty.h>
#include <vfmig/error.h>
#include <vfmig/figures.h>
#include <vfmig/pci.h>
#include <vfmig/ram.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vfm_migration;

enum vfm_role {
    VFM_ROLE_SOURCE,
    VFM_ROLE_TARGET,
};

/* Who is at the other end of the channel. */
enum vfm_peer {
    /* Another vfmig: a hello before the stream, a handover after it. */
    VFM_PEER_VFMIG,

    /* A QEMU: its stream and its return path only.  A target runs the
     * devices once it has told the source that all was loaded.  A source's
     * are given away with the end of the stream, for a QEMU that has read it
     * runs them; with vfm_migration_options.return_path it may give them back
     * by saying that it could not load them. */
    VFM_PEER_QEMU,

    /* Nobody: a file, or a pipe that is read later.  The source's devices
     * end stopped (or as vfm_migration_options.keep_running says); the
     * target's run when all was loaded. */
    VFM_PEER_NONE,
};

/* Who owns the devices when it is over. */
enum vfm_outcome {
    /* It is not over. */
    VFM_OUTCOME_PENDING,

    /* As intended: a source's devices are the other side's now, a target's
     * are ours. */
    VFM_OUTCOME_DONE,

    /* It failed, and nothing was lost: a source's devices are where they were
     * and as they were, a target's have been reset to what they were worth
     * before, which is nothing. */
    VFM_OUTCOME_FAILED,

    /* It failed, and a source's device had to be reset, or a device of
     * either side could not be brought back at all: its state is lost. */
    VFM_OUTCOME_LOST,

    /* The source gave the devices away and did not hear whether they run.
     * They are stopped here and the library will not run them: somebody has
     * to look at the other side and decide. */
    VFM_OUTCOME_HANDED_OVER,
};

/* What happened, for vfm_migration_callbacks.event(). */
enum vfm_event_kind {
    VFM_EVENT_STAGE,   /* a stage begins, nothing of it was done: stage */
    VFM_EVENT_STATE,   /* a device changed state: device, state */
    VFM_EVENT_WARNING, /* text: something the user should know */
};

struct vfm_event {
    enum vfm_event_kind kind;
    enum vfm_stage stage;
    const char *device; /* its id, or NULL */
    enum vfm_state state;
    const char *text; /* or NULL; valid during the callback */
};

/* Size as in the options: callbacks that the library does not know must be
 * NULL. */
struct vfm_migration_callbacks {
    size_t size;

    /* Stops or starts the VM whose devices these are; not called for one that
     * was paused.  Either may be NULL.  Returns 0, or a negative errno,
     * described in @err.
     *
     * stop_vm() is a source's, before its devices are stopped.  If it fails,
     * the migration fails.
     *
     * start_vm() comes when the devices run: at the target, at a source with
     * keep_running, and at a source whose migration failed.  That source has
     * VFM_OUTCOME_LOST if a device had to be reset, and is not started if one
     * could not be brought back at all.  If start_vm() fails there, the VM
     * stays stopped, and the outcome is what it was.  If it fails at the
     * target, the devices are reset there, and a source that is a vfmig runs
     * them again. */
    int (*stop_vm)(void *opaque, struct vfm_error *err);
    int (*start_vm)(void *opaque, struct vfm_error *err);

    /* May be NULL. */
    void (*event)(void *opaque, const struct vfm_event *event);

    /* Source: the guest writes memory faster than it can be sent.  Slows it
     * down: its processors are to rest @percent of the time.  Called with 20,
     * then more in steps of 10 as long as that does not help, at most 99; with
     * 0 when they may run freely again, which they also may once the VM was
     * stopped.  A failure is told as a warning.  May be NULL: the guest is
     * never slowed down. */
    int (*slow_vm)(void *opaque, unsigned int percent, struct vfm_error *err);

    /* Source with vfm_migration_options.channels: connects one more channel to
     * where the target listens; it belongs to the migration.  Called as often
     * as both sides have agreed on, once the target has, and should not take
     * long: the target is there.  Returns 0 and *@chp, or a negative errno,
     * described in @err, which ends the migration. */
    int (*connect_channel)(void *opaque, struct vfm_channel **chp,
                           struct vfm_error *err);
};

/* The most channels beside the one that a migration is made over. */
#define VFM_CHANNELS_MAX 32

/*
 * Zero means the default everywhere but in size, which the caller sets to
 * sizeof(struct vfm_migration_options).  Bytes beyond what this library knows
 * must be zero, else -E2BIG.
 */
struct vfm_migration_options {
    size_t size;

    enum vfm_role role;
    enum vfm_peer peer;

    /* The VM is not running: its devices are left stopped on either side.  A
     * source without memory to move finds that out by itself if all its devices
     * are in STOP; one with memory must be told.  A target is told by the
     * stream, and this pauses it in any case. */
    bool paused;

    /* Source, VFM_PEER_NONE: run the devices again when all is written. */
    bool keep_running;

    /* The machine type named in the stream.  A source's default is "vfmig";
     * a target with a name here takes no other. */
    const char *machine;

    /* How long the VM may be stopped; ms.  The source goes on in PRE_COPY until
     * it estimates less.  Where there is no memory to send and no device can
     * pre-copy, or none can tell how much is left, waiting would not help: it
     * goes on at once and warns.  Memory is never left to a stop that is
     * estimated to take longer.  Default 300. */
    uint32_t downtime_limit_ms;

    /* How long to stay in PRE_COPY; ms.  What then: stop the devices whatever
     * it costs, or (default) fail and say why.  Default 600,000. */
    uint32_t pre_copy_timeout_ms;
    bool force_switchover;

    /* How long the peer may be silent while we wait for it; ms.  Four times as
     * long if it talks, but takes nothing from us, or does not say what became
     * of the devices.  With VFM_PEER_NONE a target waits for the first byte for
     * ever.  Default 30,000. */
    uint32_t peer_timeout_ms;

    /* The callbacks may be NULL; copied. */
    const struct vfm_migration_callbacks *callbacks;
    void *opaque;

    /* Source: bytes per second while the VM runs; 0: no limit but the
     * channel's. Once it has stopped, what is left goes as fast as the link
     * takes it. */
    uint64_t max_bandwidth;

    /* Source: wait in stage `pre-switchover`, the VM and its devices stopped,
     * until vfm_migration_continue(). */
    bool pause_before_switchover;

    /* Source, VFM_PEER_QEMU: asks the QEMU to answer, and is done when it says
     * that it has loaded all of it; if it says that it could not, the devices
     * are as they were.  Needs a channel that goes both ways: no pipe, no
     * command. */
    bool return_path;

    /* VFM_PEER_VFMIG: how many channels there are to be beside this one, at
     * most VFM_CHANNELS_MAX, for what is left of the devices' state when they
     * have stopped.  Both sides get the smaller number, 0 if a peer does not
     * know of them.  The loss of one is as that of this one.  Default 0.
     *
     * Source, VFM_PEER_QEMU with return_path: a QEMU's multifd channels with
     * device state, as many as it was told.  The VM goes on running until it
     * has said that all of them have come. */
    uint32_t channels;

    /* Target with channels: where it listens for them; the caller's.  Strangers
     * are turned away, with a warning. */
    struct vfm_listener *listener;

    /* With channels: the bytes that may be taken for what is under way on all
     * of them together, at least 64 KiB for each, for a source that compresses
     * 128 KiB.  Default 16 MiB. */
    uint64_t memory_max;

    /* Source, with return_path: the VM stops when the QEMU has acknowledged the
     * initial data of all devices; one without that capability refuses. */
    bool switchover_ack;

    /* Source with channels: zstd on them if the target has it, or a warning.
     * -EOPNOTSUPP from vfm_migration_new() if this library has not. */
    bool compress;

    /* How many devices take a transition at once, at most, for those that share
     * what has to be spared.  The downtime grows by what the others wait for.
     * Default 0: all, but those of the kernel, which take theirs one after the
     * other: <vfmig/vfio.h>. */
    uint32_t parallel;
};

/*
 * Makes a migration over @channel.
 *
 * Returns 0 and a handle in *@mp.
 *   -EINVAL       options that contradict each other, such as a peer that
 *                 must answer on a channel that goes one way
 *   -E2BIG        options or callbacks that this library does not know are set
 *   -EOPNOTSUPP   compress, in a library without zstd
 *   -ENOMEM       out of memory
 */
int vfm_migration_new(struct vfm_channel *channel,
                      const struct vfm_migration_options *options,
                      struct vfm_migration **mp, struct vfm_error *err);

/* Frees it.  One that is under way is ended as by vfm_migration_cancel(),
 * which may take as long as the devices' deadlines and, when a source has given
 * them away, until the target has answered: four times peer_timeout_ms at most.
 * NULL is allowed. */
void vfm_migration_close(struct vfm_migration *m);

/* The most devices one migration takes. */
#define VFM_DEVICES_MAX 64

/*
 * Adds @dev; its state is the stream's section "<id>/vfio".  Before the first
 * dispatch only.  A source takes devices that are running (or in
 * RUNNING_P2P), or all stopped; a target's are put to RESUMING whatever
 * they do, and what they hold is lost.  Of several all must have RUNNING_P2P,
 * or the first dispatch is -EBUSY.
 *
 * Returns 0.
 *   -EOPNOTSUPP   the device cannot be migrated
 *   -EEXIST       @id is taken
 *   -EINVAL       @id is not printable ASCII without spaces and '/', of 1 to
 *                 250 characters
 *   -E2BIG        too many devices
 *   -EBUSY        the migration has begun
 */
int vfm_migration_add_device(struct vfm_migration *m, struct vfm_device *dev,
                             const char *id, struct vfm_error *err);

/*
 * Has @keeper, which is copied, save or load the PCI configuration of the
 * device that was added as @id, instead of the device itself.  The other side
 * need not do so too: what goes over is the same.  Before the first dispatch
 * only.
 *
 * Returns 0.
 *   -ENOENT       no device of that id was added
 *   -EINVAL       the callback that this side needs is NULL
 *   -E2BIG        unknown members are set
 *   -EBUSY        it has a keeper, or the migration has begun
 */
int vfm_migration_set_pci(struct vfm_migration *m, const char *id,
                          const struct vfm_pci_keeper *keeper,
                          struct vfm_error *err);

/*
 * Moves @ram too; once, and before the first dispatch only.  Both sides must
 * have blocks of the same names and sizes; two vfmigs compare them before
 * anything is sent.
 *
 * A source sends all of it while the VM runs, then, round after round, what was
 * written meanwhile, until what is left fits into downtime_limit_ms.  A source
 * that was given no tracker (vfm_migration_add_tracker()) knows nothing of what
 * the processors write: all memory counts as written all the time.
 *
 * Returns 0, or -EBUSY: there is one already, or the migration has begun.
 */
int vfm_migration_set_ram(struct vfm_migration *m, struct vfm_ram *ram,
                          struct vfm_error *err);

/*
 * Source: asks @tracker, too, what was written to memory.
 *
 * @dev NULL: by the processors and the VMM.  Else by this device of the
 * migration, whose own log is then left alone.  Several may be given for
 * either. A device that has neither a log nor a tracker may have written all
 * that it can reach, at any time; a warning says so, and how much that is.
 *
 * A tracker that cannot be started for the processors is a failure of the
 * migration; for a device, a warning.  One that fails to report is a warning,
 * and all memory that it was started for counts as written.
 *
 * Returns 0.
 *   -EINVAL       this is a target
 *   -ENOENT       @dev is no device of this migration
 *   -EBUSY        the migration has begun
 *   -E2BIG        more than 64
 */
int vfm_migration_add_tracker(struct vfm_migration *m,
                              struct vfm_dirty_tracker *tracker,
                              const struct vfm_device *dev,
                              struct vfm_error *err);

/*
 * Adds state of the VMM's own; @blob is copied.  Before the first dispatch
 * only.  A source's blobs must all be known to the target; a target's that the
 * source does not send are an error, too.
 *
 * Returns 0.
 *   -EINVAL       a bad name, size or version, or a callback that this side
 *                 needs is NULL
 *   -EEXIST       the name is taken
 *   -E2BIG        more than VFM_BLOBS_MAX, or unknown members are set
 *   -EBUSY        the migration has begun
 */
int vfm_migration_add_blob(struct vfm_migration *m, const struct vfm_blob *blob,
                           struct vfm_error *err);

/*
 * Refuses the migration for @reason, which is copied, as long as it is there:
 * the first dispatch fails with -EBUSY and that sentence before anything is
 * touched.
 *
 * Returns a number above 0 for vfm_migration_remove_blocker().
 *   -EBUSY        the migration has begun: it is too late to refuse
 *   -ENOMEM       out of memory
 */
int vfm_migration_add_blocker(struct vfm_migration *m, const char *reason);
/* Takes that reason back; a number that is none does nothing. */
void vfm_migration_remove_blocker(struct vfm_migration *m, int blocker);

/* Says why the migration would be refused as things stand, built-in reasons
 * included: stores the @n-th reason (from 0) in @err and returns -EBUSY, or
 * returns 0 if there are no more. */
int vfm_migration_get_blocker(const struct vfm_migration *m, unsigned int n,
                              struct vfm_error *err);

/* One descriptor that polls readable when vfm_migration_dispatch() has
 * something to do.  Deadlines and timers included: nothing else need be
 * watched.  It stays the migration's, and the same. */
int vfm_migration_fd(const struct vfm_migration *m);

/* Does what can be done without waiting, and not for long, but for a kernel
 * device's change of state, which takes what its driver takes.  Returns 1 while
 * the migration goes on, 0 when it ended well, or the error that ended it; the
 * same again if called again. */
int vfm_migration_dispatch(struct vfm_migration *m, struct vfm_error *err);

/* Dispatches until it is over.  Returns 0 or the error. */
int vfm_migration_run(struct vfm_migration *m, struct vfm_error *err);

/* Goes on from stage `pre-switchover`; see pause_before_switchover.  Any time
 * before it is reached will do, too.  Returns 0, or -EINVAL: this migration
 * does not pause, or is over. */
int vfm_migration_continue(struct vfm_migration *m, struct vfm_error *err);

/* Change what the options said, from now on; for a source that is under way
 * and does not converge. */
void vfm_migration_set_downtime_limit(struct vfm_migration *m,
                                      uint32_t downtime_limit_ms);
void vfm_migration_set_max_bandwidth(struct vfm_migration *m,
                                     uint64_t bytes_per_second);

/*
 * Ends the migration as soon as possible: it fails with -ECANCELED and the
 * devices are as they were.  Once a source has given the devices away it is
 * too late, and the migration goes on to its end.  Any thread, any time,
 * signal handlers too.
 */
void vfm_migration_cancel(struct vfm_migration *m);

/* Who owns the devices; VFM_OUTCOME_PENDING until it is over. */
enum vfm_outcome vfm_migration_get_outcome(const struct vfm_migration *m);
/* The stage it is in. */
enum vfm_stage vfm_migration_get_stage(const struct vfm_migration *m);

/* Whether the VM is to run when it is over: false if it was paused. */
bool vfm_migration_vm_runs(const struct vfm_migration *m);

#ifdef __cplusplus
}
#endif

#endif /* VFM_MIGRATION_H */
