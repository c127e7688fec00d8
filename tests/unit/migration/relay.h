/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_MIGRATION_RELAY_H
#define VFM_TESTS_MIGRATION_RELAY_H

/*
 * Passes bytes on between two sockets, and cuts the connection after so many.
 */

#include <poll.h>

#include "pair.h"

#define RELAY_FDS 2

/* Stores the ends for source and target in @ends. */
void relay_open(struct pair_relay *relay, int ends[2]);
int relay_poll_fds(const struct pair_relay *relay, struct pollfd *fds);
void relay_pump(struct pair_relay *relay);
void relay_close(struct pair_relay *relay);

#endif
