/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_STEPS_H
#define VFM_CHECK_STEPS_H

/*
 * Moves that many checks make.
 *
 * Each returns 0, or CHECK_OVER when it did not work and the check has been
 * told so: as failed, for all of them are things that a device has to do.
 */

#include "check/image.h"
#include "check/run.h"

/* "EINVAL"; of a negative or positive number. */
const char *step_errno(int error);
/* "RUNNING"; of any number. */
const char *step_state_name(uint32_t state);

/*
 * Moves the device, one arc of the model's path at a time, and asks whether it
 * arrived.  r->fd is the session's descriptor afterwards, where there are some;
 * that of a session that is over becomes r->old_fd.
 */
int step_go(struct run *r, uint32_t state);
/* One SET, whatever the path, as step_go() otherwise. */
int step_set(struct run *r, uint32_t state);
/* One SET that may fail: returns what the device said. */
int step_try(struct run *r, uint32_t state);
/* Whether the device says that it is in @state. */
int step_expect_state(struct run *r, uint32_t state);

/* What of the device can be read in the session in STOP_COPY, added to
 * @image, @piece bytes at a time; 0: as many as are good.  Fails if there is no
 * end to it: within some times what the device has announced, and within the
 * check's time. */
int step_read_all(struct run *r, struct image *image, size_t piece);
/* What comes in PRE_COPY until ENOMSG or 0, @max bytes at most, and no more
 * than has any sense: who always has something to give goes on in STOP_COPY. */
int step_read_precopy(struct run *r, struct image *image, size_t max);
/* Writes @size bytes, @piece at a time; 0: as many as are good. */
int step_write(struct run *r, const void *data, size_t size, size_t piece);

/* From RUNNING: the whole state; the device is in STOP then. */
int step_save(struct run *r, struct image *image);
/* From any state without a session: loads it; the device is in STOP then. */
int step_load(struct run *r, const struct image *image);
/* The same up to the last byte: the device is in RESUMING. */
int step_load_open(struct run *r, const struct image *image);
/* Closes the session's descriptor, or where there is none the connection, and
 * opens another: what a client that dies does. */
int step_hang_up(struct run *r);
/* A state that this device once had, in r->image: not empty.  Saved once; moves
 * the device to RUNNING then. */
int step_have_image(struct run *r);

#endif
