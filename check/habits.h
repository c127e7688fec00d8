/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_CHECK_HABITS_H
#define VFM_CHECK_HABITS_H

/*
 * Servers that do some things in a way of their own, and whose devices can do
 * nothing about it.
 */

#include "check/run.h"

/*
 * Whether this is libvfio-user: it says of every device that it has PRE_COPY
 * and no P2P, and refuses a feature that it does not know with EINVAL, where
 * the kernel and others say ENOTTY.  It refuses commands
 * while the device is stopped, keeps the state over a reset, and logs whole
 * mappings.
 */
bool habit_is_libvfio_user(struct run *r);

#endif
