/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "server.h"

bool server_get(int fd, void *buf, size_t len)
{
    return recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len;
}

struct vfu_header server_next(int fd)
{
    struct vfu_header head = { .size = 0 };
    uint8_t payload[4096];

    if (server_get(fd, &head, sizeof(head)) && head.size > sizeof(head) &&
        head.size <= sizeof(payload))
        server_get(fd, payload, head.size - sizeof(head));
    return head;
}

void server_put(int fd, struct vfu_header head, const void *data, size_t len)
{
    ssize_t n = send(fd, &head, sizeof(head), MSG_NOSIGNAL | MSG_MORE);

    if (n == sizeof(head) && len > 0)
        n = send(fd, data, len, MSG_NOSIGNAL);
    (void)n;
}

void server_reply(int fd, struct vfu_header head, const void *data, size_t len)
{
    head.flags = VFU_TYPE_REPLY;
    head.size = (uint32_t)(sizeof(head) + len);
    server_put(fd, head, data, len);
}

void server_refuse(int fd, struct vfu_header head, uint32_t error)
{
    head.flags = VFU_TYPE_REPLY | VFU_FLAG_ERROR;
    head.size = sizeof(head);
    head.error = error;
    server_put(fd, head, NULL, 0);
}

static void agree(const struct server *s, int fd)
{
    struct vfu_header head = server_next(fd);
    uint8_t payload[1024];
    struct vfu_version version = { s->major, 1 };
    size_t len = strlen(s->json) + 1;

    memcpy(payload, &version, sizeof(version));
    memcpy(payload + sizeof(version), s->json, len);
    server_reply(fd, head, payload, sizeof(version) + len);
}

static void *run_server(void *arg)
{
    const struct server *s = arg;
    struct timeval limit = { .tv_sec = SERVER_DEADLINE_S };
    int fd = accept(s->listener, NULL, NULL);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    agree(s, fd);
    if (s->script != NULL)
        s->script(fd);
    close(fd);
    return NULL;
}

void server_start(struct server *s, void (*script)(int fd))
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    s->script = script;
    strcpy(s->folder, "/tmp/vfmig-server.XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->path, sizeof(s->path), "%s/s", s->folder);
    strcpy(sa.sun_path, s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, run_server, s), 0);
}

void server_finish(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
    rmdir(s->folder);
}
