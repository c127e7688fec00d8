/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A source or a target, with a fake device, whose peer is the input: the hello
 * and its answer, the stream, and the messages of the handover.  Whatever the
 * peer says, the device is where the outcome says.
 *
 * The first byte is the side and what it can do.  Then come acts, a byte of
 * kind and what that takes: most of what a good peer says is at hand, so that
 * the input is about the order, the lengths and the payloads.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake-device.h"
#include "migration/migration.h"
#include "check/model.h"
#include "util/bytes.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IS_TARGET 0x01
#define PRE_COPY  0x02
#define IS_PAUSED 0x04

#define STATE     3000
#define ROOM      65536
#define TURNS     8    /* dispatches after each act */
#define ENDLESS   2000 /* of a side whose peer is gone */

enum act {
    SAY_RAW,     /* a length, the bytes */
    SAY_HELLO,   /* what a good peer begins with; a byte: changed by so much */
    SAY_STREAM,  /* the next so many 256ths of a good source's stream */
    SAY_MESSAGE, /* which, a length, the payload */
    HANG_UP,
    CANCEL,
    WAIT,
    ACTS,
};

static const uint16_t types[] = {
    MESSAGE_SHUT,   MESSAGE_PONG,     MESSAGE_SWITCHOVER_ACK, MESSAGE_PROGRESS,
    MESSAGE_LOADED, MESSAGE_YOURS,    MESSAGE_RUNNING,        MESSAGE_RETURNED,
    MESSAGE_FAILED, UINT16_C(0xffff), MESSAGE_SPANS,          MESSAGE_SPENT
};

/* What is left of the input. */
struct input {
    const uint8_t *data;
    size_t size;
};

struct side {
    struct fake_device device;
    struct vfm_channel *ch;
    struct vfm_migration *m;
    int peer; /* -1: hung up */
    bool over;
};

/* Of a good source: the hello, and what follows it but for YOURS. */
static uint8_t good[2][ROOM];
static size_t good_hello[2];
static size_t good_len[2];
static uint8_t state[STATE];
static size_t streamed;

static void open_side(struct side *s, uint8_t kind)
{
    const struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = (kind & IS_TARGET) != 0 ? VFM_ROLE_TARGET : VFM_ROLE_SOURCE,
        .paused = (kind & IS_PAUSED) != 0,
        .peer_timeout_ms = 2000,
    };
    uint64_t can = VFM_MIGRATION_STOP_COPY;
    int fds[2];

    if ((kind & PRE_COPY) != 0)
        can |= VFM_MIGRATION_PRE_COPY;
    *s = (struct side){ 0 };
    fake_open(&s->device, "fake", can);
    fake_set_config(&s->device, 256);
    s->device.data = s->device.expected = NULL;
    if ((kind & IS_TARGET) == 0) {
        s->device.data = state;
        s->device.size = STATE;
        s->device.pre_copy_size = (kind & PRE_COPY) != 0 ? STATE / 2 : 0;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
        vfm_channel_from_fd(fds[0], "peer", NULL, &s->ch, NULL) < 0 ||
        vfm_migration_new(s->ch, &options, &s->m, NULL) < 0 ||
        vfm_migration_add_device(s->m, s->device.dev, "a", NULL) < 0)
        abort();
    s->peer = fds[1];
}

static void close_side(struct side *s)
{
    vfm_migration_close(s->m);
    vfm_channel_close(s->ch);
    fake_close(&s->device);
    if (s->peer >= 0)
        close(s->peer);
}

/* Takes what the side said; keeps it at @to, if it is not NULL. */
static size_t drain(struct side *s, uint8_t *to, size_t room)
{
    static uint8_t bin[ROOM];
    ssize_t n;
    size_t len = 0;

    while (s->peer >= 0 &&
           (n = recv(s->peer, to != NULL ? to + len : bin,
                     to != NULL ? room - len : sizeof(bin), MSG_DONTWAIT)) > 0)
        len += (size_t)n;
    return len;
}

static void turn(struct side *s, int timeout_ms)
{
    struct pollfd pfd = { .fd = vfm_migration_fd(s->m), .events = POLLIN };

    if (!s->over && poll(&pfd, 1, timeout_ms) > 0)
        s->over = vfm_migration_dispatch(s->m, NULL) != 1;
}

/* A source and a target to their end, to learn what a good source says. */
static void record(uint8_t kind, unsigned int i)
{
    struct side source, target;
    uint8_t back[ROOM];
    size_t len = 0;

    open_side(&source, kind);
    open_side(&target, kind | IS_TARGET);
    while (!source.over || !target.over) {
        size_t came = drain(&source, good[i] + len, ROOM - len);
        size_t answer = drain(&target, back, sizeof(back));

        if ((came > 0 && send(target.peer, good[i] + len, came, 0) < 0) ||
            (answer > 0 && send(source.peer, back, answer, MSG_NOSIGNAL) < 0))
            abort();
        len += came;
        turn(&source, 0);
        turn(&target, 0);
        if (source.over && source.peer >= 0) {
            shutdown(target.peer, SHUT_WR);
            close(source.peer);
            source.peer = -1;
        }
    }
    if (vfm_migration_get_outcome(source.m) != VFM_OUTCOME_DONE ||
        vfm_migration_get_outcome(target.m) != VFM_OUTCOME_DONE)
        abort();
    good_hello[i] = 12 + get_be32(good[i] + 8);
    good_len[i] = len - 5; /* YOURS */
    close_side(&source);
    close_side(&target);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fake_pattern(state, sizeof(state), 1);
    record(0, 0);
    record(PRE_COPY, 1);
    return 0;
}

static uint8_t take_byte(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static const uint8_t *take(struct input *in, size_t *len)
{
    const uint8_t *data = in->data;

    if (*len > in->size)
        *len = in->size;
    in->data += *len;
    in->size -= *len;
    return data;
}

/* What does not fit is lost, as if the peer had stopped there. */
static void say(struct side *s, const void *data, size_t len)
{
    if (s->peer >= 0 && len > 0 &&
        send(s->peer, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
}

static void say_hello(struct side *s, uint8_t kind, struct input *in)
{
    static const char yes[] = "{\"accept\": true, \"version\": \"9.9\"}";
    uint8_t frame[ROOM] = "VFMG\0\1\0\0";
    unsigned int i = (kind & PRE_COPY) != 0;
    size_t len = 12 + sizeof(yes) - 1;
    uint8_t change = take_byte(in);

    if ((kind & IS_TARGET) != 0) {
        len = good_hello[i];
        memcpy(frame, good[i], len);
    } else {
        put_be32(frame + 8, sizeof(yes) - 1);
        memcpy(frame + 12, yes, sizeof(yes) - 1);
    }
    if (change != 0)
        frame[take_byte(in) * 4 % len] ^= change;
    say(s, frame, len);
}

static void say_stream(struct side *s, uint8_t kind, struct input *in)
{
    unsigned int i = (kind & PRE_COPY) != 0;
    size_t all = good_len[i] - good_hello[i];
    size_t len = (take_byte(in) + (size_t)1) * all / 256;

    if (len > all - streamed)
        len = all - streamed;
    say(s, good[i] + good_hello[i] + streamed, len);
    streamed += len;
}

static void say_message(struct side *s, struct input *in)
{
    uint8_t frame[4 + 255];
    size_t len;
    const uint8_t *payload;

    put_be16(frame, types[take_byte(in) % (sizeof(types) / sizeof(types[0]))]);
    len = take_byte(in);
    payload = take(in, &len);
    put_be16(frame + 2, (uint16_t)len);
    memcpy(frame + 4, payload, len);
    say(s, frame, 4 + len);
}

static void act(struct side *s, uint8_t kind, struct input *in)
{
    size_t len;
    const uint8_t *data;

    switch ((enum act)(take_byte(in) % ACTS)) {
    case SAY_RAW:
        len = take_byte(in);
        data = take(in, &len);
        say(s, data, len);
        break;
    case SAY_HELLO:
        say_hello(s, kind, in);
        break;
    case SAY_STREAM:
        say_stream(s, kind, in);
        break;
    case SAY_MESSAGE:
        say_message(s, in);
        break;
    case HANG_UP:
        shutdown(s->peer, SHUT_WR);
        break;
    case CANCEL:
        vfm_migration_cancel(s->m);
        break;
    case WAIT:
    case ACTS:
    default:
        break;
    }
}

/* Nothing fails here but the peer: so nothing is lost, and what runs is what
 * the outcome says. */
static void check(const struct side *s, uint8_t kind)
{
    const struct fake_device *f = &s->device;
    bool runs = model_runs(f->state);

    switch (vfm_migration_get_outcome(s->m)) {
    case VFM_OUTCOME_DONE:
        if ((kind & IS_TARGET) == 0 ? runs : f->content != FAKE_LOADED)
            abort();
        break;
    case VFM_OUTCOME_FAILED:
        if (!runs || f->content == FAKE_LOADED)
            abort();
        if ((kind & IS_TARGET) == 0 && f->content != FAKE_ORIGINAL)
            abort();
        break;
    case VFM_OUTCOME_HANDED_OVER:
        if ((kind & IS_TARGET) != 0 || runs || f->content != FAKE_ORIGINAL)
            abort();
        break;
    case VFM_OUTCOME_LOST:
    case VFM_OUTCOME_PENDING:
    default:
        abort();
    }
}

static void finish(struct side *s)
{
    drain(s, NULL, 0);
    close(s->peer);
    s->peer = -1;
    for (unsigned int n = 0; !s->over; n++) {
        if (n == ENDLESS)
            abort();
        turn(s, 1000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    uint8_t kind = take_byte(&in);
    struct side s;

    streamed = 0;
    open_side(&s, kind);
    while (in.size > 0 && !s.over) {
        act(&s, kind, &in);
        for (unsigned int n = 0; n < TURNS; n++) {
            turn(&s, 0);
            drain(&s, NULL, 0);
        }
    }
    finish(&s);
    check(&s, kind);
    close_side(&s);
    return 0;
}
