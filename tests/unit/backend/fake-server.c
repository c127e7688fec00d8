/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user server in the test's own thread: the transport and the clock.
 * Its device is fake-device.c.
 */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fake-server.h"

#define MAX_SERVERS 4
#define MAX_IN      (UINT32_C(4) << 20)

/* All servers work whenever a client waits. */
static struct fake_server *servers[MAX_SERVERS];

/* The clock: stands until somebody waits in vain. */
static int64_t now_ns = INT64_C(1000000000000);

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    assert(clock == CLOCK_MONOTONIC);
    ts->tv_sec = now_ns / 1000000000;
    ts->tv_nsec = now_ns % 1000000000;
    return 0;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    int ready;

    for (int i = 0; i < MAX_SERVERS; i++)
        if (servers[i] != NULL)
            fake_serve(servers[i]);
    ready = __real_poll(fds, n, 0);
    if (ready != 0)
        return ready;
    assert(timeout_ms >= 0);
    fake_pass_time(timeout_ms);
    return 0;
}

void fake_pass_time(int64_t ms)
{
    now_ns += ms * 1000000;
}

static void enlist(struct fake_server *f)
{
    for (int i = 0; i < MAX_SERVERS; i++) {
        if (servers[i] == NULL) {
            servers[i] = f;
            return;
        }
    }
    assert(false);
}

static void make_config(uint8_t *config)
{
    static const uint8_t head[] = {
        [0x00] = 0x34, [0x01] = 0x12, [0x02] = 0x78, [0x03] = 0x56,
        [0x06] = 0x10, [0x08] = 0x09, [0x09] = 0x01, [0x0a] = 0x02,
        [0x0b] = 0x03, [0x2c] = 0xbc, [0x2d] = 0x9a, [0x2e] = 0xf0,
        [0x2f] = 0xde, [0x34] = 0x40, [0x40] = 0x05, [0x41] = 0x50,
        [0x50] = 0x11, [0x51] = 0x00, [0x52] = 0x07, [0x53] = 0x00,
    };

    memcpy(config, head, sizeof(head));
}

static void prepare(struct fake_server *f)
{
    memset(f, 0, sizeof(*f));
    f->fd = -1;
    f->client_fd = -1;
    f->twin = -1;
    f->listener = -1;
    f->version = "{\"capabilities\":{\"max_msg_fds\":4,"
                 "\"max_data_xfer_size\":65536}}";
    f->features = 1U << UAPI_FEATURE_MIGRATION |
                  1U << UAPI_FEATURE_DEVICE_STATE |
                  1U << UAPI_FEATURE_LOG_START | 1U << UAPI_FEATURE_LOG_STOP |
                  1U << UAPI_FEATURE_LOG_REPORT | 1U << UAPI_FEATURE_DATA_SIZE;
    f->migration = UAPI_MIGRATION_STOP_COPY | UAPI_MIGRATION_PRE_COPY;
    f->state = UAPI_STATE_RUNNING;
    f->config_size = 4096;
    make_config(f->config);
    f->in = malloc(MAX_IN);
    assert(f->in != NULL);
    enlist(f);
}

void fake_start(struct fake_server *f)
{
    int fds[2];

    prepare(f);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    f->fd = fds[0];
    f->client_fd = fds[1];
}

void fake_listen(struct fake_server *f, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    prepare(f);
    assert(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path));
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(f->listener >= 0);
    assert(bind(f->listener, (struct sockaddr *)&address, sizeof(address)) ==
           0);
    assert(listen(f->listener, 1) == 0);
}

void fake_hang_up(struct fake_server *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->twin >= 0)
        close(f->twin);
    f->fd = -1;
    f->twin = -1;
}

void fake_stop(struct fake_server *f)
{
    fake_hang_up(f);
    if (f->listener >= 0)
        close(f->listener);
    for (unsigned int i = 0; i < f->num_in_fds; i++)
        close(f->in_fds[i]);
    if (f->client_fd >= 0)
        close(f->client_fd);
    free(f->in);
    free(f->out);
    free(f->loaded);
    if (f->area != NULL)
        munmap(f->area, f->area_size);
    for (int i = 0; i < MAX_SERVERS; i++)
        if (servers[i] == f)
            servers[i] = NULL;
}

struct vfm_device *fake_open(struct fake_server *f,
                             const struct vfm_vfio_user_options *options)
{
    struct vfm_device *dev = NULL;
    struct vfm_error err = { 0 };

    fake_start(f);
    if (vfm_device_open_vfio_user_fd(f->client_fd, "fake", options, &dev,
                                     &err) < 0)
        fprintf(stderr, "%s\n", err.message);
    assert(dev != NULL);
    f->client_fd = -1;
    return dev;
}

void fake_close(struct fake_server *f, struct vfm_device *dev)
{
    vfm_device_close(dev);
    fake_stop(f);
}

void fake_enter(struct vfm_device *dev, enum vfm_state want)
{
    struct vfm_error err = { 0 };
    int ret = vfm_device_set_state(dev, want, &err);

    if (ret < 0)
        fprintf(stderr, "%s\n", err.message);
    assert(ret == 0);
}

/* Sends what fits of f->out. */
static void flush_out(struct fake_server *f)
{
    while (f->out_size > 0 && f->fd >= 0) {
        ssize_t n =
            send(f->fd, f->out, f->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n <= 0)
            return;
        f->out_size -= (size_t)n;
        memmove(f->out, f->out + n, f->out_size);
    }
}

void fake_send(struct fake_server *f, const void *data, size_t size)
{
    if (size == 0)
        return;
    f->out = realloc(f->out, f->out_size + size);
    assert(f->out != NULL);
    memcpy(f->out + f->out_size, data, size);
    f->out_size += size;
    flush_out(f);
}

void fake_send_twin(struct fake_server *f, const void *data, size_t size)
{
    assert(send(f->twin, data, size, MSG_NOSIGNAL) == (ssize_t)size);
}

void fake_send_message(struct fake_server *f, struct vfu_header header,
                       const void *body, size_t size)
{
    fake_send(f, &header, sizeof(header));
    if (size > 0)
        fake_send(f, body, size);
}

static struct vfu_header reply_header(const struct fake_message *m, size_t size)
{
    return (struct vfu_header){
        .id = m->header.id,
        .command = m->header.command,
        .size = (uint32_t)(sizeof(struct vfu_header) + size),
        .flags = VFU_TYPE_REPLY,
    };
}

void fake_reply(struct fake_server *f, const struct fake_message *m,
                const void *body, size_t size)
{
    fake_send_message(f, reply_header(m, size), body, size);
}

void fake_reply_fds(struct fake_server *f, const struct fake_message *m,
                    const void *body, size_t size, const int *fds,
                    unsigned int num_fds)
{
    struct vfu_header header = reply_header(m, size);
    struct iovec parts[] = {
        { &header, sizeof(header) },
        { (void *)body, size },
    };
    _Alignas(
        struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * FAKE_MAX_FDS)] = {
        0
    };
    struct msghdr msg = {
        .msg_iov = parts,
        .msg_iovlen = 2,
        .msg_control = control,
        .msg_controllen = CMSG_SPACE(num_fds * sizeof(int)),
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    assert(f->out_size == 0 && num_fds <= FAKE_MAX_FDS);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
    memcpy(CMSG_DATA(c), fds, num_fds * sizeof(int));
    assert(sendmsg(f->fd, &msg, MSG_NOSIGNAL) ==
           (ssize_t)(sizeof(header) + size));
}

void fake_refuse(struct fake_server *f, const struct fake_message *m,
                 uint32_t error)
{
    struct vfu_header header = reply_header(m, 0);

    header.flags |= VFU_FLAG_ERROR;
    header.error = error;
    fake_send_message(f, header, NULL, 0);
}

static void take_fds(struct fake_server *f, struct msghdr *msg)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    size_t n;

    if (c == NULL)
        return;
    n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    assert(f->num_in_fds + n <= FAKE_MAX_FDS);
    memcpy(f->in_fds + f->num_in_fds, CMSG_DATA(c), n * sizeof(int));
    f->num_in_fds += (unsigned int)n;
}

static bool receive(struct fake_server *f)
{
    _Alignas(
        struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * FAKE_MAX_FDS)];
    struct iovec iov = { f->in + f->in_size, MAX_IN - f->in_size };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(f->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n == 0 && f->listener >= 0)
        fake_hang_up(f);
    if (n <= 0)
        return false;
    f->in_size += (size_t)n;
    take_fds(f, &msg);
    return true;
}

static void handle(struct fake_server *f, const struct fake_message *m)
{
    uint16_t command = m->header.command;
    fake_handler *handler = fake_answer;

    assert(command < FAKE_MAX_COMMAND);
    f->asked[command]++;
    f->last_id = m->header.id;
    if (f->on[command] != NULL)
        handler = f->on[command];
    if (f->next[command] != NULL) {
        handler = f->next[command];
        f->next[command] = NULL;
    }
    if (!f->silent)
        handler(f, m);
}

static void keep_reply(struct fake_server *f, const uint8_t *data, size_t size)
{
    assert(f->replies_size + size <= sizeof(f->replies));
    memcpy(f->replies + f->replies_size, data, size);
    f->replies_size += size;
}

/* Handles one message, if one is there. */
static bool handle_one(struct fake_server *f)
{
    struct fake_message m = { 0 };

    if (f->in_size < sizeof(m.header))
        return false;
    memcpy(&m.header, f->in, sizeof(m.header));
    assert(m.header.size >= sizeof(m.header) && m.header.size <= MAX_IN);
    if (f->in_size < m.header.size)
        return false;
    m.body = f->in + sizeof(m.header);
    m.size = m.header.size - sizeof(m.header);
    memcpy(m.fds, f->in_fds, sizeof(m.fds));
    m.num_fds = f->num_in_fds;

    if ((m.header.flags & VFU_TYPE_MASK) == VFU_TYPE_REPLY)
        keep_reply(f, f->in, m.header.size);
    else
        handle(f, &m);
    for (unsigned int i = 0; i < m.num_fds; i++)
        close(m.fds[i]);
    f->num_in_fds = 0;
    f->in_size -= m.header.size;
    memmove(f->in, f->in + m.header.size, f->in_size);
    return true;
}

static void accept_next(struct fake_server *f)
{
    struct pollfd waiting = { .fd = f->listener, .events = POLLIN };

    if (f->fd >= 0 || f->listener < 0 || __real_poll(&waiting, 1, 0) != 1)
        return;
    f->fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    f->in_size = 0;
    f->out_size = 0;
}

/* On the twin socket only replies come. */
static void receive_twin(struct fake_server *f)
{
    ssize_t n;

    if (f->twin < 0)
        return;
    n = recv(f->twin, f->replies + f->replies_size,
             sizeof(f->replies) - f->replies_size, MSG_DONTWAIT);
    if (n > 0)
        f->replies_size += (size_t)n;
}

void fake_serve(struct fake_server *f)
{
    accept_next(f);
    receive_twin(f);
    if (f->fd < 0 || f->is_away)
        return;
    flush_out(f);
    do
        while (handle_one(f))
            ;
    while (f->fd >= 0 && receive(f));
}

int fake_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}
