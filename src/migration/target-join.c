/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Target: several channels.  Whoever connects is a stranger until his first
 * packet has the nonce that the source's hello had.  What else comes is turned
 * away, and does the migration no harm.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "migration/lane.h"
#include "migration/migration.h"
#include "stream/format.h"
#include "util/error.h"

/* Tells no more of them than that. */
#define WARNINGS_MAX 4

static void forget(struct lanes *l, unsigned int i)
{
    vfm_multifd_decoder_free(l->strangers[i].decoder);
    memmove(&l->strangers[i], &l->strangers[i + 1],
            (--l->num_strangers - i) * sizeof(l->strangers[0]));
}

static void turn_away(struct vfm_migration *m, unsigned int i, const char *why)
{
    struct lanes *l = &m->lanes;
    struct vfm_channel *ch = l->strangers[i].channel;

    if (l->turned_away++ < WARNINGS_MAX)
        tell_warning(m,
                     "%s: a connection that is none of the source's was "
                     "turned away: %s",
                     vfm_channel_name(ch), why);
    vfm_channel_close(ch);
    forget(l, i);
}

static int add_stranger(struct vfm_migration *m, struct vfm_channel *ch,
                        struct vfm_error *err)
{
    const struct vfm_multifd_options options = {
        .size = sizeof(options),
        .max_device_data = LANE_CHUNK_MAX,
    };
    struct lanes *l = &m->lanes;
    struct stranger *s;
    int ret;

    /* The source says at once who it is, and whoever has been silent for the
     * longest is the least likely to be it. */
    if (l->num_strangers == STRANGERS_MAX)
        turn_away(m, 0, "it says nothing");
    s = &l->strangers[l->num_strangers];
    ret = vfm_multifd_decoder_new(&options, &s->decoder, err);
    if (ret < 0) {
        vfm_channel_close(ch);
        return ret;
    }
    s->channel = ch;
    l->num_strangers++;
    return 0;
}

/* Takes who has connected.  1 if somebody had. */
static int accept_one(struct vfm_migration *m, struct vfm_error *err)
{
    struct vfm_listener *listener = m->options.listener;
    struct pollfd pfd = { .fd = vfm_listener_fd(listener), .events = POLLIN };
    struct vfm_channel *ch;
    int ret;

    if (poll(&pfd, 1, 0) != 1)
        return 0;
    ret = vfm_listener_accept(listener, &ch, err);
    if (ret == 0)
        ret = add_stranger(m, ch, err);
    return ret < 0 ? ret : 1;
}

/* Takes the same time wherever they differ. */
static bool is_nonce(const struct vfm_migration *m, const uint8_t *nonce)
{
    unsigned int differ = 0;

    for (unsigned int i = 0; i < NONCE_BYTES; i++)
        differ |= (unsigned int)(m->lanes.nonce[i] ^ nonce[i]);
    return differ == 0;
}

/* It is the source's: a mistake from here on is the source's, too. */
static int welcome(struct vfm_migration *m, unsigned int i, unsigned int number,
                   struct vfm_error *err)
{
    struct lanes *l = &m->lanes;
    struct vfm_channel *ch = l->strangers[i].channel;
    struct lane *lane;
    int ret;

    if (number >= l->count)
        return error_set(err, -EPROTO,
                         "%s: the source opens channel %u where %u were agreed "
                         "upon",
                         vfm_channel_name(ch), number, l->count);
    if (l->lanes[number] != NULL)
        return error_set(err, -EPROTO, "%s: the source opens channel %u twice",
                         vfm_channel_name(ch), number);
    ret = lane_add(m, ch, number, &lane, err);
    if (ret == 0) {
        lane->decoder = l->strangers[i].decoder; /* it is behind INIT */
        l->strangers[i].decoder = NULL;
        m->heard_at = clock_now();
    }
    forget(l, i);
    return ret;
}

/* Reads its first packet, and not a byte of what is behind it.  1 and *@ev,
 * -EAGAIN, or an error. */
static int read_first(const struct stranger *s, struct vfm_multifd_event *ev,
                      struct vfm_error *why)
{
    uint8_t buf[MULTIFD_INIT_BYTES];
    int ret = 0;

    while (ret == 0) {
        uint64_t have = vfm_multifd_decoder_offset(s->decoder);
        size_t used;
        ssize_t n =
            vfm_channel_recv(s->channel, buf, sizeof(buf) - (size_t)have, why);

        if (n == 0)
            return error_set(why, -ECONNRESET, "it hung up");
        if (n < 0)
            return (int)n;
        ret = vfm_multifd_decoder_next(s->decoder, buf, (size_t)n, &used, ev,
                                       why);
    }
    return ret;
}

/* 1 if it is no stranger any more, or was turned away; 0 if it has not said
 * all of it yet. */
static int listen_to(struct vfm_migration *m, unsigned int i,
                     struct vfm_error *err)
{
    struct vfm_multifd_event ev = { 0 };
    struct vfm_error why = { 0 };
    int ret = read_first(&m->lanes.strangers[i], &ev, &why);

    if (ret == -EAGAIN)
        return 0;
    if (ret < 0) {
        turn_away(m, i, why.message);
        return 1;
    }
    if (!is_nonce(m, ev.u.init.uuid)) {
        turn_away(m, i, "it does not know this migration's number");
        return 1;
    }
    ret = welcome(m, i, ev.u.init.channel, err);
    return ret < 0 ? ret : 1;
}

static int listen_to_all(struct vfm_migration *m, struct vfm_error *err)
{
    unsigned int i = 0;

    while (i < m->lanes.num_strangers) {
        int ret = listen_to(m, i, err);

        if (ret < 0)
            return ret;
        i += ret == 0;
    }
    return 0;
}

/* A source that has sent its hello has no reason to wait. */
static int check_deadline(struct vfm_migration *m, struct vfm_error *err)
{
    int64_t until = m->stage_began_at + peer_timeout_ns(m);

    wish_wake(m, until);
    if (clock_now() < until)
        return -EAGAIN;
    m->failed_at_peer = true;
    return error_set(err, -ETIMEDOUT,
                     "%s: %u of %u channels were opened within %u ms",
                     vfm_channel_name(m->channel), m->lanes.joined,
                     m->lanes.count, m->options.peer_timeout_ms);
}

static void let_strangers_go(struct lanes *l)
{
    while (l->num_strangers > 0) {
        vfm_channel_close(l->strangers[0].channel);
        forget(l, 0);
    }
}

/* One that went away opens no channel.  It may be ahead of us with its stream:
 * that is kept, as far as there is room. */
static int watch_source(struct vfm_migration *m, struct vfm_error *err)
{
    bool has_room = inbox_len(&m->inbox) < m->inbox.size / 2;
    int ret = has_room ? talk_fill(m, err) : 0;

    if (ret != -ENODATA)
        return ret == -EAGAIN ? 0 : ret;
    m->failed_at_peer = true;
    return error_set(err, -ECONNRESET,
                     "%s: the source hung up when %u of %u channels were open",
                     vfm_channel_name(m->channel), m->lanes.joined,
                     m->lanes.count);
}

int target_join_lanes(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = watch_source(m, err);

    if (ret < 0)
        return ret;

    for (unsigned int n = 0; n < FILLS_MAX; n++) {
        ret = listen_to_all(m, err);
        if (ret < 0)
            return ret;
        if (m->lanes.joined == m->lanes.count) {
            let_strangers_go(&m->lanes);
            return 0;
        }
        ret = accept_one(m, err);
        if (ret <= 0)
            break;
    }
    if (ret > 0)
        wish_wake(m, 0);
    m->wishes.join = true;
    return ret < 0 ? ret : check_deadline(m, err);
}

int target_join_fds(const struct vfm_migration *m, struct pollfd *fds,
                    int64_t *ready_at)
{
    int64_t at;
    int n = 0;

    *ready_at = CLOCK_NEVER;
    fds[n++] = (struct pollfd){ .fd = vfm_listener_fd(m->options.listener),
                                .events = POLLIN };
    for (unsigned int i = 0; i < m->lanes.num_strangers; i++) {
        n += vfm_channel_poll_fds(m->lanes.strangers[i].channel, false, true,
                                  fds + n, &at);
        *ready_at = clock_min(*ready_at, at);
    }
    return n;
}
