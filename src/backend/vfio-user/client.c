/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests and their replies: which reply belongs to what, in whatever order
 * they come, how long each may take, and how a connection ends.
 *
 * What the server asks of us is dma.c's.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend/vfio-user/client.h"
#include "util/clock.h"
#include "util/error.h"

/* Messages received in one go, so that a flood does not keep us from
 * returning. */
#define PUMP_MAX_MESSAGES 64

/* A piece of a reply that is as good as a reply: the server is at work. */
#define PROGRESS_STEP     (UINT32_C(32) << 10)

/* Error numbers end here. */
#define MAX_ERRNO         4095

static const char *command_name(uint16_t command)
{
    static const char *const names[] = {
        [VFU_VERSION] = "VERSION",
        [VFU_DMA_MAP] = "DMA_MAP",
        [VFU_DMA_UNMAP] = "DMA_UNMAP",
        [VFU_DEVICE_GET_INFO] = "DEVICE_GET_INFO",
        [VFU_DEVICE_GET_REGION_INFO] = "DEVICE_GET_REGION_INFO",
        [VFU_DEVICE_SET_IRQS] = "DEVICE_SET_IRQS",
        [VFU_REGION_READ] = "REGION_READ",
        [VFU_REGION_WRITE] = "REGION_WRITE",
        [VFU_DEVICE_RESET] = "DEVICE_RESET",
        [VFU_DEVICE_FEATURE] = "DEVICE_FEATURE",
        [VFU_MIG_DATA_READ] = "MIG_DATA_READ",
        [VFU_MIG_DATA_WRITE] = "MIG_DATA_WRITE",
        [VFU_MIG_GET_PRECOPY_INFO] = "MIG_GET_PRECOPY_INFO",
        [VFU_MIG_AREA_SET] = "MIG_AREA_SET",
        [VFU_MIG_AREA_READ] = "MIG_AREA_READ",
        [VFU_MIG_AREA_WRITE] = "MIG_AREA_WRITE",
    };

    if (command >= sizeof(names) / sizeof(names[0]) || names[command] == NULL)
        return "?";
    return names[command];
}

int client_lose(struct client *c, int code, const char *fmt, ...)
{
    char text[sizeof(c->lost.message)];
    va_list ap;

    if (c->lost.code != 0)
        return c->lost.code;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->news = true;
    /* Nothing will be answered any more.  Who owns a request looks at lost
     * first. */
    for (struct request *r = c->requests; r != NULL; r = r->next)
        r->outstanding = false;
    c->requests = NULL;
    return error_set(&c->lost, code, "%s", text);
}

int client_error(const struct client *c, struct vfm_error *err, int ret,
                 const char *what)
{
    if (ret == c->lost.code)
        return error_set(err, ret, "%s: cannot %s: %s", c->name, what,
                         c->lost.message);
    return error_set(err, ret, "%s: cannot %s: %s", c->name, what,
                     strerror(-ret));
}

bool means_absent(int ret)
{
    return ret == -EINVAL || ret == -ENOTTY || ret == -EOPNOTSUPP ||
           ret == -ENOSYS;
}

/* The server's error number as a return value.  Those by which our own layers
 * say something else become another. */
static int reply_error(uint32_t number)
{
    switch (number) {
    case EAGAIN:
        return -EBUSY;
    case 0:
    case ETIMEDOUT:
    case EPROTO:
    case ENOTCONN:
        return -EIO;
    default:
        return number <= MAX_ERRNO ? -(int)number : -EIO;
    }
}

static struct request **find_request(struct client *c, uint16_t id)
{
    struct request **rp = &c->requests;

    while (*rp != NULL && (*rp)->id != id)
        rp = &(*rp)->next;
    return rp;
}

/* An id that no outstanding request has. */
static uint16_t new_id(struct client *c)
{
    while (*find_request(c, c->next_id) != NULL)
        c->next_id++;
    return c->next_id++;
}

static void fill_header(struct vfu_header *header, const struct request *req,
                        const struct iovec *parts, int num_parts)
{
    size_t size = sizeof(*header);

    for (int i = 0; i < num_parts; i++)
        size += parts[i].iov_len;
    *header = (struct vfu_header){
        .id = req->id,
        .command = req->command,
        .size = (uint32_t)size,
        .flags = VFU_TYPE_COMMAND,
    };
}

static void add_request(struct client *c, struct request *req)
{
    req->outstanding = true;
    req->answered = false;
    req->started = clock_now();
    req->error = 0;
    req->size = 0;
    req->fd = -1;
    req->next = c->requests;
    c->requests = req;
}

/* Sends and adds @req.  @try: rather not at all than later. */
static int send_request(struct client *c, struct request *req,
                        const struct iovec *parts, int num_parts,
                        const int *fds, unsigned int num_fds, bool try)
{
    struct iovec all[WIRE_MAX_PARTS];
    struct vfu_header header;
    int ret;

    assert(!req->outstanding && num_parts < WIRE_MAX_PARTS);
    if (c->lost.code != 0)
        return c->lost.code;

    req->id = new_id(c);
    fill_header(&header, req, parts, num_parts);
    all[0] = (struct iovec){ &header, sizeof(header) };
    for (int i = 0; i < num_parts; i++)
        all[i + 1] = parts[i];

    ret = try ? wire_try_send(&c->main, all, num_parts + 1)
              : wire_send(&c->main, all, num_parts + 1, fds, num_fds);
    /* Neither breaks the connection: only this request is not made.  But who
     * opens a device takes a command that fails for one that it lacks. */
    if (ret == -EAGAIN || (ret == -ENOMEM && c->is_open))
        return ret;
    if (ret < 0)
        return client_lose(c, ret, "sending failed: %s", strerror(-ret));
    add_request(c, req);
    return 0;
}

int client_send(struct client *c, struct request *req, enum vfu_command command,
                const struct iovec *parts, int num_parts, const int *fds,
                unsigned int num_fds)
{
    req->command = (uint16_t)command;
    return send_request(c, req, parts, num_parts, fds, num_fds, false);
}

int client_try_send(struct client *c, struct request *req,
                    enum vfu_command command, const struct iovec *parts,
                    int num_parts)
{
    req->command = (uint16_t)command;
    return send_request(c, req, parts, num_parts, NULL, 0, true);
}

/* The header of a reply is there: judges it and says where the body goes. */
static int begin_reply(struct client *c, struct wire *w)
{
    const struct vfu_header *header = &w->header;
    struct request *req = *find_request(c, header->id);

    if (w != &c->main)
        return client_lose(c, -EPROTO, "reply on the socket for commands");
    if (req == NULL)
        return client_lose(c, -EPROTO, "reply %u to no request", header->id);
    if (req->command != header->command)
        return client_lose(c, -EPROTO, "%s answered by a reply to command %u",
                           command_name(req->command), header->command);
    if (wire_is_sending(w, header->id))
        return client_lose(c, -EPROTO, "%s answered before it was asked",
                           command_name(req->command));
    if (w->body_size > req->cap + REPLY_SLACK)
        return client_lose(c, -EPROTO, "reply to %s has %u bytes",
                           command_name(req->command), header->size);

    c->progress_mark = 0;
    if ((header->flags & VFU_FLAG_ERROR) == 0)
        wire_expect_body(w, req->buf, req->cap);
    return 0;
}

static void end_reply(struct client *c, struct wire *w)
{
    const struct vfu_header *header = &w->header;
    struct request **rp = find_request(c, header->id);
    struct request *req = *rp;

    /* Judged when it began, and nothing but this ends a request. */
    assert(req != NULL);
    *rp = req->next;
    req->outstanding = false;
    req->answered = true;
    req->size = w->body_size;
    if ((header->flags & VFU_FLAG_ERROR) != 0)
        req->error = reply_error(header->error);
    else if (req->wants_fd)
        req->fd = wire_take_fd(w, 0);

    if (req->is_data)
        c->progress = clock_now();
    c->news = true;
    c->replies++;
    if (req->done != NULL)
        req->done(c, req);
}

static bool is_reply(const struct wire *w)
{
    return (w->header.flags & VFU_TYPE_MASK) == VFU_TYPE_REPLY;
}

static int begin_message(struct client *c, struct wire *w)
{
    uint32_t type = w->header.flags & VFU_TYPE_MASK;

    if (type == VFU_TYPE_REPLY)
        return begin_reply(c, w);
    if (type == VFU_TYPE_COMMAND)
        return dma_begin(c, w);
    return client_lose(c, -EPROTO, "message of type %u", type);
}

static int end_message(struct client *c, struct wire *w)
{
    int ret = 0;

    if (is_reply(w))
        end_reply(c, w);
    else
        ret = dma_serve(c, w);
    wire_next_message(w);
    return ret;
}

/* A long reply that comes in slowly is no silence. */
static void note_progress(struct client *c, const struct wire *w)
{
    if (!is_reply(w) || w->body_have < c->progress_mark + PROGRESS_STEP ||
        !(*find_request(c, w->header.id))->is_data)
        return;
    c->progress_mark = w->body_have;
    c->progress = clock_now();
}

static int receive_message(struct client *c, struct wire *w)
{
    int ret;

    if (!w->in_body) {
        ret = wire_receive_header(w);
        if (ret == 0)
            ret = begin_message(c, w);
        if (ret < 0)
            return ret;
    }
    ret = wire_receive_body(w);
    if (ret < 0) {
        if (ret == -EAGAIN)
            note_progress(c, w);
        return ret;
    }
    return end_message(c, w);
}

/* Receiving from @w failed with @ret. */
static void receive_failed(struct client *c, struct wire *w, int ret)
{
    if (ret == -EAGAIN && w->send_broken)
        ret = -ENOTCONN;
    if (ret == -EAGAIN)
        return;
    if (w == &c->twin && ret == -ENOTCONN) {
        /* Nothing of ours goes that way. */
        wire_close(w);
        return;
    }
    if (ret == -ENOTCONN)
        client_lose(c, ret, "server closed the connection%s",
                    w->header_have > 0 ? " inside a message" : "");
    else if (ret == -EPROTO && w->header_have == sizeof(w->header) &&
             w->header.size < sizeof(w->header))
        client_lose(c, ret, "message of %u bytes is shorter than its header",
                    w->header.size);
    else if (ret == -EPROTO)
        client_lose(c, ret, "message with too many descriptors");
    else
        client_lose(c, ret, "receiving failed: %s", strerror(-ret));
}

static void pump_wire(struct client *c, struct wire *w)
{
    int ret;

    if (w->fd < 0 || c->lost.code != 0)
        return;
    ret = wire_flush(w);
    if (ret < 0 && ret != -EAGAIN) {
        client_lose(c, ret, "sending failed: %s", strerror(-ret));
        return;
    }
    for (int i = 0; i < PUMP_MAX_MESSAGES; i++) {
        if (w->unsent_bytes > WIRE_MAX_UNSENT)
            return;
        ret = receive_message(c, w);
        if (c->lost.code != 0)
            return;
        if (ret < 0) {
            receive_failed(c, w, ret);
            return;
        }
    }
}

static int64_t request_deadline(const struct client *c,
                                const struct request *req)
{
    int64_t start = req->started;

    if (req->is_data && c->progress > start)
        start = c->progress;
    return start + (int64_t)req->timeout_ms * NS_PER_MS;
}

static void check_deadlines(struct client *c)
{
    int64_t now;

    if (c->requests == NULL)
        return;
    now = clock_now();
    for (const struct request *r = c->requests; r != NULL; r = r->next) {
        if (now < request_deadline(c, r))
            continue;
        client_lose(c, -ETIMEDOUT, "no answer to %s within %u ms",
                    command_name(r->command), r->timeout_ms);
        return;
    }
}

void client_pump(struct client *c)
{
    pump_wire(c, &c->main);
    pump_wire(c, &c->twin);
    /* Only now: an answer that is there was in time, whoever was late to look
     * for it. */
    if (c->lost.code == 0)
        check_deadlines(c);
}

static void poll_wire(const struct wire *w, bool wants_room, struct pollfd *fds,
                      int *n)
{
    short events = POLLIN;

    if (w->fd < 0)
        return;
    if (wants_room || w->unsent != NULL)
        events |= POLLOUT;
    if (w->unsent_bytes > WIRE_MAX_UNSENT)
        events &= ~POLLIN;
    fds[(*n)++] = (struct pollfd){ .fd = w->fd, .events = events };
}

int client_poll_fds(struct client *c, struct pollfd *fds, int64_t *deadline)
{
    int n = 0;

    *deadline = CLOCK_NEVER;
    if (c->lost.code != 0) {
        *deadline = 0;
        return 0;
    }
    for (const struct request *r = c->requests; r != NULL; r = r->next)
        *deadline = clock_min(*deadline, request_deadline(c, r));
    poll_wire(&c->main, c->wants_room, fds, &n);
    poll_wire(&c->twin, false, fds, &n);
    return n;
}

void client_pass_on_news(struct client *c, uint64_t replies)
{
    const uint64_t one = 1;

    if (c->replies == replies && c->lost.code == 0)
        return;
    if (write(c->news_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is readable all the same */
}

int client_wait(struct client *c, const struct request *req)
{
    struct pollfd fds[DEVICE_MAX_FDS];
    uint64_t replies = c->replies;
    int64_t deadline;
    int n;

    for (;;) {
        client_pump(c);
        if (req->answered || c->lost.code != 0) {
            client_pass_on_news(c, replies + (req->answered ? 1 : 0));
            return req->answered ? req->error : c->lost.code;
        }
        n = client_poll_fds(c, fds, &deadline);
        if (poll(fds, (nfds_t)n, clock_poll_timeout(deadline)) < 0 &&
            errno != EINTR && errno != ENOMEM)
            return client_lose(c, -errno, "cannot poll: %s", strerror(errno));
    }
}

ssize_t client_command(struct client *c, enum vfu_command command,
                       const void *data, size_t size, void *reply, size_t cap)
{
    struct iovec part = { (void *)data, size };
    struct request req = {
        .buf = reply,
        .cap = cap,
        .timeout_ms = c->settings.command_timeout_ms,
    };
    int ret = client_send(c, &req, command, &part, 1, NULL, 0);

    if (ret == 0)
        ret = client_wait(c, &req);
    if (ret < 0)
        return ret;
    return (ssize_t)(req.size < cap ? req.size : cap);
}

int client_of(const struct vfm_device *dev, struct client **cp,
              struct vfm_error *err)
{
    if (dev->ops != &vfio_user_ops)
        return error_set(err, -EINVAL, "%s: is not a vfio-user device",
                         dev->name);
    *cp = dev->backend;
    return 0;
}

int client_new(int fd, const struct settings *settings, struct client **cp)
{
    struct client *c = calloc(1, sizeof(*c));
    int ret;

    if (c == NULL)
        return -ENOMEM;
    c->settings = *settings;
    c->poll_fd = -1;
    c->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->news_fd < 0) {
        ret = -errno;
        free(c);
        return ret;
    }
    wire_init(&c->main, fd);
    wire_init(&c->twin, -1);
    for (int i = 0; i < UAPI_NUM_REGIONS; i++)
        c->region_fds[i] = -1;
    *cp = c;
    return 0;
}

void client_free(struct client *c)
{
    wire_close(&c->main);
    wire_close(&c->twin);
    if (c->poll_fd >= 0)
        close(c->poll_fd);
    for (int i = 0; i < UAPI_NUM_REGIONS; i++)
        if (c->region_fds[i] >= 0)
            close(c->region_fds[i]);
    free(c->dma_buf[0]);
    free(c->dma_buf[1]);
    free(c->call.buf);
    pieces_end(&c->call.pieces);
    reader_free(c);
    area_close(c);
    memory_free(c);
    close(c->news_fd);
    free(c);
}
