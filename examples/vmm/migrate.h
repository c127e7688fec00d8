/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EXAMPLES_VMM_MIGRATE_H
#define VFM_EXAMPLES_VMM_MIGRATE_H

/*
 * The one file of this VMM that knows how a VM moves.
 */

#include "machine.h"

/* What migrate-set-parameters sets; for the next migration, and the first three
 * for the one that is under way, too. */
struct migrate_parameters {
    uint32_t downtime_limit_ms;
    uint64_t max_bandwidth;
    bool pause_before_switchover;
    uint32_t pre_copy_timeout_ms;
    bool force_switchover;
};

struct migrate {
    struct vm *vm;
    struct migrate_parameters parameters;

    struct vfm_listener *listener;
    struct vfm_channel *channel;
    struct vfm_migration *m; /* NULL: there was none */
    struct vfm_ram *ram;
    struct vfm_dirty_tracker *tracker;
    bool is_source;
    bool over; /* what m tells is final */
    bool handed_over;
    struct vfm_error failure;
};

/* Sends the VM to @uri; it goes on in migrate_dispatch(). */
int migrate_begin(struct migrate *mg, const char *uri, struct vfm_error *err);

/* Waits for a VM at @uri.  migrate_accept() takes it when migrate_listen_fd()
 * is readable, or at once if that is -1. */
int migrate_listen(struct migrate *mg, const char *uri, struct vfm_error *err);
int migrate_listen_fd(const struct migrate *mg);
int migrate_accept(struct migrate *mg, struct vfm_error *err);

/* What to poll for; -1: nothing is under way. */
int migrate_fd(const struct migrate *mg);
/* Goes on.  Returns 1 while it is under way, 0 when it is over, well or not:
 * mg->failure. */
int migrate_dispatch(struct migrate *mg);

int migrate_set(struct migrate *mg, const struct migrate_parameters *parameters,
                struct vfm_error *err);

/* After `handed over`: somebody who has looked says that the target does not
 * run it. */
int migrate_take_back(struct migrate *mg, struct vfm_error *err);

void migrate_close(struct migrate *mg);

#endif
