/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The return path: messages of a type, a length and so many bytes.
 */
#include <errno.h>
#include <string.h>

#include "proxy.h"
#include "util/bytes.h"
#include "util/error.h"

/* QEMU's longest. */
#define MESSAGE_MAX 512

#define ANY         (-1)

enum { SHUT = 1, PONG = 2, REQ_PAGES_ID = 3, REQ_PAGES = 4, ACK = 7 };

static const struct {
    const char *name;
    int len;
} messages[] = {
    [SHUT] = { "SHUT", 4 },
    [PONG] = { "PONG", 4 },
    [REQ_PAGES_ID] = { "REQ_PAGES_ID", ANY },
    [REQ_PAGES] = { "REQ_PAGES", 12 },
    [5] = { "RECV_BITMAP", ANY },
    [6] = { "RESUME_ACK", 4 },
    [ACK] = { "SWITCHOVER_ACK", 0 },
};
#define NUM_MESSAGES (sizeof(messages) / sizeof(messages[0]))

static int check_head(const struct watch *w, unsigned int type,
                      unsigned int len, struct vfm_error *err)
{
    if (type >= NUM_MESSAGES || messages[type].name == NULL)
        return error_set(err, -EBADMSG,
                         "the target's message of type %u is not known", type);
    if (len > MESSAGE_MAX ||
        (messages[type].len != ANY && len != (unsigned int)messages[type].len))
        return error_set(err, -EBADMSG,
                         "the target's message %s has a length of %u",
                         messages[type].name, len);
    if (!w->return_path)
        return error_set(err, -EPROTO,
                         "the target says %s, but the source has opened no "
                         "return path",
                         messages[type].name);
    if (w->back.shut)
        return error_set(err, -EPROTO, "the target says %s after SHUT",
                         messages[type].name);
    return 0;
}

/* Requests for pages are as many as the guest wants. */
static bool is_worth_telling(const struct watch *w, unsigned int type)
{
    bool often = type == REQ_PAGES_ID || type == REQ_PAGES;

    return !often || (w->back.types & 1u << type) == 0;
}

static void take_message(struct watch *w)
{
    struct watched_back *b = &w->back;
    unsigned int type = get_be16(b->head);
    uint32_t value = get_be32(b->payload);

    if (type == SHUT) {
        b->shut = true;
        b->shut_value = value;
        watch_enter(w, PHASE_OVER);
    }
    if (messages[type].len == 4)
        proxy_timeline_tell(w->timeline, "return path", "message", b->offset,
                            "%s %u%s", messages[type].name, value,
                            type != SHUT ? ""
                            : value == 0 ? ": all was loaded"
                                         : ": loading failed");
    else if (is_worth_telling(w, type))
        proxy_timeline_tell(w->timeline, "return path", "message", b->offset,
                            "%s", messages[type].name);
    b->types |= 1u << type;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Takes some of @data; returns how much. */
static size_t take(struct watched_back *b, const uint8_t *data, size_t len)
{
    size_t n;

    if (b->have < sizeof(b->head)) {
        n = smaller(len, sizeof(b->head) - b->have);
        memcpy(b->head + b->have, data, n);
        b->have += n;
        return n;
    }
    n = smaller(len, b->left);
    for (size_t i = 0; i < n && b->payload_have < sizeof(b->payload); i++)
        b->payload[b->payload_have++] = data[i];
    b->left -= n;
    return n;
}

int watch_back(struct watch *w, const uint8_t *data, size_t len)
{
    struct watched_back *b = &w->back;
    struct vfm_error err;
    uint64_t at = b->offset;

    while (len > 0 && !b->blind) {
        bool was_in_head = b->have < sizeof(b->head);
        size_t n = take(b, data, len);

        data += n;
        len -= n;
        b->offset += n;
        if (b->have < sizeof(b->head))
            continue;
        if (was_in_head) {
            int ret =
                check_head(w, get_be16(b->head), get_be16(b->head + 2), &err);

            if (ret < 0) {
                b->blind = true;
                return watch_fault(w, "return path", at, &err);
            }
            b->left = get_be16(b->head + 2);
            b->payload_have = 0;
        }
        if (b->left > 0)
            continue;
        take_message(w);
        b->have = 0;
        at = b->offset;
    }
    return 0;
}
