/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Target: hears the hello, makes the devices ready, and takes the stream, event
 * by event, as fast as the devices take what is in it.
 */
#include <errno.h>
#include <stdlib.h>

#include "device/state.h"
#include "migration/hello.h"
#include "migration/target.h"
#include "stream/expect.h"
#include "util/clock.h"
#include "util/error.h"

/* A vfmig describes its devices and nothing else: 64 of them are far below. */
#define MAX_VMDESCRIPTION (1 << 20)

/* What one dispatch takes before the caller's loop has its turn. */
#define EVENTS_MAX        512

enum { HEAR, ANSWERING };

/* Answers; a refusal is an error of ours too, once it was sent. */
static int answer(struct vfm_migration *m, const struct vfm_error *refusal,
                  struct vfm_error *err)
{
    size_t len;
    int ret =
        hello_build_answer(m, refusal->code == 0 ? NULL : refusal->message,
                           &m->target.text, &len, err);

    if (ret < 0)
        return ret;
    outbox_begin(&m->outbox);
    outbox_set_body(&m->outbox, m->target.text, len);
    m->target.refusal = *refusal;
    m->step = ANSWERING;
    return 0;
}

static int hear_hello(struct vfm_migration *m, struct vfm_error *err)
{
    struct vfm_error refusal = { 0 };
    const char *json;
    size_t len;
    int ret = talk_hear_hello(m, &json, &len, err);

    if (ret < 0)
        return ret;
    m->target.heard_at = clock_now();
    hello_check(m, json, len, &refusal);
    return answer(m, &refusal, err);
}

int target_hello(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    if (!peer_is(m, VFM_PEER_VFMIG))
        return 0;
    if (m->step == HEAR)
        ret = hear_hello(m, err);
    if (ret == 0)
        ret = talk_flush(m, err);
    if (ret == 0 && m->target.refusal.code != 0) {
        *err = m->target.refusal;
        return err->code;
    }
    return talk_wait(m, ret, err);
}

static enum vfm_state want_resuming(const struct vfm_migration *m,
                                    const struct member *member)
{
    (void)m;
    (void)member;
    return VFM_STATE_RESUMING;
}

static bool until_a_section_begins(const struct vfm_migration *m)
{
    return m->target.has_event &&
           m->target.event.type == VFM_STREAM_SECTION_BEGIN;
}

static bool until_setup_is_over(const struct vfm_migration *m)
{
    const struct vfm_stream_section *section = &m->target.event.section;

    return m->target.has_event && m->target.event.type != 0 &&
           (section->type == VFM_SECTION_PART ||
            section->type == VFM_SECTION_END ||
            section->type == VFM_SECTION_FULL);
}

static int make_decoder(struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_decoder_options options = {
        .size = sizeof(options),
        .require_vmdescription = peer_is(m, VFM_PEER_VFMIG),
        .allow_multifd = has_lanes(m),
        .max_vmdescription = peer_is(m, VFM_PEER_VFMIG) ? MAX_VMDESCRIPTION : 0,
    };

    if (m->target.decoder != NULL)
        return 0;
    if (m->ram != NULL && ram_load_new(m->ram, &m->target.ram) < 0)
        return error_set(err, -ENOMEM, "ram: out of memory");
    return vfm_decoder_new(&options, &m->target.decoder, err);
}

/* Whether @member is in the middle of what somebody else has begun, or out of
 * order. */
static bool needs_reset(const struct member *member)
{
    enum vfm_state state = vfm_device_state(member->dev);

    return state == VFM_STATE_ERROR || state_session(state) != SESSION_NONE;
}

static void start_reset(struct member *member)
{
    member->touched = true;
    member->recovering = true;
    member->initial = VFM_STATE_RUNNING;
    device_recover_by_reset_start(member->dev, VFM_STATE_RUNNING);
}

/* Whatever a target's devices hold is worth nothing; what a former session has
 * left in them must not get into this one. */
static int clear_devices(struct vfm_migration *m, struct vfm_error *err)
{
    int busy = 0;

    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];
        enum vfm_recovery how = VFM_RECOVERY_NONE;

        if (!member->recovering && needs_reset(member))
            start_reset(member);
        if (!member->recovering)
            continue;
        if (device_recover_finish(member->dev, &how) == -EAGAIN) {
            busy = -EAGAIN;
            continue;
        }
        member->recovering = false;
        tell_state(m, member);
        if (how == VFM_RECOVERY_FAILED)
            return error_set(err, -EBUSY,
                             "%s: was left as it is by somebody else, and "
                             "cannot be reset",
                             member->id);
    }
    return busy;
}

static int say_ready(struct vfm_migration *m, struct vfm_error *err)
{
    int ret =
        m->target.tells_ready ? talk_say(m, MESSAGE_READY, NULL, 0, err) : 0;

    if (ret == 0)
        m->said = false;
    return ret;
}

/* What they are before they are loaded is not asked for when everybody waits.
 * Who does not tell in RESUMING is asked in STOP. */
static int look_at_configs(struct vfm_migration *m)
{
    int busy = 0;

    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[i];
        enum vfm_cause cause;

        if (member->keeper.is_set ||
            (m->target.configs_asked && !device_is_busy(member->dev)))
            continue;
        cause = spend_for(m, VFM_CAUSE_DEVICE, member);
        if (pci_state_prepare_apply(&member->config, member->dev, NULL) ==
            -EAGAIN)
            busy = -EAGAIN;
        spend(m, cause);
    }
    m->target.configs_asked = true;
    return busy;
}

enum { JOIN, JUDGE, CLEAR, PREPARE, LOOK, READY, LOAD };

/* What is no stream, or not for us, costs no device its state: the beginning is
 * read before the devices are made ready. */
static int setup_step(struct vfm_migration *m, struct vfm_error *err)
{
    switch (m->step) {
    case JOIN:
        return has_lanes(m) ? target_join_lanes(m, err) : 0;
    case JUDGE:
        return target_load(m, until_a_section_begins, err);
    case CLEAR:
        return clear_devices(m, err);
    case PREPARE:
        return members_move(m, want_resuming, NULL, err);
    case LOOK:
        return look_at_configs(m);
    case READY:
        return say_ready(m, err);
    case LOAD:
    default:
        return target_load(m, until_setup_is_over, err);
    }
}

int target_setup(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = make_decoder(m, err);

    target_tell_progress(m);
    while (ret == 0 && m->step <= LOAD) {
        ret = setup_step(m, err);
        if (ret == 0)
            m->step++;
    }
    return talk_wait(m, ret, err);
}

static bool until_source_stops(const struct vfm_migration *m)
{
    return m->target.source_stopped;
}

int target_pre_copy(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    target_tell_progress(m);
    ret = lanes_watch(m, err);
    if (ret == 0)
        ret = target_load(m, until_source_stops, err);
    if (ret == 0) {
        spend(m, VFM_CAUSE_SELF);
        m->stopped_at = spent_stopped(&m->spent);
    }
    return talk_wait(m, ret, err);
}

static bool until_the_end(const struct vfm_migration *m)
{
    return m->target.stream_over;
}

int target_complete(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    target_tell_progress(m);
    ret = target_load(m, until_the_end, err);
    if (ret == 0 || ret == -EAGAIN) {
        int lanes = target_load_lanes(m, err);

        ret = lanes < 0 ? lanes : ret;
    }
    return talk_wait(m, ret, err);
}

/* The decoder knows the offset, but not whose stream it is. */
static int name_stream(const struct vfm_migration *m, int ret,
                       struct vfm_error *err)
{
    return error_set(err, ret, "%s: %s", vfm_channel_name(m->channel),
                     err->message);
}

/* More bytes, or the end of them. */
static int fill(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = talk_fill(m, err);

    if (ret != -ENODATA)
        return ret;
    ret = vfm_decoder_finish(m->target.decoder, err);
    if (ret < 0) {
        m->failed_at_peer = true;
        m->target.stream_cut = true;
        return name_stream(m, ret, err);
    }
    m->target.stream_over = true;
    return 0;
}

/* The device has no room, which counts as its time, or has it again. */
static void note_busy(struct target *t, bool busy)
{
    int64_t now = clock_now();

    if (busy && t->busy_since == 0)
        t->busy_since = now;
    if (busy || t->busy_since == 0)
        return;
    t->busy_ns += (uint64_t)(now - t->busy_since);
    t->busy_since = 0;
}

/* Device data goes where the device takes it from, if it has such a place.
 * Returns 1 if it was received there, 0 if the inbox must do, or is to be
 * asked for the end of the stream. */
static int land(struct vfm_migration *m, struct vfm_error *err)
{
    struct target *t = &m->target;
    uint64_t expected = decoder_data_expected(t->decoder);
    enum vfm_cause cause;
    int ret;

    if (expected == 0 || t->loading == NULL)
        return 0;
    cause = spend(m, VFM_CAUSE_DEVICE);
    ret = landing_begin(&t->landing, t->loading->dev, expected, &m->inbox, err);
    spend(m, cause);
    if (ret != 0)
        note_busy(t, ret == -EAGAIN);
    if (ret <= 0)
        return wish_data(m, ret);
    return talk_land(m, &t->landing, err);
}

/* The next event, if the bytes that are there hold one. */
static int next_event(struct vfm_migration *m, struct vfm_error *err)
{
    struct target *t = &m->target;
    int ret = land(m, err);
    bool landed = ret == 1;
    size_t used;

    if (ret < 0)
        return ret;
    ret = vfm_decoder_next(
        t->decoder, landed ? t->landing.room : inbox_data(&m->inbox),
        landed ? t->landing.have : inbox_len(&m->inbox), &used, &t->event, err);
    if (ret < 0)
        return name_stream(m, ret, err);
    if (!landed)
        inbox_use(&m->inbox, used);
    t->has_event = ret == 1;
    t->event_used = 0;
    if (ret == 0 && vfm_decoder_done(t->decoder))
        t->stream_over = true;
    else if (ret == 0)
        return fill(m, err);
    return 0;
}

int target_load(struct vfm_migration *m, until_fn *until, struct vfm_error *err)
{
    struct target *t = &m->target;

    for (unsigned int n = 0; n < EVENTS_MAX; n++) {
        int ret;

        if (until(m) || t->stream_over)
            return 0;
        if (!t->has_event) {
            ret = next_event(m, err);
            if (ret < 0)
                return ret;
            continue;
        }
        ret = target_use_event(m, err);
        if (ret < 0)
            return ret;
        t->has_event = false;
    }
    wish_wake(m, 0);
    return -EAGAIN;
}
