/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pump's life, its connections, and the loop over all of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "interrupt.h"
#include "pump.h"
#include "say.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"

/* What is done before the migration has its turn. */
#define TURNS_MAX 64

#define INNER     "the pump"

static int make_inner(struct pump *p, struct vfm_channel **chp,
                      struct vfm_error *err)
{
    const char *name = vfm_channel_name(p->main.from);
    int fds[2];
    int ret;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return error_set(err, -errno, "cannot make a pair of sockets: %s",
                         strerror(errno));
    ret = vfm_channel_from_fd(fds[0], INNER, NULL, &p->inner, err);
    if (ret < 0)
        close(fds[0]);
    else
        ret = vfm_channel_from_fd(fds[1], name, NULL, chp, err);
    if (ret < 0)
        close(fds[1]);
    p->feed.to = p->inner;
    p->inner_fd = fds[0];
    return ret;
}

/* ---------------------------------------------------------------------- */

/* A connection that has not said yet what it is. */
struct guest {
    struct vfm_channel *channel;
    uint8_t first[4];
    size_t have;
};

static int add_channel(struct pump *p, struct guest *guest,
                       struct vfm_error *err)
{
    const struct vfm_multifd_options options = {
        .size = sizeof(options),
        .channels = p->expected,
    };
    struct pump_channel *ch = calloc(1, sizeof(*ch));
    char *name = NULL;
    int ret = 0;

    if (ch == NULL) {
        error_set(err, -ENOMEM, "%s: out of memory",
                  vfm_channel_name(guest->channel));
        return -ENOMEM;
    }
    p->channels[p->num_channels] = ch;
    if (p->rest != NULL &&
        asprintf(&name, "%s.channel-%u", p->rest, p->num_channels) < 0)
        ret = error_set(err, -ENOMEM, "%s: out of memory",
                        vfm_channel_name(guest->channel));
    p->num_channels++;
    if (ret == 0)
        ret = tap_open(&ch->tap, guest->channel, name, err);
    free(name);
    guest->channel = NULL;
    if (ret == 0)
        ret = vfm_multifd_decoder_new(&options, &ch->dec, err);
    return ret;
}

/* Puts the bytes that told what it is where they belong. */
static int put_first(struct tap *tap, const struct guest *guest,
                     struct vfm_error *err)
{
    tap->raw_size = (size_t)1 << 20;
    tap->raw = malloc(tap->raw_size);
    if (tap->raw == NULL)
        return error_set(err, -ENOMEM, "%s: out of memory",
                         vfm_channel_name(tap->from));
    memcpy(tap->raw, guest->first, guest->have);
    tap->raw_len = guest->have;
    return 0;
}

static int assign(struct pump *p, struct guest *guest, struct vfm_error *err)
{
    bool multifd = get_be32(guest->first) == MULTIFD_MAGIC;
    struct tap *tap = &p->main;
    int ret;

    if (multifd && p->num_channels == p->expected)
        return error_set(err, -EPROTO,
                         "more than the %u multifd channels that were expected",
                         p->expected);
    if (!multifd && p->main.from != NULL)
        return error_set(err, -EPROTO,
                         "a second connection that is no multifd "
                         "channel");
    if (multifd) {
        ret = add_channel(p, guest, err);
        if (ret == 0)
            tap = &p->channels[p->num_channels - 1]->tap;
    } else {
        ret = tap_open(tap, guest->channel, p->rest, err);
        guest->channel = NULL;
    }
    return ret < 0 ? ret : put_first(tap, guest, err);
}

/* Reads what tells.  1 when it is known. */
static int hear(struct guest *guest, struct vfm_error *err)
{
    ssize_t n = vfm_channel_recv(guest->channel, guest->first + guest->have,
                                 sizeof(guest->first) - guest->have, err);

    if (n == -EAGAIN)
        return 0;
    if (n == 0)
        return error_set(err, -ECONNRESET,
                         "%s: hung up before it said what it is",
                         vfm_channel_name(guest->channel));
    if (n < 0)
        return (int)n;
    guest->have += (size_t)n;
    return guest->have == sizeof(guest->first);
}

/* Waits for somebody to come or to say something. */
static int wait_for_guests(const struct pump *p, struct guest *guests,
                           unsigned int num_guests, unsigned int count,
                           int cancel_fd, int64_t until, struct vfm_error *err)
{
    struct pollfd fds[2 * PUMP_CHANNELS_MAX + 4];
    int fd = vfm_listener_fd(p->listener);
    int64_t ready_at;
    nfds_t n = 0;

    fds[n++] = (struct pollfd){ .fd = cancel_fd, .events = POLLIN };
    if (num_guests < count && fd >= 0)
        fds[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
    for (unsigned int i = 0; i < num_guests; i++)
        if (guests[i].channel != NULL)
            n += (nfds_t)vfm_channel_poll_fds(guests[i].channel, false, true,
                                              fds + n, &ready_at);
    poll(fds, n, clock_poll_timeout(until));
    if (interrupt_is_pending())
        return error_set(err, -ECANCELED, "nothing was touched");
    if (clock_now() >= until)
        return error_set(err, -ETIMEDOUT,
                         "%u connections of %u have come and said what they "
                         "are",
                         p->num_channels + (p->main.from != NULL), count);
    return 0;
}

/* Somebody who comes and says nothing keeps nobody else from coming. */
static int gather(struct pump *p, int cancel_fd, struct vfm_error *err)
{
    struct guest guests[PUMP_CHANNELS_MAX + 1] = { 0 };
    unsigned int count = p->expected + 1;
    unsigned int num_guests = 0;
    unsigned int known = 0;
    int64_t until = 0;
    int ret = 0;

    while (ret == 0 && known < count) {
        struct pollfd fd = { vfm_listener_fd(p->listener), POLLIN, 0 };

        if (num_guests == 0 ||
            (num_guests < count && fd.fd >= 0 && poll(&fd, 1, 0) > 0)) {
            ret = vfm_listener_accept(p->listener, &guests[num_guests].channel,
                                      err);
            num_guests += ret == 0;
            /* The rest of them comes at once. */
            until = until == 0 ? clock_deadline(p->timeout_ms) : until;
        }
        for (unsigned int i = 0; ret == 0 && i < num_guests; i++) {
            if (guests[i].channel == NULL)
                continue;
            ret = hear(&guests[i], err);
            if (ret > 0) {
                known++;
                ret = assign(p, &guests[i], err);
            }
        }
        if (ret == 0 && known < count)
            ret = wait_for_guests(p, guests, num_guests, count, cancel_fd,
                                  until, err);
    }
    for (unsigned int i = 0; i < num_guests; i++)
        vfm_channel_close(guests[i].channel);
    return ret;
}

static int check_transport(const struct pump *p, struct vfm_error *err)
{
    if (p->expected > 0 && vfm_listener_fd(p->listener) < 0)
        return error_set(err, -EINVAL,
                         "%s: carries one connection, and multifd channels "
                         "need more",
                         vfm_listener_address(p->listener));
    return 0;
}

int pump_open(struct vfm_listener *listener, const struct pump_options *options,
              struct pump **pumpp, struct vfm_channel **chp,
              struct vfm_error *err)
{
    const struct vfm_decoder_options decoder = {
        .size = sizeof(decoder),
        .allow_multifd = options->channels > 0,
        .require_configuration = true,
        .require_vmdescription = true,
    };
    struct pump *p = calloc(1, sizeof(*p));
    int ret;

    if (p == NULL) {
        vfm_listener_close(listener);
        return error_set(err, -ENOMEM, INNER ": out of memory");
    }
    p->listener = listener;
    p->expected = options->channels;
    p->rest = options->rest;
    p->timeout_ms = options->timeout_ms;
    ret = check_transport(p, err);
    if (ret == 0)
        ret = gather(p, options->cancel_fd, err);
    if (ret == 0)
        ret = vfm_decoder_new(&decoder, &p->dec, err);
    if (ret == 0)
        ret = make_inner(p, chp, err);
    if (ret < 0) {
        pump_close(p);
        return ret;
    }
    p->moved_at = p->told_at = clock_now();
    *pumpp = p;
    return 0;
}

int pump_add_device(struct pump *p, const char *id, struct vfm_error *err)
{
    struct pump_device *dev = &p->devices[p->num_devices];

    if (p->num_devices == PUMP_DEVICES_MAX)
        return error_set(err, -E2BIG, "more than %d devices", PUMP_DEVICES_MAX);
    snprintf(dev->section, sizeof(dev->section), "%.240s/vfio", id);
    p->num_devices++;
    return 0;
}

/* ---------------------------------------------------------------------- */

static bool is_complete(const struct pump *p)
{
    for (size_t i = 0; i < p->num_devices; i++)
        if (!p->devices[i].full || p->devices[i].config == NULL ||
            (p->devices[i].window != NULL &&
             !vfm_multifd_window_complete(p->devices[i].window)))
            return false;
    return p->over;
}

/* Devices that the stream has nothing of are the migration's to miss. */
static int check_devices(const struct pump *p, struct vfm_error *err)
{
    for (size_t i = 0; p->over && i < p->num_devices; i++)
        if (!p->devices[i].full)
            return error_set(
                err, -ENODATA, "%s: the stream holds no state for '%s'",
                vfm_channel_name(p->main.from), p->devices[i].section);
    return pump_check_missing(p, err);
}

/* What is kept is on the disk before anybody hears that all is well. */
static int keep_rest(struct pump *p, struct vfm_error *err)
{
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < p->num_channels; i++) {
        struct tap *tap = &p->channels[i]->tap;

        ret = tap_mark(tap, tap->raw_at + tap->fed, tap->keep, err);
        if (ret == 0)
            ret = tap_finish(tap, err);
    }
    return ret < 0 ? ret : tap_finish(&p->main, err);
}

static int end(struct pump *p, struct vfm_error *err)
{
    int ret = 0;

    if (p->done || !is_complete(p) || p->feed.owner != NULL)
        return check_devices(p, err);
    if (p->step == 0)
        ret = keep_rest(p, err);
    if (ret == 0)
        ret = feed_end(p, err);
    p->done = ret == 1;
    return ret < 0 ? ret : 0;
}

/* A QEMU that is not answered waits in vain.  Once the migration has its stream
 * it is the migration that says how it ended, and of this there is a warning.
 */
static void lose_answer(struct pump *p, const struct vfm_error *why)
{
    if (p->done)
        say_warning("QEMU may not have got the answer: %s", why->message);
    else if (p->failure.code == 0)
        p->failure = *why;
}

/* What the migration says, goes back as it is. */
static int run_back(struct pump *p)
{
    struct vfm_error err = { 0 };
    ssize_t n;

    if (p->back_at == p->back_len && !p->back_ended) {
        n = vfm_channel_recv(p->inner, p->back, sizeof(p->back), &err);
        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            lose_answer(p, &err);
        p->back_ended = n <= 0;
        p->back_at = 0;
        p->back_len = n > 0 ? (size_t)n : 0;
    }
    while (p->back_at < p->back_len) {
        const struct iovec iov = { p->back + p->back_at,
                                   p->back_len - p->back_at };

        n = vfm_channel_send(p->main.from, &iov, 1, &err);
        if (n == -EAGAIN)
            return 0;
        /* Behind a file or a pipe nobody waits for an answer. */
        if (n < 0 && vfm_channel_is_duplex(p->main.from))
            lose_answer(p, &err);
        p->back_at = n < 0 ? p->back_len : p->back_at + (size_t)n;
    }
    if (p->back_ended && !p->back_finished)
        p->back_finished = vfm_channel_finish(p->main.from, NULL) != -EAGAIN;
    return !p->back_ended;
}

static int turn(struct pump *p, struct vfm_error *err)
{
    int ret = pump_main_run(p, err);
    int done = ret;

    for (unsigned int i = 0; ret >= 0 && i < p->num_channels; i++) {
        ret = pump_channel_run(p, p->channels[i], err);
        done += ret;
    }
    if (ret >= 0)
        ret = end(p, err);
    if (ret >= 0)
        ret = feed_flush(&p->feed, err);
    return ret < 0 ? ret : done;
}

static int check_silence(struct pump *p, bool done, struct vfm_error *err)
{
    int64_t now = clock_now();

    /* A migration that is slow to load is not the source's fault. */
    if (done || p->feed.len > 0 || p->done)
        p->moved_at = now;
    if (now - p->moved_at < (int64_t)p->timeout_ms * NS_PER_MS)
        return 0;
    return error_set(
        err, -ETIMEDOUT, "%s: nothing came for %u ms where %s should be",
        vfm_channel_name(p->main.from), p->timeout_ms,
        p->over ? "the rest of a device's state" : "more of the stream");
}

/* The migration learns that its stream has ended too early, and says to QEMU
 * that it has failed. */
static void fail(struct pump *p)
{
    /* Not by the channel: one that could not send does not finish either. */
    shutdown(p->inner_fd, SHUT_WR);
}

void pump_run(struct pump *p)
{
    int ret = 1;
    bool done = false;

    for (int n = 0; ret > 0 && n < TURNS_MAX && p->failure.code == 0; n++) {
        ret = feed_flush(&p->feed, &p->failure);
        if (ret == 0)
            ret = turn(p, &p->failure);
        done = done || ret > 0;
    }
    /* What was received already wakes nobody. */
    p->has_more = ret > 0;
    if (p->failure.code == 0)
        check_silence(p, done, &p->failure);
    if (p->failure.code != 0)
        fail(p);
    while (run_back(p) > 0)
        ;
}

static int channel_fds(const struct vfm_channel *ch, bool send, bool recv,
                       struct pollfd *fds, int64_t *ready_at)
{
    int64_t at;
    int n = vfm_channel_poll_fds(ch, send, recv, fds, &at);

    *ready_at = clock_min(*ready_at, at);
    return n;
}

/* A connection is read if what it has said was used. */
static bool wants(const struct pump *p, const struct tap *tap, bool has_event)
{
    return !tap->ended && !has_event && !p->over && p->failure.code == 0;
}

int pump_poll_fds(const struct pump *p, struct pollfd *fds, int64_t *ready_at)
{
    bool saying = p->back_at < p->back_len;
    int n = 0;

    *ready_at = p->failure.code != 0 || p->done ? VFM_CHANNEL_NEVER
                : p->has_more
                    ? 0
                    : p->moved_at + (int64_t)p->timeout_ms * NS_PER_MS;
    n += channel_fds(p->inner, p->feed.len > 0, !saying && !p->back_ended,
                     fds + n, ready_at);
    n +=
        channel_fds(p->main.from, saying,
                    wants(p, &p->main, p->has_event) && feed_has_room(&p->feed),
                    fds + n, ready_at);
    for (unsigned int i = 0; i < p->num_channels; i++) {
        const struct pump_channel *ch = p->channels[i];

        if (!ch->tap.ended && !ch->has_event && !p->done &&
            p->failure.code == 0 && feed_has_room(&p->feed))
            n += channel_fds(ch->tap.from, false, true, fds + n, ready_at);
    }
    return n;
}

const struct vfm_error *pump_failure(const struct pump *p)
{
    return p->failure.code != 0 ? &p->failure : NULL;
}

/* The files that have their names already, of a stream that was not loaded. */
static void throw_away(const struct pump *p)
{
    if (p->rest == NULL || p->step == 0)
        return;
    unlink(p->main.name);
    for (unsigned int i = 0; i < p->num_channels; i++)
        unlink(p->channels[i]->tap.name);
}

/* QEMU reads what was said before it reads that we hung up: what it has sent
 * meanwhile is read, and left. */
static void linger(struct pump *p, int64_t until)
{
    static uint8_t buf[4096];
    ssize_t n = 1;

    while (n > 0 || (n == -EAGAIN && clock_now() < until)) {
        n = vfm_channel_recv(p->main.from, buf, sizeof(buf), NULL);
        if (n == -EAGAIN &&
            vfm_channel_wait(p->main.from, POLLIN, until, NULL) < 0)
            return;
    }
}

void pump_finish(struct pump *p, bool done)
{
    int64_t until = clock_now() + 2 * NS_PER_SEC;

    if (!done)
        throw_away(p);
    while (!p->back_finished && clock_now() < until) {
        bool saying = p->back_at < p->back_len;
        struct vfm_channel *ch = saying ? p->main.from : p->inner;

        if (run_back(p) == 0 && !p->back_finished &&
            vfm_channel_wait(ch, saying ? POLLOUT : POLLIN, until, NULL) < 0)
            break;
    }
    if (vfm_channel_is_duplex(p->main.from))
        linger(p, until);
}

void pump_close(struct pump *p)
{
    if (p == NULL)
        return;
    vfm_listener_close(p->listener);
    for (unsigned int i = 0; i < p->num_channels; i++) {
        tap_close(&p->channels[i]->tap);
        vfm_multifd_decoder_free(p->channels[i]->dec);
        free(p->channels[i]);
    }
    for (size_t i = 0; i < p->num_devices; i++) {
        free(p->devices[i].config);
        vfm_multifd_window_free(p->devices[i].window);
    }
    vfm_decoder_free(p->dec);
    tap_close(&p->main);
    vfm_channel_close(p->inner);
    free(p->feed.buf);
    free(p);
}
