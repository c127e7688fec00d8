/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_FIGURES_H
#define VFM_FIGURES_H

/*
 * What a migration of <vfmig/migration.h> does, and what that takes: its
 * stages, how far it is, where the time goes, what it did when, and the figures
 * of its memory and its devices.  docs/timeline.md explains them.
 *
 * Errors     Every function returns 0 or a negative errno value; none changes
 *            the migration.
 * Ownership  Names and ids live as long as the migration.  All else is copied
 *            into the caller's memory.
 * Threads    At any moment of a migration's life, also after its end and from
 *            within its callbacks, but by the thread that dispatches it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/device.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vfm_migration;

enum vfm_stage {
    VFM_STAGE_HELLO,          /* who are you, will it fit */
    VFM_STAGE_SETUP,          /* devices to PRE_COPY; to RESUMING */
    VFM_STAGE_PRE_COPY,       /* the bulk, while the devices run */
    VFM_STAGE_STOP,           /* the VM, then the devices (downtime begins) */
    VFM_STAGE_PRE_SWITCHOVER, /* waits for vfm_migration_continue() */
    VFM_STAGE_COMPLETE,       /* what is left, configuration, end of stream */
    VFM_STAGE_CHECK,   /* the target verifies and lets the devices check */
    VFM_STAGE_LOADED,  /* the target says so, the source hears it */
    VFM_STAGE_YOURS,   /* the source gives the devices away */
    VFM_STAGE_START,   /* the target runs them (downtime ends) */
    VFM_STAGE_CLEANUP, /* sessions closed, channel committed */
    VFM_STAGE_DONE,
};

/* Returns a static string such as "pre-copy", or "?". */
const char *vfm_stage_name(enum vfm_stage stage);

/* Room for stages that a later version may have. */
#define VFM_STAGES_MAX 16

/*
 * Figures of the whole.
 *
 * Set size to sizeof(struct vfm_progress) before the call.  A later version may
 * add members at the end; those the library does not know are zeroed.
 */
struct vfm_progress {
    size_t size;

    enum vfm_stage stage;
    uint64_t stream_bytes;    /* on the channel, all told */
    uint64_t device_bytes;    /* of device state */
    uint64_t remaining_bytes; /* the devices' estimate; UINT64_MAX: unknown */
    uint64_t bytes_per_sec;   /* of late, link and loading together */
    uint64_t iterations;      /* in PRE_COPY */

    uint64_t expected_downtime_ns;     /* UINT64_MAX: unknown */
    uint64_t elapsed_ns;               /* since the first dispatch */
    uint64_t downtime_ns;              /* 0 before the end */
    uint64_t stage_ns[VFM_STAGES_MAX]; /* time spent in each */
};

/* At any moment.  Returns 0, or -EINVAL if progress->size is smaller than that
 * of the first version. */
int vfm_migration_get_progress(const struct vfm_migration *m,
                               struct vfm_progress *progress);

/*
 * Figures of the memory; size as in struct vfm_progress.  All zero if there is
 * none.  What trackers, rounds and the stream's bytes make of it only a source
 * knows.
 */
struct vfm_ram_stats {
    size_t size;

    uint64_t bytes;               /* of all blocks */
    uint64_t rounds;              /* source: the first takes all of them */
    uint64_t normal_pages;        /* sent or loaded, with what they hold */
    uint64_t zero_pages;          /* of zeroes: a few bytes each */
    uint64_t wire_bytes;          /* source: what both took in the stream */
    uint64_t stopped_pages;       /* of both, while the VM was stopped */
    uint64_t stopped_ns;          /* what these took to send */
    uint64_t remaining_bytes;     /* known to be left */
    uint64_t dirty_bytes_per_sec; /* written, in the last round */
    uint64_t untracked_bytes;     /* may be written without our knowing */
    uint64_t sync_ns;             /* source: asking the trackers, all told */
    uint64_t last_sync_ns;        /* of that, while the VM was stopped */
    uint32_t slow_percent;        /* what slow_vm() was last called with */
    uint32_t tracker_failures;    /* reports that failed */
};

/* At any moment.  Returns 0, or -EINVAL for a size as above. */
int vfm_migration_get_ram_stats(const struct vfm_migration *m,
                                struct vfm_ram_stats *stats);

/* What a migration spends its time on. */
enum vfm_cause {
    VFM_CAUSE_SELF,   /* the library, where it is none of the below */
    VFM_CAUSE_VM,     /* the VMM's callbacks: its VM, blobs, configuration */
    VFM_CAUSE_DEVICE, /* a device: calls to it, transitions, data that is not
                       * there yet */
    VFM_CAUSE_LINK,   /* the channel: calls to it, and when it takes no more */
    VFM_CAUSE_PEER,   /* nothing came from the other side */
    VFM_CAUSE_POLICY, /* a timer of our own: a pause, a limit, the next look */
    VFM_CAUSE_DIGEST, /* the digest of what passes */
    VFM_CAUSE_LOOP,   /* arranging to be woken, and the caller's loop, which
                       * has its turn now and then though there is more to
                       * do at once */
};

/* Room for causes that a later version may have. */
#define VFM_CAUSES_MAX 12

/* Returns a static string such as "device", or "?". */
const char *vfm_cause_name(enum vfm_cause cause);

/*
 * Where the time went, in nanoseconds by cause; size as in struct
 * vfm_progress.  At every moment there is one cause, so the sums are the
 * times of struct vfm_progress: those in @downtime are its downtime_ns, once
 * that is known, and those in @total its elapsed_ns.
 */
struct vfm_spent {
    size_t size;

    uint64_t total_ns[VFM_CAUSES_MAX];
    uint64_t downtime_ns[VFM_CAUSES_MAX];
    uint64_t stage_ns[VFM_STAGES_MAX][VFM_CAUSES_MAX];

    /* Of each stage, what is of the downtime: the same sum. */
    uint64_t stopped_ns[VFM_STAGES_MAX][VFM_CAUSES_MAX];

    /* Source: what the other side did while it was waited for, as it says.
     * What it had not begun with, or had done, is the link's.  The sum is the
     * peer's part of the downtime, or zero: the other side did not say. */
    uint64_t there_ns[VFM_CAUSES_MAX];
};

/* At any moment.  Returns 0, or -EINVAL for a size as above. */
int vfm_migration_get_spent(const struct vfm_migration *m,
                            struct vfm_spent *spent);

/* What a migration did when. */
enum vfm_span_kind {
    VFM_SPAN_STAGE, /* a stage; bytes on the channel */
    VFM_SPAN_ARC,   /* a transition of a device */
    VFM_SPAN_DATA,  /* from the first byte of a device's state in this stage to
                     * the last; bytes of it */
    VFM_SPAN_WAIT,  /* nothing was done, because of cause; for a device, if it
                     * was one.  While the VM is stopped, and of some length. */
    VFM_SPAN_CHANNEL, /* one of several channels, from the first packet on it to
                       * the last; bytes on it, and how long it was blocked */
};

/* Returns a static string such as "stage", or "?". */
const char *vfm_span_kind_name(enum vfm_span_kind kind);

/* Times are those of the monotonic clock here.  Size as in struct
 * vfm_progress. */
struct vfm_span {
    size_t size;

    enum vfm_span_kind kind;
    bool there; /* it was the other side that did it, and it told us */
    enum vfm_stage stage;
    enum vfm_cause cause;
    const char *device; /* its id, which lives as long as the migration; NULL */
    enum vfm_state from;
    enum vfm_state to;
    int64_t began_ns;
    int64_t ended_ns;
    uint64_t bytes;
    uint32_t channel;    /* its number, from 0 */
    uint64_t blocked_ns; /* source: it took no more; target: nothing came */
};

/* Span @index, at any moment.  The first 2,048 are kept, more are not.
 * Returns 0, -ENOENT past the last, or -EINVAL for a size as above. */
int vfm_migration_get_span(const struct vfm_migration *m, unsigned int index,
                           struct vfm_span *span);

/*
 * Source: how far the other side's monotonic clock is ahead of ours, and by how
 * much this may be wrong.  Not known if the other side cannot tell.  Size as in
 * struct vfm_progress.
 */
struct vfm_clock {
    size_t size;

    bool known;
    int64_t offset_ns;
    uint64_t error_ns;
};

/* At any moment.  Returns 0, or -EINVAL for a size as above. */
int vfm_migration_get_clock(const struct vfm_migration *m,
                            struct vfm_clock *clock);

/* An XXH3-128 digest in hexadecimal, and the terminating zero. */
#define VFM_DIGEST_SIZE 33

/* Figures of one device; size as in struct vfm_progress. */
struct vfm_device_stats {
    size_t size;

    const char *id; /* lives as long as the migration */
    enum vfm_state state;
    uint64_t pre_copy_bytes;  /* while it ran */
    uint64_t stop_copy_bytes; /* while it was stopped */
    uint64_t config_bytes;
    uint64_t stop_ns;             /* source: the transitions that stopped it */
    uint64_t check_ns;            /* target: RESUMING to STOP */
    uint64_t start_ns;            /* target: STOP to RUNNING */
    char digest[VFM_DIGEST_SIZE]; /* of its state, as far as it has passed */
};

/* Device @index, in the order they were added, at any moment.  Returns 0,
 * -ENOENT past the last, or -EINVAL for a size as above. */
int vfm_migration_get_device_stats(const struct vfm_migration *m,
                                   unsigned int index,
                                   struct vfm_device_stats *stats);

#ifdef __cplusplus
}
#endif

#endif /* VFM_FIGURES_H */
