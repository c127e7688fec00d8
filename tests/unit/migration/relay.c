/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The relay between a source and a target.  An end of one direction is passed
 * on as such; a cut ends both at once, with what was passed on before it
 * delivered, as when a link dies.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay.h"

void relay_open(struct pair_relay *relay, int ends[2])
{
    for (int i = 0; i < 2; i++) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX,
                                    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                                    0, fds),
                         0);
        relay->fds[i] = fds[0];
        ends[i] = fds[1];
    }
}

static size_t pending(const struct pair_relay *relay, int from)
{
    return relay->end[from] - relay->start[from];
}

int relay_poll_fds(const struct pair_relay *relay, struct pollfd *fds)
{
    for (int i = 0; i < 2; i++) {
        short events = 0;

        if (pending(relay, i) == 0 && !relay->ended[i] &&
            relay->done[i] < relay->cut[i])
            events |= POLLIN;
        if (pending(relay, !i) > 0)
            events |= POLLOUT;
        fds[i] = (struct pollfd){ .fd = events != 0 ? relay->fds[i] : -1,
                                  .events = events };
    }
    return 2;
}

void relay_close(struct pair_relay *relay)
{
    for (int i = 0; i < 2; i++) {
        if (relay->fds[i] >= 0)
            close(relay->fds[i]);
        relay->fds[i] = -1;
        relay->ended[i] = true;
        relay->start[i] = relay->end[i] = 0;
    }
}

static void end_direction(struct pair_relay *relay, int from)
{
    relay->ended[from] = true;
    relay->start[from] = relay->end[from] = 0;
    shutdown(relay->fds[!from], SHUT_WR);
}

/* What nobody knows is ignored. */
static void hide_clock(uint8_t *buf, size_t len)
{
    static const char name[] = "\"clock\"";
    uint8_t *at = memmem(buf, len, name, sizeof(name) - 1);

    if (at != NULL)
        memcpy(at, "\"clack\"", sizeof(name) - 1);
}

static void fill(struct pair_relay *relay, int from)
{
    size_t most = relay->cut[from] - relay->done[from];
    ssize_t n;

    if (most > sizeof(relay->buf[from]))
        most = sizeof(relay->buf[from]);
    n = recv(relay->fds[from], relay->buf[from], most, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        end_direction(relay, from);
        return;
    }
    relay->start[from] = 0;
    relay->end[from] = (size_t)n;
    if (relay->record[from] != NULL)
        memcpy(relay->record[from] + relay->done[from], relay->buf[from],
               (size_t)n);
    relay->done[from] += (size_t)n;
    if (relay->ages[from])
        hide_clock(relay->buf[from], (size_t)n);
}

static void pass_on(struct pair_relay *relay, int from)
{
    ssize_t n = send(relay->fds[!from], relay->buf[from] + relay->start[from],
                     pending(relay, from), MSG_NOSIGNAL);

    if (n > 0)
        relay->start[from] += (size_t)n;
    else if (errno != EAGAIN)
        end_direction(relay, from);
}

static void pump(struct pair_relay *relay, int from)
{
    if (pending(relay, from) == 0 && !relay->ended[from] &&
        relay->done[from] < relay->cut[from])
        fill(relay, from);
    if (pending(relay, from) > 0)
        pass_on(relay, from);
    if (pending(relay, from) == 0 && relay->done[from] >= relay->cut[from] &&
        !relay->freezes)
        relay_close(relay);
}

void relay_pump(struct pair_relay *relay)
{
    for (int from = 0; from < 2; from++)
        if (relay->fds[0] >= 0)
            pump(relay, from);
}
