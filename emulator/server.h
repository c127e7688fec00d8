/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_SERVER_H
#define VFM_EMULATOR_SERVER_H

/*
 * Serves a device to one client after the other.
 *
 * Threads: none.  The caller's loop is server_run(); a test or a fuzz target
 * may call server_step() itself.
 */

#include <stdbool.h>

#include <vfmig/error.h>

#include "emulator/connection.h"
#include "emulator/device.h"

struct server {
    struct device *device;
    struct connection *client; /* null: none */
    int listen_fd;             /* -1: only the one client */
    const char *path;          /* to be removed; null: none */
};

/* Listens at @path, where a dead server's socket is replaced.  Returns 0 or
 * a negative errno. */
int server_listen(struct server *s, struct device *device, const char *path,
                  struct vfm_error *err);

/* Serves the socket @fd, which may be connected or listening. */
int server_adopt(struct server *s, struct device *device, int fd,
                 struct vfm_error *err);

void server_close(struct server *s);

/*
 * Waits for something to do until @deadline, or until @wake_fd (-1: none) is
 * readable, and does it.  Returns 0; 1: @wake_fd is readable; -ECONNRESET:
 * the only client has gone; or another negative errno.
 */
int server_step(struct server *s, int wake_fd, int64_t deadline);

#endif
