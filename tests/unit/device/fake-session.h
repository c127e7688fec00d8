/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_DEVICE_FAKE_SESSION_H
#define VFM_TESTS_DEVICE_FAKE_SESSION_H

/*
 * The fake device's saving and loading session; only for fake-device.c.
 */

#include "fake-device.h"

/* Counts a call, and returns the fault that it meets, or NULL. */
const struct fake_fault *fake_fault_now(struct fake_device *f, enum fake_op op);
/* Describes a failure of the session, if @ret is one. */
int fake_session_failed(struct fake_device *f, enum fake_op op, int ret,
                        struct vfm_error *err);

void fake_fall_silent(struct fake_device *f);
bool fake_is_silent(struct fake_device *f);

void session_begin_saving(struct fake_device *f);
void session_begin_loading(struct fake_device *f);
void session_end(struct fake_device *f);
/* Whether what was loaded is what was expected. */
bool session_is_complete(const struct fake_device *f);
int session_info(struct fake_device *f, struct vfm_precopy_info *info);

/* Members of struct device_ops. */
ssize_t session_peek(struct vfm_device *dev, const void **data,
                     struct vfm_error *err);
void session_consume(struct vfm_device *dev, size_t len);
ssize_t session_write(struct vfm_device *dev, const void *data, size_t len,
                      struct vfm_error *err);
ssize_t session_room(struct vfm_device *dev, void **room,
                     struct vfm_error *err);
int session_flush(struct vfm_device *dev, struct vfm_error *err);
void session_over(struct vfm_device *dev);

#endif
