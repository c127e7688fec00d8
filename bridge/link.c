/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * One command after the other, and the server's own in between.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bridge/link.h"
#include "bridge/real.h"
#include "protocol/vfio-user.h"
#include "util/clock.h"

/* Of a message: the data and the largest structure before it. */
#define MESSAGE_MAX (LINK_MAX_XFER + 4096)

static int64_t after_ms(uint32_t ms)
{
    return clock_now() + (int64_t)ms * 1000000;
}

/* ------------------------------------------------ the server's commands */

static int answer(int fd, const struct vfu_header *ask, int error,
                  struct iovec *payload, size_t parts)
{
    struct vfu_header head = {
        .id = ask->id,
        .command = ask->command,
        .size = sizeof(head),
        .flags = VFU_TYPE_REPLY | (error != 0 ? VFU_FLAG_ERROR : 0),
        .error = (uint32_t)-error,
    };
    struct iovec all[3] = { { &head, sizeof(head) } };

    for (size_t i = 0; error == 0 && i < parts; i++) {
        all[1 + i] = payload[i];
        head.size += (uint32_t)payload[i].iov_len;
    }
    if ((ask->flags & VFU_FLAG_NO_REPLY) != 0)
        return 0;
    return wire_send(fd, all, error == 0 ? 1 + parts : 1, NULL,
                     after_ms(LINK_COMMAND_MS));
}

static int serve_read(struct link *l, int fd, const struct vfu_header *ask,
                      struct vfu_dma_access *a)
{
    struct iovec payload[2] = { { a, sizeof(*a) }, { l->buf, a->count } };
    int ret = -EINVAL;

    if (ask->size == sizeof(*ask) + sizeof(*a) && a->count <= LINK_MAX_XFER &&
        l->memory != NULL)
        ret = l->memory->read(l->opaque, a->iova, l->buf, a->count);
    return answer(fd, ask, ret, payload, 2);
}

static int serve_write(struct link *l, int fd, const struct vfu_header *ask,
                       struct vfu_dma_access *a)
{
    size_t len = ask->size - sizeof(*ask) - sizeof(*a);
    struct iovec payload = { a, sizeof(*a) };
    int ret;

    ret = wire_receive(fd, l->buf, len, NULL, after_ms(LINK_COMMAND_MS));
    if (ret < 0)
        return ret;
    ret = -EINVAL;
    if (a->count == len && l->memory != NULL)
        ret = l->memory->write(l->opaque, a->iova, l->buf, len);
    return answer(fd, ask, ret, &payload, 1);
}

/* A command of the server's on @fd, whose header is @ask. */
static int serve(struct link *l, int fd, const struct vfu_header *ask)
{
    int64_t deadline = after_ms(LINK_COMMAND_MS);
    struct vfu_dma_access a;
    int ret;

    if (ask->size < sizeof(*ask) || ask->size > MESSAGE_MAX)
        return -EPROTO;
    if ((ask->command != VFU_DMA_READ && ask->command != VFU_DMA_WRITE) ||
        ask->size < sizeof(*ask) + sizeof(a) ||
        ask->size > sizeof(*ask) + sizeof(a) + LINK_MAX_XFER) {
        ret = wire_skip(fd, ask->size - sizeof(*ask), deadline);
        return ret < 0 ? ret : answer(fd, ask, -EINVAL, NULL, 0);
    }
    ret = wire_receive(fd, &a, sizeof(a), NULL, deadline);
    if (ret < 0)
        return ret;
    if (ask->command == VFU_DMA_WRITE)
        return serve_write(l, fd, ask, &a);
    ret = wire_skip(fd, ask->size - sizeof(*ask) - sizeof(a), deadline);
    return ret < 0 ? ret : serve_read(l, fd, ask, &a);
}

static int serve_next(struct link *l, int fd)
{
    struct vfu_header head;
    int ret =
        wire_receive(fd, &head, sizeof(head), NULL, after_ms(LINK_COMMAND_MS));

    if (ret == 0 && (head.flags & VFU_TYPE_MASK) != VFU_TYPE_COMMAND)
        ret = -EPROTO;
    return ret < 0 ? ret : serve(l, fd, &head);
}

/* Nobody waits for a reply while we hold the lock: what is there is a
 * command.  It may be gone, if who waited has served it. */
static int serve_main(struct link *l)
{
    struct pollfd p = { .fd = l->fd, .events = POLLIN };
    int ret = 0;

    pthread_mutex_lock(&l->lock);
    if (l->broken != 0)
        ret = l->broken;
    else if (poll(&p, 1, 0) == 1)
        ret = serve_next(l, l->fd);
    if (ret < 0)
        l->broken = ret;
    pthread_mutex_unlock(&l->lock);
    return ret;
}

/* Nobody else reads there.  Without it the device's DMA has no answers. */
static int serve_twin(struct link *l)
{
    int ret = serve_next(l, l->twin_fd);

    if (ret < 0) {
        pthread_mutex_lock(&l->lock);
        l->broken = ret;
        pthread_mutex_unlock(&l->lock);
    }
    return ret;
}

static void *run_thread(void *arg)
{
    struct link *l = arg;
    struct pollfd p[2] = {
        { .fd = l->twin_fd >= 0 ? l->twin_fd : l->fd, .events = POLLIN },
        { .fd = l->wake_fd, .events = POLLIN },
    };
    int ret = 0;

    while (ret == 0) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[1].revents != 0)
            break;
        if (p[0].revents != 0)
            ret = l->twin_fd >= 0 ? serve_twin(l) : serve_main(l);
    }
    return NULL;
}

/* The program's signals are the program's threads' business. */
static int start_thread(struct link *l)
{
    sigset_t all;
    sigset_t old;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&l->thread, NULL, run_thread, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -ret;
}

int link_serve(struct link *l)
{
    int ret;

    if (l->wake_fd >= 0)
        return 0;
    l->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (l->wake_fd < 0)
        return -errno;
    ret = start_thread(l);
    if (ret < 0) {
        REAL(close)(l->wake_fd);
        l->wake_fd = -1;
    }
    return ret;
}

static void stop_thread(struct link *l)
{
    uint64_t one = 1;

    if (l->wake_fd < 0)
        return;
    if (REAL(write)(l->wake_fd, &one, sizeof(one)) == sizeof(one))
        pthread_join(l->thread, NULL);
    REAL(close)(l->wake_fd);
    l->wake_fd = -1;
}

/* -------------------------------------------------------- our commands */

static int send_command(struct link *l, const struct exchange *x,
                        int64_t deadline)
{
    struct vfu_header head = {
        .id = ++l->next_id,
        .command = x->command,
        .size = (uint32_t)(sizeof(head) + x->head_len + x->body_len),
    };
    struct iovec parts[3] = {
        { &head, sizeof(head) },
        { (void *)(uintptr_t)x->head, x->head_len },
        { (void *)(uintptr_t)x->body, x->body_len },
    };

    return wire_send(l->fd, parts, 3, x->fds, deadline);
}

/* The header of the reply; what the server asks meanwhile is answered. */
static int receive_header(struct link *l, struct vfu_header *head,
                          struct wire_fds *fds, int64_t deadline)
{
    int ret;

    for (;;) {
        ret = wire_receive(l->fd, head, sizeof(*head), fds, deadline);
        if (ret < 0)
            return ret;
        if ((head->flags & VFU_TYPE_MASK) == VFU_TYPE_REPLY)
            return 0;
        if ((head->flags & VFU_TYPE_MASK) != VFU_TYPE_COMMAND ||
            l->twin_fd >= 0)
            return -EPROTO;
        wire_close_fds(fds);
        ret = serve(l, l->fd, head);
        if (ret < 0)
            return ret;
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The payload as far as it fits; some pad it beyond.  That the program's memory
 * is not there is an answer as good as the server's. */
static int receive_payload(struct link *l, struct exchange *x, size_t len,
                           int *error, int64_t deadline)
{
    size_t first = smaller(len, x->reply_room);
    size_t second = smaller(len - first, x->data_room);
    int ret = wire_receive(l->fd, x->reply, first, x->reply_fds, deadline);

    if (ret == 0)
        ret =
            wire_receive_there(l->fd, x->data, second, x->reply_fds, deadline);
    if (ret == -EFAULT)
        *error = ret;
    if (ret == 0 || ret == -EFAULT)
        ret = wire_skip(l->fd, len - first - second, deadline);
    x->reply_len = first + second;
    return ret;
}

/* Returns 0 and the server's answer in *@error. */
static int receive_reply(struct link *l, struct exchange *x, int *error,
                         int64_t deadline)
{
    struct vfu_header head;
    struct wire_fds dropped = { .count = 0 };
    struct wire_fds *fds = x->reply_fds != NULL ? x->reply_fds : &dropped;
    int ret = receive_header(l, &head, fds, deadline);

    wire_close_fds(&dropped);
    if (ret < 0)
        return ret;
    if (head.id != l->next_id || head.command != x->command ||
        head.size < sizeof(head) || head.size > MESSAGE_MAX)
        return -EPROTO;
    if ((head.flags & VFU_FLAG_ERROR) != 0) {
        *error = head.error > 0 && head.error < 4096 ? -(int)head.error : -EIO;
        return wire_skip(l->fd, head.size - sizeof(head), deadline);
    }
    *error = 0;
    return receive_payload(l, x, head.size - sizeof(head), error, deadline);
}

int link_call(struct link *l, struct exchange *x)
{
    int64_t deadline =
        after_ms(x->timeout_ms != 0 ? x->timeout_ms : LINK_COMMAND_MS);
    int error = 0;
    int ret;

    x->reply_len = 0;
    pthread_mutex_lock(&l->lock);
    if (x->is_late != NULL && *x->is_late) {
        pthread_mutex_unlock(&l->lock);
        return -ENODEV;
    }
    ret = l->broken;
    if (ret == 0)
        ret = send_command(l, x, deadline);
    if (ret == 0)
        ret = receive_reply(l, x, &error, deadline);
    if (ret < 0)
        l->broken = ret;
    pthread_mutex_unlock(&l->lock);
    if (ret < 0 && x->reply_fds != NULL)
        wire_close_fds(x->reply_fds);
    return ret < 0 ? -EIO : error;
}

/* ------------------------------------------------------------- opening */

static const char proposal[] =
    "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,"
    "\"twin_socket\":{\"supported\":true},"
    "\"" VFU_CAP_WHOLE_MESSAGES "\":true}}";

/* What follows "@key": in @json, or NULL.  Enough of JSON for a flat list of
 * capabilities of which we know the names. */
static const char *find_value(const char *json, const char *key)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof(quoted), "\"%s\"", key);
    at = strstr(json, quoted);
    if (at == NULL)
        return NULL;
    at += strlen(quoted);
    at += strspn(at, " \t\r\n");
    if (*at != ':')
        return NULL;
    return at + 1 + strspn(at + 1, " \t\r\n");
}

/* A number, at least @min and at most @max. */
static uint32_t find_number(const char *json, const char *key, uint32_t other,
                            uint32_t min, uint32_t max)
{
    const char *value = find_value(json, key);
    unsigned long long n;

    if (value == NULL || *value < '0' || *value > '9')
        return other;
    n = strtoull(value, NULL, 10);
    if (n > max)
        return max;
    return n < min ? min : (uint32_t)n;
}

static void read_capabilities(struct link *l, const char *json)
{
    const char *whole = find_value(json, VFU_CAP_WHOLE_MESSAGES);

    l->max_fds = find_number(json, "max_msg_fds", VFU_DEFAULT_MAX_MSG_FDS, 0,
                             WIRE_MAX_FDS);
    l->max_xfer =
        find_number(json, "max_data_xfer_size", VFU_DEFAULT_MAX_DATA_XFER_SIZE,
                    512, LINK_MAX_XFER);
    l->whole_messages = whole != NULL && strncmp(whole, "true", 4) == 0;
}

/* The reply is JSON of at most a page. */
static int negotiate(struct link *l)
{
    struct vfu_version mine = { VFU_VERSION_MAJOR, VFU_VERSION_MINOR };
    struct vfu_version theirs = { .major = UINT16_MAX };
    struct wire_fds fds = { .count = 0 };
    char json[4097] = "";
    struct exchange x = {
        .command = VFU_VERSION,
        .head = &mine,
        .head_len = sizeof(mine),
        .body = proposal,
        .body_len = sizeof(proposal),
        .reply = &theirs,
        .reply_room = sizeof(theirs),
        .data = json,
        .data_room = sizeof(json) - 1,
        .reply_fds = &fds,
    };
    int ret = link_call(l, &x);

    if (ret == 0 && theirs.major != VFU_VERSION_MAJOR)
        ret = -EPROTONOSUPPORT;
    if (ret == 0) {
        read_capabilities(l, json);
        if (fds.count > 0)
            l->twin_fd = fds.fd[--fds.count];
    }
    wire_close_fds(&fds);
    return ret;
}

static int connect_to(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(sa.sun_path))
        return -ENAMETOOLONG;
    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
        int ret = -errno;

        REAL(close)(fd);
        return ret;
    }
    return fd;
}

int link_open(struct link *l, const char *path,
              const struct link_memory *memory, void *opaque)
{
    int ret = connect_to(path);

    *l = (struct link){ .fd = ret, .twin_fd = -1, .wake_fd = -1 };
    pthread_mutex_init(&l->lock, NULL);
    if (ret < 0)
        return ret;
    l->memory = memory;
    l->opaque = opaque;
    l->buf = malloc(LINK_MAX_XFER);
    ret = l->buf == NULL ? -ENOMEM : negotiate(l);
    if (ret < 0)
        link_close(l);
    return ret;
}

void link_forget(struct link *l)
{
    if (l->fd >= 0)
        REAL(close)(l->fd);
    if (l->twin_fd >= 0)
        REAL(close)(l->twin_fd);
    if (l->wake_fd >= 0)
        REAL(close)(l->wake_fd);
    l->fd = l->twin_fd = l->wake_fd = -1;
}

void link_close(struct link *l)
{
    stop_thread(l);
    pthread_mutex_lock(&l->lock);
    if (l->broken == 0)
        l->broken = -EIO;
    link_forget(l);
    free(l->buf);
    l->buf = NULL;
    pthread_mutex_unlock(&l->lock);
}
