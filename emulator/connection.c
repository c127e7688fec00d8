/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client: takes commands off its socket, has them carried out, queues the
 * replies; and carries the DMA engine's messages the other way.
 *
 * What a command does is in command-*.c; bytes and descriptors on the socket
 * are in transport.c.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emulator/command.h"
#include "emulator/connection.h"
#include "emulator/misbehave.h"
#include "util/clock.h"

/* Header, the fixed part of the largest structure, and 16 to spare. */
#define REPLY_OVERHEAD 64u
/* A reply at least this large must fit, whatever the transfer size. */
#define REPLY_MIN      (64u << 10)
/* Rounds of receiving and answering before others get their turn. */
#define ROUNDS         16
/* How long a change of state waits for the client to answer DMA. */
#define DEFER_TIMEOUT  NS_PER_SEC

static bool send_dma(struct dma_peer *peer, bool is_write, uint64_t iova,
                     const void *data, uint32_t size)
{
    struct connection *c = (struct connection *)peer;
    struct transport *t = c->twin.fd >= 0 ? &c->twin : &c->main;
    struct vfu_header h = {
        .id = c->next_id,
        .command = is_write ? VFU_DMA_WRITE : VFU_DMA_READ,
        .size = (uint32_t)(sizeof(h) + sizeof(struct vfu_dma_access) +
                           (is_write ? size : 0)),
    };
    struct vfu_dma_access access = { .iova = iova, .count = size };
    uint8_t *to = transport_reserve(t);

    if (!c->negotiated || c->closing || to == NULL)
        return false;
    memcpy(to, &h, sizeof(h));
    memcpy(to + sizeof(h), &access, sizeof(access));
    if (is_write)
        memcpy(to + sizeof(h) + sizeof(access), data, size);
    transport_commit(t, h.size, -1, 0);
    c->dma_pending = true;
    c->dma_id = c->next_id++;
    c->dma_command = h.command;
    return true;
}

int connection_open(struct device *device, int fd, struct connection **out)
{
    size_t xfer = device->options->max_data_xfer;
    size_t reply_max = xfer > REPLY_MIN ? xfer : REPLY_MIN;
    size_t message_max =
        sizeof(struct vfu_header) + sizeof(struct vfu_region_access) + xfer;
    struct connection *c = calloc(1, sizeof(*c));
    int ret;

    if (c == NULL) {
        close(fd);
        return -ENOMEM;
    }
    ret = transport_init(&c->main, fd, message_max,
                         2 * reply_max + REPLY_OVERHEAD);
    if (ret < 0) {
        free(c);
        return ret;
    }
    c->main.split = device->options->split;
    c->twin.fd = c->twin_client_fd = -1;
    c->client_max_xfer = VFU_DEFAULT_MAX_DATA_XFER_SIZE;
    c->device = device;
    c->peer =
        (struct dma_peer){ .request = send_dma, .max_size = ENGINE_PIECE };
    device->engine.peer = &c->peer;
    device->stats.clients++;
    *out = c;
    return 0;
}

void connection_close(struct connection *c)
{
    if (c == NULL)
        return;
    device_disconnect(c->device);
    transport_free(&c->main);
    transport_free(&c->twin);
    area_unmap(&c->area);
    if (c->twin_client_fd >= 0)
        close(c->twin_client_fd);
    free(c);
}

static void close_fds(struct request *rq)
{
    for (size_t i = 0; i < rq->num_fds; i++)
        if (rq->fds[i] >= 0)
            close(rq->fds[i]);
    rq->num_fds = 0;
}

/* Fills in the header of a reply and queues it. */
static void queue_reply(struct connection *c, const struct vfu_header *command,
                        struct reply *rp, int error)
{
    struct vfu_header h = {
        .id = command->id,
        .command = command->command,
        .flags = VFU_TYPE_REPLY,
    };

    if (error < 0) {
        h.flags |= VFU_FLAG_ERROR;
        h.error = (uint32_t)-error;
    }
    h.size = (uint32_t)(sizeof(h) + rp->size);
    misbehave_in_reply(c, &h, rp);
    memcpy(rp->payload - sizeof(h), &h, sizeof(h));
    transport_commit(&c->main, sizeof(h) + rp->size, rp->fd, rp->fd_copies);
    misbehave_after(c, sizeof(h) + rp->size);
}

/* Carries out one command and queues its reply. */
static void answer(struct connection *c, const struct vfu_header *h,
                   struct request *rq)
{
    struct transport *t = &c->main;
    uint8_t *room;
    struct reply rp;
    int ret;

    c->device->stats.commands++;
    ret = misbehave_before(c, rq);
    room = transport_reserve(t);
    if (room == NULL) {
        close_fds(rq);
        return;
    }
    rp = (struct reply){
        .payload = room + sizeof(*h),
        .room = t->out_room / 2 - sizeof(*h),
        .fd = -1,
    };
    if (ret == 0)
        ret = command_run(c, rq, &rp);
    if (ret < 0) {
        rp.size = personality_error_payload(c, rq, &rp);
        rp.fd = -1;
    }
    if (misbehave_is_silent(c) || (h->flags & VFU_FLAG_NO_REPLY) != 0)
        misbehave_after(c, 0);
    else
        queue_reply(c, h, &rp, ret);
    close_fds(rq);
}

static void refuse(struct connection *c, const struct vfu_header *h)
{
    uint8_t *room = transport_reserve(&c->main);
    struct reply rp = { .payload = room, .fd = -1 };

    if (room == NULL)
        return;
    rp.payload += sizeof(*h);
    queue_reply(c, h, &rp, -EINVAL);
}

/* A command that cannot be told from the bytes that follow: the last. */
static void refuse_framing(struct connection *c, const struct vfu_header *h)
{
    refuse(c, h);
    if (personality_survives_bad_size(c))
        transport_drop(&c->main, sizeof(*h));
    else
        c->closing = true;
}

/* A message of which only the first part is noticed. */
static void refuse_torn(struct connection *c, const struct vfu_header *h)
{
    refuse(c, h);
    transport_drop(&c->main, personality_received_size(c, h));
}

/* The client's answer to a DMA message of ours.  Others are ignored: they
 * may answer what the engine gave up. */
static void take_answer(struct connection *c, const struct vfu_header *h,
                        const uint8_t *payload)
{
    struct vfu_dma_access access = { 0 };
    size_t size = h->size - sizeof(*h);
    uint32_t error = 0;

    if (!c->dma_pending || h->id != c->dma_id || h->command != c->dma_command)
        return;
    c->dma_pending = false;
    if ((h->flags & VFU_FLAG_ERROR) != 0) {
        error = h->error != 0 ? h->error : EIO;
    } else if (h->command == VFU_DMA_READ) {
        if (size < sizeof(access)) {
            error = EPROTO;
        } else {
            memcpy(&access, payload, sizeof(access));
            payload += sizeof(access);
            size -= sizeof(access);
            error = access.count == size ? 0 : EPROTO;
        }
    }
    engine_answer(c->device, error, payload, size);
}

/* Carries out the change of state that waited. */
static void run_deferred(struct connection *c)
{
    struct request rq = {
        .command = c->deferred_header.command,
        .payload = c->deferred_payload,
        .size = c->deferred_header.size - sizeof(c->deferred_header),
    };

    c->deferred = false;
    answer(c, &c->deferred_header, &rq);
}

static bool defer(struct connection *c, const struct vfu_header *h,
                  const struct request *rq)
{
    if (!feature_must_wait(c, rq) || rq->size > DEFERRED_MAX)
        return false;
    c->deferred = true;
    c->deferred_until = clock_now() + DEFER_TIMEOUT;
    c->deferred_header = *h;
    memcpy(c->deferred_payload, rq->payload, rq->size);
    return true;
}

static void take_command(struct connection *c, const struct vfu_header *h,
                         const uint8_t *payload)
{
    struct request rq = {
        .command = h->command,
        .payload = payload,
        .size = h->size - sizeof(*h),
    };

    rq.num_fds = transport_take_fds(&c->main, h->size, rq.fds);
    if (defer(c, h, &rq))
        close_fds(&rq);
    else
        answer(c, h, &rq);
}

/* Is there a reason not to look at the next message? */
static bool must_wait(struct connection *c)
{
    return c->closing || c->hold_until != 0 ||
           transport_reserve(&c->main) == NULL;
}

/* Takes one message from the main socket.  Returns whether there was one. */
static bool take_message(struct connection *c)
{
    struct vfu_header h;
    int ret = transport_peek(&c->main, &h);
    const uint8_t *payload;

    if (ret == 0)
        return false;
    if (ret < 0) {
        refuse_framing(c, &h);
        return !c->closing;
    }
    payload = transport_front(&c->main) + sizeof(h);
    if ((h.flags & VFU_TYPE_MASK) == VFU_TYPE_REPLY) {
        take_answer(c, &h, payload);
    } else if (c->deferred) {
        /* The client does not wait, so neither do we. */
        run_deferred(c);
        return true;
    } else if (personality_received_size(c, &h) < h.size) {
        refuse_torn(c, &h);
        return true;
    } else {
        take_command(c, &h, payload);
    }
    transport_drop(&c->main, h.size);
    return true;
}

static void take_twin_messages(struct connection *c)
{
    struct vfu_header h;
    int ret;

    while ((ret = transport_peek(&c->twin, &h)) > 0) {
        if ((h.flags & VFU_TYPE_MASK) == VFU_TYPE_REPLY)
            take_answer(c, &h, transport_front(&c->twin) + sizeof(h));
        transport_drop(&c->twin, h.size);
    }
    if (ret < 0)
        c->closing = true;
}

static int serve_twin(struct connection *c)
{
    long n;

    if (c->twin.fd < 0)
        return 0;
    n = transport_receive(&c->twin);
    if (n == 0 || (n < 0 && n != -EAGAIN))
        return -ECONNRESET;
    take_twin_messages(c);
    n = transport_flush(&c->twin);
    return n == 0 || n == -EAGAIN ? 0 : (int)n;
}

static int flush(struct connection *c)
{
    int ret;

    if (c->hold_until != 0)
        return 0;
    ret = transport_flush(&c->main);
    if (ret == 0 && c->twin_client_fd >= 0) {
        close(c->twin_client_fd);
        c->twin_client_fd = -1;
    }
    if (ret == 0 && c->closing)
        return -ECONNRESET;
    return ret == -EAGAIN ? 0 : ret;
}

static void end_waits(struct connection *c)
{
    int64_t now = clock_now();

    if (c->hold_until != 0 && c->hold_until != CLOCK_NEVER &&
        c->hold_until <= now)
        c->hold_until = 0;
    if (c->deferred &&
        (!engine_is_waiting(c->device) || c->deferred_until <= now) &&
        !must_wait(c))
        run_deferred(c);
}

int connection_serve(struct connection *c, bool gone)
{
    if (gone && c->hold_until != 0)
        return -ECONNRESET;
    for (int round = 0; round < ROUNDS; round++) {
        long n = -EAGAIN;
        int ret = 0;

        end_waits(c);
        if (!must_wait(c)) {
            n = transport_receive(&c->main);
            if (n == 0 || (n < 0 && n != -EAGAIN))
                return -ECONNRESET;
        }
        /* Each answer leaves at once: while the client is busy with it, we are
         * with its next command. */
        while (ret == 0 && !must_wait(c) && take_message(c)) {
            ret = flush(c);
            end_waits(c);
        }
        if (ret == 0)
            ret = serve_twin(c);
        if (ret == 0)
            ret = flush(c);
        if (ret < 0)
            return ret;
        if (n < 0)
            break;
    }
    return 0;
}

int64_t connection_deadline(const struct connection *c)
{
    int64_t deadline = CLOCK_NEVER;

    if (c->hold_until != 0)
        deadline = c->hold_until;
    if (c->deferred)
        deadline = clock_min(deadline, c->deferred_until);
    return deadline;
}

short connection_events(struct connection *c)
{
    short events = must_wait(c) ? 0 : POLLIN;

    if (c->hold_until == 0 && transport_pending(&c->main) > 0)
        events |= POLLOUT;
    return events;
}
