/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection of the source and the one to the target that belongs to it.
 *
 * Each direction has one buffer, and more is read only when all of it is
 * written: who writes slowly slows down who sends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy.h"
#include "stream/format.h"
#include "util/bytes.h"
#include "util/error.h"

#define HALF_BYTES ((size_t)256 << 10)

/* What is moved before the others have their turn. */
#define TURNS_MAX  16

static int half_init(struct half *half, struct vfm_channel *from,
                     struct vfm_channel *to)
{
    half->from = from;
    half->to = to;
    half->buf = malloc(HALF_BYTES);
    return half->buf == NULL ? -ENOMEM : 0;
}

int link_open(struct vfm_channel *source, const char *uri,
              const struct vfm_channel_options *options, struct link **linkp,
              struct vfm_error *err)
{
    struct link *link = calloc(1, sizeof(*link));
    int ret = 0;

    if (link == NULL) {
        vfm_channel_close(source);
        return error_set(err, -ENOMEM, "out of memory");
    }
    link->source = source;
    strcpy(link->watched.name, "?");
    ret = vfm_channel_connect(uri, options, &link->target, err);
    if (ret == 0 && (half_init(&link->forward, source, link->target) < 0 ||
                     half_init(&link->back, link->target, source) < 0))
        ret = error_set(err, -ENOMEM, "out of memory");
    if (ret < 0) {
        link_close(link);
        return ret;
    }
    if (!vfm_channel_is_duplex(link->target) ||
        !vfm_channel_is_duplex(link->source))
        link->back.ended = link->back.finished = true;
    *linkp = link;
    return 0;
}

void link_close(struct link *link)
{
    if (link == NULL)
        return;
    watched_channel_free(&link->watched);
    vfm_channel_close(link->source);
    vfm_channel_close(link->target);
    free(link->forward.buf);
    free(link->back.buf);
    free(link);
}

/* ---------------------------------------------------------------------- */

static int make_decoder(struct link *link, struct vfm_error *err)
{
    const struct vfm_decoder_options options = {
        .size = sizeof(options),
        .allow_multifd = true,
    };
    struct watched_channel *ch = &link->watched;

    if (get_be32(link->first) == MULTIFD_MAGIC) {
        strcpy(ch->name, "multifd");
        return vfm_multifd_decoder_new(NULL, &ch->multifd, err);
    }
    strcpy(ch->name, "main");
    return vfm_decoder_new(&options, &ch->dec, err);
}

/* The first four bytes tell what it is.  Anything that is no multifd channel is
 * for the main stream's decoder to judge. */
static int look(struct link *link, struct watch *w, const uint8_t *data,
                size_t len)
{
    struct vfm_error err;
    int ret;

    while (!link->known && len > 0) {
        link->first[link->num_first++] = *data++;
        len--;
        if (link->num_first < sizeof(link->first))
            continue;
        link->known = true;
        ret = make_decoder(link, &err);
        if (ret < 0)
            return watch_fault(w, link->watched.name, 0, &err);
        ret =
            watch_forward(w, &link->watched, link->first, sizeof(link->first));
        if (ret < 0)
            return ret;
    }
    return len > 0 ? watch_forward(w, &link->watched, data, len) : 0;
}

static int look_at_end(struct link *link, struct watch *w)
{
    if (link->known)
        return watch_forward_end(w, &link->watched);
    return 0;
}

/* Writes what is in the buffer.  Returns 1 if it is empty afterwards. */
static int drain(struct half *half)
{
    while (half->at < half->len) {
        const struct iovec iov = { half->buf + half->at, half->len - half->at };
        ssize_t n = vfm_channel_send(half->to, &iov, 1, NULL);

        if (n == -EAGAIN)
            return 0;
        if (n < 0) {
            /* Nobody reads it any more: neither is it read from. */
            half->ended = half->finished = true;
            half->at = half->len;
            return 1;
        }
        half->at += (size_t)n;
    }
    return 1;
}

/* Reads.  Returns 1 if there is something new: bytes, or the end. */
static int fill(struct half *half)
{
    ssize_t n;

    if (half->ended)
        return 0;
    n = vfm_channel_recv(half->from, half->buf, HALF_BYTES, NULL);
    if (n == -EAGAIN)
        return 0;
    half->at = 0;
    half->len = n > 0 ? (size_t)n : 0;
    half->ended = n <= 0; /* broken is over, too */
    return 1;
}

static void finish(struct half *half)
{
    if (half->ended && !half->finished && half->at == half->len)
        half->finished = vfm_channel_finish(half->to, NULL) != -EAGAIN;
}

static int run_forward(struct link *link, struct watch *w, bool strict)
{
    struct half *half = &link->forward;
    int done = 0;

    for (int n = 0; n < TURNS_MAX && drain(half) > 0 && fill(half) > 0; n++) {
        int ret = half->len > 0 ? look(link, w, half->buf, half->len)
                                : look_at_end(link, w);

        done++;
        if (ret < 0 && strict) {
            half->len = 0; /* goes no further */
            return ret;
        }
    }
    finish(half);
    return done;
}

static int run_back(struct link *link, struct watch *w, bool strict)
{
    struct half *half = &link->back;
    int done = 0;

    while (drain(half) > 0 && fill(half) > 0) {
        int ret = 0;

        done++;
        if (half->len > 0 && link->watched.multifd == NULL)
            ret = watch_back(w, half->buf, half->len);
        if (half->ended && link->watched.multifd == NULL)
            proxy_timeline_tell(w->timeline, "return path", "channel",
                                w->back.offset, "the target ends it");
        if (ret < 0 && strict) {
            half->len = 0;
            return ret;
        }
    }
    finish(half);
    return done;
}

int link_run(struct link *link, struct watch *w, bool strict)
{
    int forward = run_forward(link, w, strict);
    int back = forward < 0 ? 0 : run_back(link, w, strict);

    if (forward < 0 || back < 0)
        return forward < 0 ? forward : back;
    return forward + back;
}

bool link_is_over(const struct link *link)
{
    return link->forward.finished && link->back.finished;
}

static int half_poll_fds(const struct half *half, struct pollfd fds[2],
                         int64_t *ready_at)
{
    if (half->at < half->len || (half->ended && !half->finished))
        return vfm_channel_poll_fds(half->to, half->at < half->len, false, fds,
                                    ready_at);
    if (half->ended)
        return 0;
    return vfm_channel_poll_fds(half->from, false, true, fds, ready_at);
}

int link_poll_fds(const struct link *link, struct pollfd fds[4],
                  int64_t *ready_at)
{
    int64_t forward = VFM_CHANNEL_NEVER;
    int64_t back = VFM_CHANNEL_NEVER;
    int n = half_poll_fds(&link->forward, fds, &forward);

    n += half_poll_fds(&link->back, fds + n, &back);
    *ready_at = forward < back ? forward : back;
    return n;
}
