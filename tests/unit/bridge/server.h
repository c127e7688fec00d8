/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TESTS_UNIT_BRIDGE_SERVER_H
#define VFM_TESTS_UNIT_BRIDGE_SERVER_H

/*
 * A server in a thread of the test: it agrees on the version, then follows a
 * script, which has a connection and nothing to assert with.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/vfio-user.h"

/* A test's may take this long. */
#define SERVER_DEADLINE_S 60

struct server {
    char folder[64];
    char path[96];
    int listener;
    pthread_t thread;
    uint16_t major;
    const char *json; /* of its VERSION */
    void (*script)(int fd);
};

/* @s->path is the socket's from then on.  @script: NULL for none. */
void server_start(struct server *s, void (*script)(int fd));

/* Waits for the script's end. */
void server_finish(struct server *s);

/* Exactly @len bytes; false: they did not come. */
bool server_get(int fd, void *buf, size_t len);

/* The next command; its payload, of at most a page, is dropped. */
struct vfu_header server_next(int fd);

void server_put(int fd, struct vfu_header head, const void *data, size_t len);
void server_reply(int fd, struct vfu_header head, const void *data, size_t len);
void server_refuse(int fd, struct vfu_header head, uint32_t error);

#endif
