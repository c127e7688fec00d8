/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: hears that all is loaded, gives the devices away, hears that they
 * run.  source_yours() is the only place where they stop being ours, but for a
 * QEMU, which takes the end of the stream for it (source-complete.c).
 */
#include <errno.h>

#include "migration/source.h"
#include "util/clock.h"

/* Nobody will answer: the stream is all there is, and it is complete when the
 * channel says that it is kept. */
static int finish_channel(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = vfm_channel_finish(m->channel, err);

    if (ret == 0 && !m->options.keep_running)
        note_downtime(m);
    if (ret < 0 && ret != -EAGAIN)
        m->failed_at_peer = true;
    return ret;
}

/* Goes on listening until *@heard.  The target tells its progress all the
 * while, so that silence means that it is gone. */
static int wait_for(struct vfm_migration *m, const bool *heard, int ret,
                    struct vfm_error *err)
{
    if (ret == 0 && !*heard)
        ret = -EAGAIN;
    return talk_wait(m, ret, err);
}

int source_loaded(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (m->options.keep_running)
        return 0; /* the disk keeps no device waiting that stays ours */
    if (!peer_is(m, VFM_PEER_VFMIG) && !has_return_path(m))
        return finish_channel(m, err);
    /* A target that failed since is given nothing. */
    ret = source_listen(m, err);
    if (m->source.loaded && has_return_path(m)) {
        ret = 0; /* it hangs up at once */
        note_downtime(m);
    }
    return wait_for(m, &m->source.loaded, ret, err);
}

int source_yours(struct vfm_migration *m, struct vfm_error *err)
{
    const uint8_t run = !m->paused;
    int ret;

    if (!peer_is(m, VFM_PEER_VFMIG))
        return 0;
    if (m->step == 0) {
        message_put(&m->outbox, MESSAGE_YOURS, &run, sizeof(run));
        m->source.asked_at = clock_now();
        m->step = 1;
    }
    ret = talk_flush(m, err);
    /* One byte may be all of it, for all we know of what a broken link has
     * delivered. */
    if (m->outbox.sent > 0)
        m->source.given = true;
    return talk_wait(m, ret, err);
}

/* Only a copy was written: the devices go on here. */
static int go_on_running(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (m->paused)
        return members_move(m, want_stop, NULL, err);
    ret = members_start(m, &m->quiet, NULL, err);
    if (ret == 0)
        ret = vm_start(m, err);
    if (ret == 0)
        note_downtime(m);
    return ret;
}

int source_start(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (m->options.keep_running)
        return go_on_running(m, err);
    if (!peer_is(m, VFM_PEER_VFMIG))
        return 0;
    ret = source_listen(m, err);
    if (m->source.running)
        ret = 0; /* whatever became of the connection since */
    ret = wait_for(m, &m->source.running, ret, err);
    if (ret == 0)
        note_downtime(m);
    return ret;
}

enum { STOP_DEVICES = 1, STOP_TRACKERS, HEAR, FINISH };

/* The devices are told to end what the migration has begun. */
static int end_sessions(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (m->step == STOP_DEVICES) {
        ret = members_move(m, want_stop, NULL, err);
        if (ret == -EAGAIN)
            return ret;
        if (ret < 0)
            tell_warning(m, "the devices could not be told to stop saving: %s",
                         err->message);
        m->step = STOP_TRACKERS;
    }
    ret = m->step == STOP_TRACKERS ? tracking_stop(m) : 0;
    if (ret == 0 && m->step < HEAR)
        m->step = HEAR;
    return ret;
}

/* The target tells what it did when.  It is waited for no longer than it would
 * be silent if it were busy. */
static int hear_spans(struct vfm_migration *m)
{
    int64_t until = m->stage_began_at + keep_alive_ns(m);
    bool may_come = m->source.running && m->source.clock.known;

    if (may_come && source_listen(m, NULL) == 0 && !m->source.told &&
        clock_now() < until) {
        wish_wake(m, until);
        return -EAGAIN;
    }
    m->step = FINISH;
    return 0;
}

/* The devices are the other side's: a failure to tidy up is no failure of the
 * migration. */
int source_cleanup(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (m->step == 0)
        m->step = m->options.keep_running ? STOP_TRACKERS : STOP_DEVICES;
    ret = end_sessions(m, err);
    if (ret == 0 && m->step == HEAR)
        ret = hear_spans(m);
    if (ret < 0)
        return ret;
    if (m->options.keep_running)
        return finish_channel(m, err);
    if (!peer_is(m, VFM_PEER_VFMIG) && !has_return_path(m))
        return 0;
    ret = vfm_channel_finish(m->channel, err);
    return ret == -EAGAIN ? ret : 0;
}
