/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_RUN_H
#define VFM_CHECK_RUN_H

/*
 * Running checks on a device: which, in which order, and how the device is
 * brought back in between.
 */

#include "check/check.h"
#include "check/image.h"

struct driver;

/* Globs, as of fnmatch(), of checks or of groups. */
struct check_selection {
    const char *const *only; /* none: all */
    size_t num_only;
    const char *const *skip;
    size_t num_skip;
};

bool check_is_selected(const struct check_selection *selection,
                       const char *name, const char *group);

struct run_options {
    struct check_selection selection;
    uint64_t without; /* UAPI_MIGRATION_* that are not to be tried */
    /* Asked before each check whether it and the rest are left out; may be
     * NULL. */
    bool (*is_cancelled)(void);
};

/* What is known of the device, and the check that is running. */
struct run {
    struct raw *raw;
    const struct run_options *options;
    uint64_t migration;          /* UAPI_MIGRATION_*: what it says, as it is */
    uint32_t has;                /* NEEDS_*, without what is not to be tried */
    const struct driver *driver; /* NULL: none knows this device */
    uint64_t announced;          /* bytes of state; 0: unknown */
    bool is_endless;             /* once they did not come to an end */
    bool is_never_done;          /* nor did those of PRE_COPY */
    unsigned int silent;         /* checks it did not answer in, in time */
    bool is_given_up;            /* and others were skipped for that */

    /* The session of the state that the device is in, and the one before it,
     * whose descriptor is kept until the check is over; -1: none. */
    int fd;
    int old_fd;

    struct image image; /* step_have_image() */
    int repeats;        /* loading_need_repeats(): 1, -1; 0: not known yet */

    struct check_result *now;
    char lost[CHECK_REASON]; /* why nothing more can be done; "" if it can */
};

/* Brings the device to RUNNING, whatever it takes; closes the session.
 * Returns 0, or an error, and r->lost says why. */
int run_bring_back(struct run *r);
void run_close_session(struct run *r);

/* Told of a check before (@result NULL) and after it ran. */
typedef void run_tell_fn(void *opaque, const struct check *check,
                         const struct check_result *result);

struct run_results {
    struct check_result *all; /* the caller frees them */
    size_t count;
    /* Why the rest was skipped, if it was: the device could not be brought
     * back; it did not answer in time. */
    bool is_lost;
    bool is_given_up;
};

/*
 * Runs what @options select on @raw, which the caller closes afterwards.
 *
 * Returns 0, whatever the results; an error if the device cannot be asked what
 * it is, or is no migratable one.
 */
int run_checks(struct raw *raw, const struct run_options *options,
               run_tell_fn *tell, void *opaque, struct run_results *results,
               struct vfm_error *err);

#endif
