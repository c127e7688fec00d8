/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine's rest and the devices that are on their way, put together.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "join.h"
#include "splice.h"
#include "util/clock.h"
#include "util/error.h"

#define DEVICES_MAX   64

/* Times the peer's timeout: a QEMU loads a machine before it answers. */
#define ANSWER_FACTOR 4

/* What the migration is told in QEMU's name when it hears nothing itself: SHUT,
 * and that it failed. */
static const uint8_t shut_failed[] = { 0, 1, 0, 4, 0, 0, 0, 1 };

struct join {
    struct vfm_channel *inner;
    struct vfm_channel *outer;
    const char *rest;
    uint32_t timeout_ms;
    char *words[DEVICES_MAX]; /* NAME=FILE, of the collected stream */
    size_t num_words;
    FILE *collected;
    bool complete; /* the migration's stream is */
    bool sent;
    bool over;     /* there is nothing left to pass on */
    int64_t until; /* QEMU's answer is waited for */
    struct vfm_decoder *dec;
    struct vfm_error failure;
    uint8_t buf[65536];
};

static int make_inner(struct join *j, struct vfm_channel **chp,
                      struct vfm_error *err)
{
    int fds[2];
    int ret;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return error_set(err, -errno, "cannot make a pair of sockets: %s",
                         strerror(errno));
    ret = vfm_channel_from_fd(fds[0], "the rest", NULL, &j->inner, err);
    if (ret < 0)
        close(fds[0]);
    else
        ret = vfm_channel_from_fd(fds[1], vfm_channel_name(j->outer), NULL, chp,
                                  err);
    if (ret < 0)
        close(fds[1]);
    return ret;
}

int join_open(struct vfm_channel *outer, const char *rest, uint32_t timeout_ms,
              struct join **joinp, struct vfm_channel **chp,
              struct vfm_error *err)
{
    struct join *j = calloc(1, sizeof(*j));
    int ret = 0;

    if (j == NULL) {
        vfm_channel_close(outer);
        return error_set(err, -ENOMEM, "%s: out of memory", rest);
    }
    j->outer = outer;
    j->rest = rest;
    j->timeout_ms = timeout_ms;
    j->collected = tmpfile();
    if (j->collected == NULL)
        ret = error_set(err, -errno, "cannot create a temporary file: %s",
                        strerror(errno));
    if (ret == 0)
        ret = vfm_decoder_new(NULL, &j->dec, err);
    if (ret == 0)
        ret = make_inner(j, chp, err);
    if (ret < 0) {
        join_close(j);
        return ret;
    }
    *joinp = j;
    return 0;
}

int join_add_device(struct join *j, const char *id, struct vfm_error *err)
{
    char *word;

    if (j->num_words == DEVICES_MAX)
        return error_set(err, -E2BIG, "more than %d devices", DEVICES_MAX);
    if (asprintf(&word, "%s=/proc/self/fd/%d", id, fileno(j->collected)) < 0)
        return error_set(err, -ENOMEM, "%s: out of memory", id);
    j->words[j->num_words++] = word;
    return 0;
}

/* ---------------------------------------------------------------------- */

/* Returns whether the stream has come to its end. */
static int note(struct join *j, size_t len, struct vfm_error *err)
{
    const uint8_t *data = j->buf;
    struct vfm_stream_event ev;
    size_t used;
    int ret;

    if (fwrite(j->buf, 1, len, j->collected) != len)
        return error_set(err, -EIO, "cannot keep the devices' state: %s",
                         strerror(errno));
    do {
        ret = vfm_decoder_next(j->dec, data, len, &used, &ev, err);
        data += used;
        len -= used;
    } while (ret > 0);
    return ret < 0 ? ret : vfm_decoder_done(j->dec);
}

/* Returns 1 if there may be more, 0, or an error. */
static int collect(struct join *j, struct vfm_error *err)
{
    ssize_t n = vfm_channel_recv(j->inner, j->buf, sizeof(j->buf), err);
    int ret;

    if (n == -EAGAIN)
        return 0;
    if (n == 0) {
        j->over = true; /* it failed, and says so itself */
        return 0;
    }
    if (n < 0)
        return (int)n;
    ret = note(j, (size_t)n, err);
    j->complete = ret > 0;
    if (j->complete && fflush(j->collected) != 0)
        return error_set(err, -errno, "cannot keep the devices' state: %s",
                         strerror(errno));
    return ret < 0 ? ret : !j->complete;
}

static int make_plan(struct join *j, struct part *parts, struct plan *plan,
                     struct vfm_error *err)
{
    struct vfm_error why = { 0 };
    int ret = 0;

    plan->ask = true;
    for (size_t i = 0; ret == 0 && i < j->num_words; i++)
        ret = part_open(&parts[i], j->words[i], err);
    if (ret < 0)
        return ret;
    ret = plan_make(plan, j->rest, parts, j->num_words, &why);
    return ret < 0 ? error_set(err, ret, "%s: %s", j->rest, why.message) : 0;
}

/* The machine, with the devices. */
static int send_all(struct join *j, bool *given, struct vfm_error *err)
{
    struct part parts[DEVICES_MAX] = { 0 };
    struct plan plan = { 0 };
    int ret = make_plan(j, parts, &plan, err);

    if (ret == 0)
        ret = plan_write(&plan, j->outer, j->timeout_ms, given, err);
    plan_free(&plan);
    for (size_t i = 0; i < j->num_words; i++)
        part_close(&parts[i]);
    return ret;
}

/* Far less than a socket holds. */
static int say_all(struct join *j, const char *data, size_t len,
                   struct vfm_error *err)
{
    while (len > 0) {
        const struct iovec iov = { (void *)data, len };
        ssize_t n = vfm_channel_send(j->inner, &iov, 1, err);

        if (n < 0)
            return (int)n;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* What the migration cannot be told it must not wait for: who hangs up has said
 * nothing, and then somebody has to look. */
static void say(struct join *j, const void *data, size_t len)
{
    struct vfm_error *first = j->failure.code == 0 ? &j->failure : NULL;

    if (say_all(j, data, len, first) == 0)
        return;
    j->over = true;
    vfm_channel_close(j->inner);
    j->inner = NULL;
}

/* Nothing that QEMU could run has left: the devices are still the migration's,
 * which hears it as if from QEMU. */
static void give_back(struct join *j, const struct vfm_error *why)
{
    if (j->failure.code == 0)
        j->failure = *why;
    j->over = true;
    say(j, shut_failed, sizeof(shut_failed));
}

/* Returns 1 if there may be more. */
static int pass_answers(struct join *j)
{
    struct vfm_error why = { 0 };
    ssize_t n;

    if (j->over)
        return 0;
    n = vfm_channel_recv(j->outer, j->buf, sizeof(j->buf), &why);
    if (n == -EAGAIN)
        return 0;
    if (n > 0) {
        say(j, j->buf, (size_t)n);
        return 1;
    }
    /* Of a peer that hung up the migration says so itself. */
    if (n < 0 && n != -ECONNRESET && j->failure.code == 0)
        j->failure = why;
    j->over = true;
    vfm_channel_finish(j->inner, NULL);
    return 0;
}

/* Silence is no answer: somebody has to look. */
static void check_answer(struct join *j)
{
    if (!j->sent || j->over || clock_now() < j->until)
        return;
    error_set(
        &j->failure, -ETIMEDOUT,
        "%s: the QEMU there has not said whether it has loaded the stream",
        vfm_channel_name(j->outer));
    j->over = true;
    vfm_channel_finish(j->inner, NULL);
}

void join_run(struct join *j)
{
    struct vfm_error err = { 0 };
    bool given = false;
    int ret = 1;

    while (ret > 0 && !j->complete && !j->over)
        ret = collect(j, &err);
    if (ret >= 0 && j->complete && !j->sent && !j->over) {
        j->sent = true;
        ret = send_all(j, &given, &err);
        j->until =
            clock_now() + ANSWER_FACTOR * (int64_t)j->timeout_ms * NS_PER_MS;
    }
    if (ret < 0 && !given)
        give_back(j, &err);
    else if (ret < 0)
        j->failure = err;
    while (pass_answers(j) > 0)
        ;
    check_answer(j);
}

int join_poll_fds(const struct join *j, struct pollfd *fds, int64_t *ready_at)
{
    int64_t at;
    int n = 0;

    *ready_at = j->sent && !j->over ? j->until : VFM_CHANNEL_NEVER;
    if (!j->complete && !j->over)
        n += vfm_channel_poll_fds(j->inner, false, true, fds, &at);
    if (!j->over)
        n += vfm_channel_poll_fds(j->outer, false, true, fds + n, &at);
    return n;
}

const struct vfm_error *join_failure(const struct join *j)
{
    return j->failure.code != 0 ? &j->failure : NULL;
}

void join_close(struct join *j)
{
    if (j == NULL)
        return;
    vfm_channel_close(j->inner);
    vfm_channel_close(j->outer);
    vfm_decoder_free(j->dec);
    if (j->collected != NULL)
        fclose(j->collected);
    for (size_t i = 0; i < j->num_words; i++)
        free(j->words[i]);
    free(j);
}
