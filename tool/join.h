/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_JOIN_H
#define VFM_TOOL_JOIN_H

/*
 * Between a migration that gives devices away and a QEMU that takes a whole
 * machine: the rest of it is in a file, whose machine has stopped long ago.
 *
 * The migration's stream is collected first, for the configuration of a device
 * comes at its end; then the machine is sent, with the devices in it.  What
 * QEMU answers is the migration's to judge.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/channel.h>
#include <vfmig/error.h>

struct join;

/* Takes over @outer.  Returns 0, and in *@chp the channel for the migration. */
int join_open(struct vfm_channel *outer, const char *rest, uint32_t timeout_ms,
              struct join **joinp, struct vfm_channel **chp,
              struct vfm_error *err);
int join_add_device(struct join *j, const char *id, struct vfm_error *err);
/* Does what there is to do.  Sending waits for whoever takes it. */
void join_run(struct join *j);
int join_poll_fds(const struct join *j, struct pollfd *fds, int64_t *ready_at);
/* What went wrong here, or NULL. */
const struct vfm_error *join_failure(const struct join *j);
void join_close(struct join *j);

#endif
