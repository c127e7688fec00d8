/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses to regions, in pieces that a server takes, several of them under
 * way: a server answers in order, and each answer that is waited for before the
 * next question costs the time of the way there and back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/vfio-user/client.h"

static uint32_t most_bytes(const struct client *c, bool write)
{
    uint32_t most = write ? MAX_REGION_WRITE : c->offered_transfer;

    return c->max_transfer < most ? c->max_transfer : most;
}

static struct piece *oldest(struct pieces *p)
{
    return &p->ring[p->first % PIECES_DEPTH];
}

/* Nothing is sent any more of an access that failed, nor of writes behind
 * it. */
static void fail(struct pieces *p, unsigned int access, int ret)
{
    if (p->accesses[access].ret == 0)
        p->accesses[access].ret = ret;
    if (p->writes) {
        for (; p->next < p->num_accesses; p->next++)
            if (p->accesses[p->next].ret == 0)
                p->accesses[p->next].ret = -ECANCELED;
    } else if (p->next == access) {
        p->next++;
        p->next_at = 0;
    }
}

/* Where the answer to a read goes. */
static int make_room(struct piece *piece)
{
    size_t size = sizeof(struct vfu_region_access) + piece->size;

    piece->buf = malloc(size);
    piece->req.buf = piece->buf;
    piece->req.cap = size;
    return piece->buf == NULL ? -ENOMEM : 0;
}

static int send_piece(struct client *c, const struct pieces *p,
                      struct piece *piece)
{
    const struct device_access *a = &p->accesses[piece->access];
    struct vfu_region_access where = {
        .offset = a->offset + piece->at,
        .region = a->region,
        .count = piece->size,
    };
    struct iovec parts[] = {
        { &where, sizeof(where) },
        { (uint8_t *)a->buf + piece->at, piece->size },
    };

    return client_send(c, &piece->req,
                       p->writes ? VFU_REGION_WRITE : VFU_REGION_READ, parts,
                       p->writes ? 2 : 1, NULL, 0);
}

/* A server answers in order: what was asked for before this comes before it. */
static uint32_t timeout_ms(const struct client *c)
{
    const struct settings *s = &c->settings;

    return c->reader.count > 0 && s->data_timeout_ms > s->command_timeout_ms
               ? s->data_timeout_ms
               : s->command_timeout_ms;
}

/* Sends the next piece.  Returns 0, or the error that ended the connection. */
static int send_next(struct client *c, struct pieces *p)
{
    const struct device_access *a = &p->accesses[p->next];
    uint32_t most = most_bytes(c, p->writes);
    size_t left = a->len - p->next_at;
    struct piece *piece = &p->ring[(p->first + p->count) % PIECES_DEPTH];
    int ret;

    *piece = (struct piece){
        .access = p->next,
        .at = p->next_at,
        .size = left < most ? (uint32_t)left : most,
        .req.timeout_ms = timeout_ms(c),
        .req.is_data = c->reader.count > 0,
    };
    if (!p->writes && make_room(piece) < 0) {
        fail(p, p->next, -ENOMEM);
        return 0;
    }
    ret = send_piece(c, p, piece);
    if (ret < 0) {
        free(piece->buf);
        piece->buf = NULL;
        fail(p, p->next, ret);
        return c->lost.code;
    }
    p->count++;
    p->next_at += piece->size;
    if (p->next_at == a->len) {
        p->next++;
        p->next_at = 0;
    }
    return 0;
}

static int send_more(struct client *c, struct pieces *p)
{
    int ret = 0;

    while (ret == 0 && p->next < p->num_accesses && p->count < PIECES_DEPTH) {
        if (p->accesses[p->next].len > 0)
            ret = send_next(c, p);
        else
            p->next++;
    }
    return ret;
}

/* What the answer to a read holds. */
static int take_data(struct client *c, const struct pieces *p,
                     const struct piece *piece)
{
    struct vfu_region_access where = { 0 };
    const size_t head = sizeof(where);
    uint8_t *to = p->accesses[piece->access].buf;
    size_t got = piece->req.size < head ? 0 : piece->req.size - head;

    if (got > 0)
        memcpy(&where, piece->buf, head);
    if (got < piece->size || where.count < piece->size)
        return client_lose(c, -EPROTO,
                           "REGION_READ of %u answered by %zu, said to be %u",
                           piece->size, got, where.count);
    memcpy(to + piece->at, piece->buf + head, piece->size);
    return 0;
}

/* Returns 0, or the error that ended the connection. */
static int take_oldest(struct client *c, struct pieces *p)
{
    struct piece *piece = oldest(p);
    int ret = 0;

    if (!piece->req.answered)
        return c->lost.code;
    if (piece->req.error < 0)
        fail(p, piece->access, piece->req.error);
    else if (!p->writes)
        ret = take_data(c, p, piece);
    free(piece->buf);
    piece->buf = NULL;
    p->first++;
    p->count--;
    return ret;
}

int pieces_start(struct client *c, struct pieces *p, bool writes,
                 struct device_access *accesses, unsigned int num_accesses)
{
    *p = (struct pieces){
        .writes = writes,
        .accesses = accesses,
        .num_accesses = num_accesses,
    };
    for (unsigned int i = 0; i < num_accesses; i++)
        accesses[i].ret = 0;
    return send_more(c, p);
}

int pieces_finish(struct client *c, struct pieces *p, unsigned int *failed)
{
    int ret = 0;

    *failed = 0;
    while (ret == 0 && p->count > 0 && !oldest(p)->req.outstanding) {
        *failed = oldest(p)->access;
        ret = take_oldest(c, p);
    }
    if (ret == 0)
        ret = send_more(c, p);
    if (ret < 0)
        return ret;
    if (p->count > 0)
        return -EAGAIN;
    for (unsigned int i = 0; i < p->num_accesses; i++) {
        *failed = i;
        if (p->accesses[i].ret < 0)
            return p->accesses[i].ret;
    }
    return 0;
}

const struct request *pieces_waited_for(struct pieces *p)
{
    return &oldest(p)->req;
}

void pieces_end(struct pieces *p)
{
    for (unsigned int i = 0; i < PIECES_DEPTH; i++)
        free(p->ring[i].buf);
    *p = (struct pieces){ 0 };
}
