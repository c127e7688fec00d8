/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_INTERRUPT_H
#define VFM_TOOL_INTERRUPT_H

/*
 * Ctrl-C (SIGINT), SIGTERM and SIGHUP end a migration in good order: they
 * cancel what waits for a peer and the migration that runs, and kill nothing.
 * A signal that was ignored when the tool was started (nohup, a shell's
 * background job) stays ignored.
 */

#include <stdbool.h>

#include <vfmig/error.h>

struct vfm_migration;

/*
 * From now on signals cancel; what that means is said on standard error in the
 * name of @command.  Returns a descriptor that becomes readable when that
 * happens, for vfm_channel_options.cancel_fd, or a negative errno value.
 */
int interrupt_install(const char *command, struct vfm_error *err);

/* Whether a signal has come. */
bool interrupt_is_pending(void);

/* From now on a signal cancels @m, at once if one has come before; NULL: none,
 * which must be said before @m is closed. */
void interrupt_watch(struct vfm_migration *m);

#endif
