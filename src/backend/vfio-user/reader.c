/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saving session: MIG_DATA_READs under way, several at a time, and their
 * answers in the order of the stream.
 *
 * An answer's data is received where it is shown, or the server has put it
 * there: area.c.  What an empty answer means
 * depends on the state the question was asked in: the server answers in order,
 * so one asked in PRE_COPY says "nothing now" whenever it comes, and one asked
 * in STOP_COPY "no more".
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/vfio-user/client.h"
#include "util/error.h"

/* Data begins on a page, what precedes it in the message just before. */
#define DATA_OFFSET ((size_t)4096)

static struct read_slot *oldest(struct reader *r)
{
    assert(r->count > 0);
    return &r->slots[r->queue[0]];
}

static void enqueue(struct reader *r, const struct read_slot *slot)
{
    assert(r->count < MAX_DEPTH);
    r->queue[r->count++] = (uint8_t)(slot - r->slots);
}

static void dequeue(struct reader *r)
{
    oldest(r)->state = READ_FREE;
    r->count--;
    memmove(r->queue, r->queue + 1, r->count * sizeof(r->queue[0]));
}

static unsigned int full_depth(const struct client *c)
{
    return c->area.base != NULL ? c->area.slots : c->settings.read_depth;
}

static struct read_slot *find_free(struct client *c)
{
    bool by_area = c->area.base != NULL;

    for (uint32_t i = 0; i < full_depth(c); i++)
        if (c->reader.slots[i].state == READ_FREE &&
            (!by_area || area_slot_is_free(c, i)))
            return &c->reader.slots[i];
    return NULL;
}

static void free_buffer(struct read_slot *slot)
{
    free(slot->buf);
    slot->buf = NULL;
}

/* Finds out how much data there is.  Returns 0, or the error that ended the
 * connection. */
static int judge_message(struct client *c, struct read_slot *slot)
{
    struct vfu_mig_data data = { 0 };
    size_t size = slot->req.size;

    if (size < sizeof(data))
        return client_lose(c, -EPROTO, "MIG_DATA_READ answered in %zu bytes",
                           size);
    memcpy(&data, slot->req.buf, sizeof(data));
    if (data.size > slot->asked || data.size > size - sizeof(data))
        return client_lose(c, -EPROTO,
                           "MIG_DATA_READ of %u bytes answered by %u in %zu",
                           slot->asked, data.size, size);
    slot->size = data.size;
    return 0;
}

/* The same of data that is not in the message: its size is said twice. */
static int judge_area(struct client *c, struct read_slot *slot)
{
    const struct vfu_mig_area_data *answer = &slot->answer;
    size_t size = slot->req.size;

    if (size < sizeof(*answer))
        return client_lose(c, -EPROTO, "MIG_AREA_READ answered in %zu bytes",
                           size);
    if (answer->size > slot->asked || answer->offset != slot->offset ||
        answer->argsz != sizeof(*answer) + answer->size)
        return client_lose(c, -EPROTO,
                           "MIG_AREA_READ of %u bytes answered by %u (%u)",
                           slot->asked, answer->size, answer->argsz);
    slot->size = answer->size;
    return 0;
}

static int judge_answer(struct client *c, struct read_slot *slot)
{
    return slot->req.command == VFU_MIG_AREA_READ ? judge_area(c, slot)
                                                  : judge_message(c, slot);
}

static void answered(struct client *c, struct request *req)
{
    struct read_slot *slot = (struct read_slot *)req;

    slot->size = 0;
    slot->taken = 0;
    if (req->error == 0 && judge_answer(c, slot) < 0)
        return;
    /* Nothing now, as a kernel device would say it. */
    if (req->error == -ENOMSG && !slot->final)
        req->error = 0;

    if (slot->state == READ_STALE) {
        slot->state = READ_FREE;
        free_buffer(slot);
    } else {
        slot->state = READ_HERE;
    }
}

static int send_area_read(struct client *c, struct read_slot *slot)
{
    unsigned int i = (unsigned int)(slot - c->reader.slots);
    struct vfu_mig_area_data ask = area_request(c, i, c->read_size);
    struct iovec part = { &ask, sizeof(ask) };

    slot->data = area_slot(c, i);
    slot->offset = ask.offset;
    slot->req.buf = &slot->answer;
    slot->req.cap = sizeof(slot->answer);
    return client_send(c, &slot->req, VFU_MIG_AREA_READ, &part, 1, NULL, 0);
}

static int send_data_read(struct client *c, struct read_slot *slot)
{
    struct vfu_mig_data ask = {
        .argsz = (uint32_t)sizeof(ask) + c->read_size,
        .size = c->read_size,
    };
    struct iovec part = { &ask, sizeof(ask) };
    size_t pages = (c->read_size + DATA_OFFSET - 1) / DATA_OFFSET;

    if (slot->buf == NULL)
        slot->buf = aligned_alloc(DATA_OFFSET, (1 + pages) * DATA_OFFSET);
    if (slot->buf == NULL)
        return -ENOMEM;
    slot->data = slot->buf + DATA_OFFSET;
    slot->req.buf = slot->buf + DATA_OFFSET - sizeof(ask);
    slot->req.cap = sizeof(ask) + c->read_size;
    return client_send(c, &slot->req, VFU_MIG_DATA_READ, &part, 1, NULL, 0);
}

static int send_read(struct client *c, struct read_slot *slot, bool final)
{
    slot->asked = c->read_size;
    slot->final = final;
    slot->req.timeout_ms = c->settings.data_timeout_ms;
    slot->req.is_data = true;
    slot->req.done = answered;
    return c->area.base != NULL ? send_area_read(c, slot)
                                : send_data_read(c, slot);
}

static void fail(struct client *c, int code)
{
    if (c->reader.failure.code == 0)
        client_error(c, &c->reader.failure, code, "read its state");
}

/* Whether an answer that nobody has looked at yet is the end. */
static bool end_is_here(const struct reader *r)
{
    for (unsigned int i = 0; i < r->count; i++) {
        const struct read_slot *slot = &r->slots[r->queue[i]];

        if (slot->state == READ_HERE && slot->final && slot->size == 0 &&
            slot->req.error == 0)
            return true;
    }
    return false;
}

/* Asks for more, as far as that makes sense. */
static void ask(struct client *c)
{
    struct reader *r = &c->reader;
    bool final = c->dev->state == VFM_STATE_STOP_COPY;
    struct read_slot *slot;
    int ret;

    if (final)
        r->dry = false;
    if (final || r->window == 0)
        r->window = full_depth(c);
    /* What is asked while the state changes is answered in one or the other,
     * and an empty answer would mean nothing. */
    if (r->dry || r->ended || end_is_here(r) || r->failure.code != 0 ||
        call_is_set_state(c))
        return;

    while (r->count < r->window && (slot = find_free(c)) != NULL) {
        ret = send_read(c, slot, final);
        if (ret < 0) {
            fail(c, ret);
            return;
        }
        slot->state = READ_ASKED;
        enqueue(r, slot);
    }
}

/* Takes the oldest answer, which has no data, for what it is. */
static void note_empty(struct client *c, const struct read_slot *slot)
{
    struct reader *r = &c->reader;

    if (slot->req.error < 0) {
        /* Beyond the end a refusal is as good as nothing. */
        if (!r->ended)
            fail(c, slot->req.error);
    } else if (slot->final) {
        r->ended = true;
    } else {
        r->dry = true;
        r->window = 1;
    }
}

/* The oldest data that is here, or NULL. */
static struct read_slot *first_data(struct client *c)
{
    struct reader *r = &c->reader;

    while (r->count > 0 && oldest(r)->state == READ_HERE &&
           r->failure.code == 0 && c->lost.code == 0) {
        struct read_slot *slot = oldest(r);

        if (slot->size > 0 && !r->ended)
            return slot;
        if (slot->size > 0)
            client_lose(c, -EPROTO, "more state after its end");
        note_empty(c, slot);
        dequeue(r);
    }
    return NULL;
}

/* No data is here: why? */
static ssize_t nothing_here(struct client *c)
{
    struct reader *r = &c->reader;

    if (r->count > 0)
        return -EAGAIN;
    if (r->ended)
        return 0;
    if (r->dry) {
        r->dry = false;
        return -ENOMSG;
    }
    /* The state is changing, or all slots wait for answers nobody wants. */
    return -EAGAIN;
}

ssize_t reader_peek(struct vfm_device *dev, const void **data,
                    struct vfm_error *err)
{
    struct client *c = device_client(dev);
    struct reader *r = &c->reader;
    struct read_slot *slot = first_data(c);

    if (slot == NULL) {
        ask(c);
        client_pump(c);
        slot = first_data(c);
    }
    if (c->lost.code != 0)
        return client_error(c, err, c->lost.code, "read its state");
    if (slot != NULL) {
        *data = slot->data + slot->taken;
        return slot->size - slot->taken;
    }
    if (r->failure.code != 0)
        return error_set(err, r->failure.code, "%s", r->failure.message);
    return nothing_here(c);
}

void reader_consume(struct vfm_device *dev, size_t len)
{
    struct client *c = device_client(dev);
    struct reader *r = &c->reader;
    struct read_slot *slot = oldest(r);

    assert(slot->state == READ_HERE && len <= slot->size - slot->taken);
    slot->taken += (uint32_t)len;
    if (slot->taken < slot->size)
        return;
    if (slot->size == slot->asked)
        r->window = full_depth(c);
    dequeue(r);
    ask(c);
}

void reader_end(struct client *c)
{
    struct reader *r = &c->reader;

    for (int i = 0; i < MAX_DEPTH; i++) {
        struct read_slot *slot = &r->slots[i];

        if (slot->req.outstanding) {
            slot->state = READ_STALE;
        } else {
            slot->state = READ_FREE;
            free_buffer(slot);
        }
    }
    r->count = 0;
    r->window = 0;
    r->dry = false;
    r->ended = false;
    r->failure = (struct vfm_error){ 0 };
}

void reader_free(struct client *c)
{
    for (int i = 0; i < MAX_DEPTH; i++)
        free_buffer(&c->reader.slots[i]);
}
