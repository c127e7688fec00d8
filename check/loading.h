/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_LOADING_H
#define VFM_CHECK_LOADING_H

/*
 * Loads that may be refused, and what a device is after one that was not.
 *
 * As in steps.h, functions return 0 or CHECK_OVER.
 */

#include "check/image.h"
#include "check/run.h"

/* A part of what is written. */
struct load_part {
    const void *data;
    size_t size;
};

/*
 * From RUNNING: offers a state and ends the load by going to STOP.  A device
 * that took it is in STOP; one that refused it is in RESUMING or ERROR, or the
 * check is over.
 */
int loading_offer(struct run *r, const struct load_part *parts, size_t count,
                  bool *taken);

/* Has to be refused; @what says what it is.  The device is where a refusal
 * leaves it. */
int loading_refused(struct run *r, const struct load_part *parts, size_t count,
                    const char *what);

/* After a refusal, or in the middle of a load: brings the device to RUNNING by
 * a reset. */
int loading_recover(struct run *r);

/* From RUNNING: makes sure that two saves of one state are the same bytes,
 * without which nothing can be compared; skips the check otherwise. */
int loading_need_repeats(struct run *r);

/* In STOP: whether the device would save @image; @after says what it did
 * before. */
int loading_expect(struct run *r, const struct image *image, const char *after);

/* How many of @wanted loads of this device's state are not too much. */
size_t loading_bound(const struct run *r, size_t wanted);

#endif
