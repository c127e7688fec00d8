/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of vfio-user, one at a time, with a deadline.
 *
 * What they mean is raw-vfio-user.c's.  Commands that the server sends in
 * between are refused: all memory is mapped with a descriptor, so that it has
 * no need of any.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check/wire.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/json.h"

/* Beyond the data: the structures before it, and what servers pad with. */
#define SLACK       4096
#define JSON_DEPTH  16
#define JSON_VALUES 256
/* Messages of the server between a command and its answer, at most. */
#define BETWEEN_MAX 64

static int wait_for(int fd, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = events };
        int n = poll(&p, 1, clock_poll_timeout(deadline));

        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* Puts a descriptor in the ancillary data of @msg. */
static void attach_fd(struct msghdr *msg, void *control, size_t size, int fd)
{
    struct cmsghdr *c;

    msg->msg_control = control;
    msg->msg_controllen = size;
    c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
}

static void skip_sent(struct msghdr *msg, size_t n)
{
    while (n > 0 && msg->msg_iovlen > 0) {
        struct iovec *v = msg->msg_iov;
        size_t part = n < v->iov_len ? n : v->iov_len;

        v->iov_base = (char *)v->iov_base + part;
        v->iov_len -= part;
        n -= part;
        if (v->iov_len == 0) {
            msg->msg_iov++;
            msg->msg_iovlen--;
        }
    }
    while (msg->msg_iovlen > 0 && msg->msg_iov->iov_len == 0) {
        msg->msg_iov++;
        msg->msg_iovlen--;
    }
}

/* Sends a message with one call, if the socket has room. */
static int send_all(struct wire *w, struct iovec *parts, size_t count, int fd,
                    int64_t deadline)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct msghdr msg = { .msg_iov = parts, .msg_iovlen = count };
    int ret;

    if (fd >= 0)
        attach_fd(&msg, control, sizeof(control), fd);
    while (msg.msg_iovlen > 0) {
        ssize_t n = sendmsg(w->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            skip_sent(&msg, (size_t)n);
            msg.msg_control = NULL;
            msg.msg_controllen = 0;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        ret = wait_for(w->fd, POLLOUT, deadline);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static void close_received(struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL;
         c = CMSG_NXTHDR(msg, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            close(fd);
        }
    }
}

/* Receives exactly @len bytes.  Descriptors are of no use here. */
static int receive_all(struct wire *w, void *buf, size_t len, int64_t deadline)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))];
    size_t done = 0;

    while (done < len) {
        struct iovec part = { (char *)buf + done, len - done };
        struct msghdr msg = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = control,
                              .msg_controllen = sizeof(control) };
        ssize_t n = recvmsg(w->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        int ret = 0;

        if (n == 0)
            return -ECONNRESET;
        if (n > 0) {
            close_received(&msg);
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            ret = wait_for(w->fd, POLLIN, deadline);
        } else if (errno != EINTR) {
            ret = -errno;
        }
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* Refuses a command of the server. */
static int refuse(struct wire *w, const struct vfu_header *command,
                  int64_t deadline)
{
    struct vfu_header h = {
        .id = command->id,
        .command = command->command,
        .size = sizeof(h),
        .flags = VFU_TYPE_REPLY | VFU_FLAG_ERROR,
        .error = EINVAL,
    };
    struct iovec part = { &h, sizeof(h) };

    if ((command->flags & VFU_FLAG_NO_REPLY) != 0)
        return 0;
    return send_all(w, &part, 1, -1, deadline);
}

/* Receives a message, its payload into w->in.  Returns the payload's size. */
static ssize_t receive(struct wire *w, struct vfu_header *h, int64_t deadline)
{
    size_t size;
    int ret = receive_all(w, h, sizeof(*h), deadline);

    if (ret < 0)
        return ret;
    if (h->size < sizeof(*h) || h->size - sizeof(*h) > w->in_room)
        return -EPROTO;
    size = h->size - sizeof(*h);
    ret = receive_all(w, w->in, size, deadline);
    return ret < 0 ? ret : (ssize_t)size;
}

static ssize_t await_answer(struct wire *w, struct vfu_header *answer,
                            uint16_t id, enum vfu_command command,
                            int64_t deadline)
{
    for (int i = 0; i < BETWEEN_MAX; i++) {
        ssize_t n = receive(w, answer, deadline);
        int ret;

        if (n < 0)
            return n;
        if ((answer->flags & VFU_TYPE_MASK) == VFU_TYPE_REPLY)
            return answer->id == id && answer->command == command ? n : -EPROTO;
        ret = refuse(w, answer, deadline);
        if (ret < 0)
            return ret;
    }
    return -EPROTO;
}

ssize_t wire_call(struct wire *w, const struct wire_message *m,
                  int64_t deadline, int *broken)
{
    struct vfu_header h = {
        .id = w->next_id++,
        .command = (uint16_t)m->command,
        .size = (uint32_t)(sizeof(h) + m->head_size + m->data_size),
        .flags = VFU_TYPE_COMMAND,
    };
    struct iovec parts[] = { { &h, sizeof(h) },
                             { (void *)(uintptr_t)m->head, m->head_size },
                             { (void *)(uintptr_t)m->data, m->data_size } };
    struct vfu_header answer = { 0 };
    ssize_t n;

    n = w->fd < 0 ? -ENOTCONN : send_all(w, parts, 3, m->fd, deadline);
    if (n == 0)
        n = await_answer(w, &answer, h.id, m->command, deadline);
    if (n < 0) {
        *broken = (int)n;
        return n;
    }
    if ((answer.flags & VFU_FLAG_ERROR) == 0)
        return n;
    return answer.error == 0 || answer.error > 4095 ? -EIO : -(int)answer.error;
}

/* What the answer to VERSION, @size bytes in w->in, says of itself. */
static void learn(struct wire *w, size_t size)
{
    static const struct json_limits limits = { JSON_DEPTH, JSON_VALUES };
    const char *text = (const char *)w->in + sizeof(struct vfu_version);
    struct json *root = NULL;
    const struct json *caps;
    const struct json *max;
    const struct json *whole;

    w->max_data = VFU_DEFAULT_MAX_DATA_XFER_SIZE;
    if (size <= sizeof(struct vfu_version) || w->in[size - 1] != '\0' ||
        json_read(text, strlen(text), &limits, &root) < 0)
        return;
    caps = json_get(root, "capabilities", JSON_OBJECT);
    max = json_get(caps, "max_data_xfer_size", JSON_INTEGER);
    whole = json_get(caps, VFU_CAP_WHOLE_MESSAGES, JSON_BOOLEAN);
    if (max != NULL && max->integer > 0)
        w->max_data = max->integer > WIRE_DATA_MAX ? WIRE_DATA_MAX
                                                   : (uint32_t)max->integer;
    w->takes_whole = whole != NULL && whole->boolean;
    json_free(root);
}

/* Some servers want the proposal to be as long as their answer. */
static const char proposal[] =
    "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":16777216,"
    "\"" VFU_CAP_WHOLE_MESSAGES "\":true}}";

static int agree(struct wire *w, const char *path, int64_t deadline,
                 struct vfm_error *err)
{
    struct vfu_version v = { VFU_VERSION_MAJOR, VFU_VERSION_MINOR };
    struct wire_message m = { .command = VFU_VERSION,
                              .head = &v,
                              .head_size = sizeof(v),
                              .data = proposal,
                              .data_size = sizeof(proposal),
                              .fd = -1 };
    int broken = 0;
    ssize_t n = wire_call(w, &m, deadline, &broken);

    if (n < 0)
        return error_set(err, (int)n, "%s: cannot %s: %s", path,
                         n == -ETIMEDOUT
                             ? "begin (does it serve another client?)"
                             : "agree on a version",
                         strerror((int)-n));
    if ((size_t)n < sizeof(v))
        return error_set(err, -EPROTO,
                         "%s: the answer to VERSION has %zd bytes", path, n);
    memcpy(&v, w->in, sizeof(v));
    if (v.major != VFU_VERSION_MAJOR)
        return error_set(err, -EPROTONOSUPPORT,
                         "%s: the server speaks vfio-user %u.%u", path, v.major,
                         v.minor);
    learn(w, (size_t)n);
    return 0;
}

static int connect_to(struct wire *w, const char *path, struct vfm_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(err, -ENAMETOOLONG, "%s: too long for a socket", path);
    memcpy(address.sun_path, path, strlen(path));
    w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (w->fd < 0 ||
        connect(w->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = errno;

        return error_set(err, -error, "%s: cannot connect: %s", path,
                         strerror(error));
    }
    return 0;
}

int wire_open(struct wire *w, const char *path, int64_t deadline,
              struct vfm_error *err)
{
    int ret;

    *w = (struct wire){ .fd = -1, .next_id = 1 };
    w->in_room = WIRE_DATA_MAX + SLACK;
    w->in = malloc(w->in_room);
    if (w->in == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory", path);
    ret = connect_to(w, path, err);
    if (ret == 0)
        ret = agree(w, path, deadline, err);
    if (ret < 0)
        wire_close(w);
    return ret;
}

void wire_close(struct wire *w)
{
    if (w->fd >= 0)
        close(w->fd);
    free(w->in);
    *w = (struct wire){ .fd = -1 };
}
