/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Target: several channels.  Each packet is loaded when its turn has come, as
 * far as it is there; a lane whose packet has to wait is not read.
 */
#include <errno.h>
#include <inttypes.h>

#include "migration/lane.h"
#include "migration/migration.h"
#include "stream/expect.h"
#include "util/clock.h"
#include "util/error.h"

/* What a lane takes before the next has its turn, and all of them before the
 * caller's loop has. */
#define EVENTS_MAX 32
#define ROUNDS_MAX 16

/* What came of a lane's turn. */
enum turn { MOVED = 1, WAITS, IS_STUCK, IS_OVER };

static int fail_lane(const struct lane *lane, int ret, struct vfm_error *err)
{
    return error_set(err, ret, "channel %u: %s", lane->number, err->message);
}

static bool is_of_device(const struct vfm_multifd_event *ev)
{
    return ev->type == VFM_MULTIFD_DEVICE ||
           ev->type == VFM_MULTIFD_DEVICE_DATA ||
           ev->type == VFM_MULTIFD_DEVICE_CONFIG;
}

static int find_member(struct vfm_migration *m, const struct lane *lane,
                       struct member **memberp, struct vfm_error *err)
{
    const struct vfm_multifd_event *ev = &lane->event;

    *memberp = members_find(m, ev->u.device.name);
    if (*memberp != NULL && ev->u.device.instance_id == 0)
        return 0;
    return error_set(err, -ENODEV,
                     "channel %u: holds the state of \"%.128s\" %" PRIu32
                     ", for which no device is waiting",
                     lane->number, ev->u.device.name, ev->u.device.instance_id);
}

/* The rest of a packet whose turn it is goes where its device takes it from, if
 * it has such a place.  1 if it was received there, 0 if the inbox must do,
 * -EAGAIN, or an error. */
static int land(struct vfm_migration *m, struct lane *lane,
                struct vfm_error *err)
{
    uint64_t expected = multifd_data_expected(lane->decoder);
    struct member *member;
    enum vfm_cause cause;
    int ret;

    if (expected == 0 || !lane->counted || lane->unpacker != NULL)
        return 0;
    ret = find_member(m, lane, &member, err);
    if (ret < 0)
        return ret;
    cause = spend_for(m, VFM_CAUSE_DEVICE, member);
    ret =
        landing_begin(&lane->landing, member->dev, expected, &lane->inbox, err);
    spend(m, cause);
    return ret > 0 ? lane_land(m, lane, err) : wish_data(m, ret);
}

/* 1 and an event, 0 if more bytes are needed, or an error. */
static int decode(struct lane *lane, bool landed, struct vfm_error *err)
{
    const struct landing *l = &lane->landing;
    size_t used;
    int ret = vfm_multifd_decoder_next(
        lane->decoder, landed ? l->room : inbox_data(&lane->inbox),
        landed ? l->have : inbox_len(&lane->inbox), &used, &lane->event, err);

    if (ret < 0)
        return fail_lane(lane, ret, err);
    if (!landed)
        inbox_use(&lane->inbox, used);
    return ret;
}

/* The next event, if what is there holds one, or more comes.  1, 0, or an
 * error. */
static int next_event(struct vfm_migration *m, struct lane *lane,
                      struct vfm_error *err)
{
    int ret;

    while (!lane->has_event) {
        ret = land(m, lane, err);
        if (ret >= 0)
            ret = decode(lane, ret == 1, err);
        lane->has_event = ret > 0;
        if (ret == 0)
            ret = lane_fill(m, lane, err);
        if (ret < 0)
            return ret == -EAGAIN ? 0 : ret;
        lane->used = 0;
    }
    return 1;
}

/* Each index once, and none beyond the last. */
static int count_packet(struct lane *lane, struct member *member,
                        struct vfm_error *err)
{
    const struct vfm_multifd_event *ev = &lane->event;
    int ret;

    if (lane->counted)
        return 0;
    ret = vfm_multifd_window_add(member->window, ev->u.device.index,
                                 ev->type == VFM_MULTIFD_DEVICE_CONFIG, err);
    if (ret < 0)
        return error_set(err, ret, "channel %u: %s: %s", lane->number,
                         member->id, err->message);
    lane->counted = true;
    return 0;
}

/* Hands the event's data to the device.  0 when it has all of it. */
static int write_data(struct vfm_migration *m, struct lane *lane,
                      struct member *member, struct vfm_error *err)
{
    const struct vfm_multifd_event *ev = &lane->event;
    bool landed = landing_holds(&lane->landing, ev->data);
    int64_t began_at = clock_now();

    /* It is the device's once it is written. */
    if (landed && !lane->landing.noted)
        note_data(m, member, ev->data, ev->len, true, began_at);
    lane->landing.noted = landed;
    while (lane->used < ev->len) {
        const char *data = (const char *)ev->data + lane->used;
        enum vfm_cause cause = spend_for(m, VFM_CAUSE_DEVICE, member);
        ssize_t n = device_write(member->dev, data, ev->len - lane->used, err);

        spend(m, cause);
        if (n < 0)
            return wish_data(m, (int)n);
        if (!landed)
            note_data(m, member, data, (size_t)n, true, began_at);
        lane->used += (size_t)n;
        m->target.loaded_bytes += (uint64_t)n;
    }
    if (landed)
        lane->landing = (struct landing){ 0 };
    return 0;
}

static int use_event(struct vfm_migration *m, struct lane *lane,
                     struct member *member, struct vfm_error *err)
{
    const struct vfm_multifd_event *ev = &lane->event;

    if (ev->type == VFM_MULTIFD_DEVICE_DATA)
        return write_data(m, lane, member, err);
    if (ev->type == VFM_MULTIFD_DEVICE_CONFIG) {
        member->has_config = true;
        return pci_state_set(&member->config, ev->data, ev->len, err);
    }
    return 0;
}

static int take_device(struct vfm_migration *m, struct lane *lane,
                       struct vfm_error *err)
{
    const struct vfm_multifd_event *ev = &lane->event;
    struct member *member;
    int ret = find_member(m, lane, &member, err);

    if (ret == 0)
        ret = count_packet(lane, member, err);
    if (ret < 0)
        return ret;
    if (ev->u.device.index != member->next_packet)
        return IS_STUCK;
    /* A device that data lands in says so again. */
    if (ev->type == VFM_MULTIFD_DEVICE)
        lane->inbox.most = 0;
    ret = use_event(m, lane, member, err);
    if (ret < 0)
        return ret == -EAGAIN ? WAITS : ret;
    lane->has_event = false;
    if (ev->u.device.remaining == 0) {
        member->next_packet++;
        lane->counted = false;
    }
    return MOVED;
}

static int take_event(struct vfm_migration *m, struct lane *lane,
                      struct vfm_error *err)
{
    if (is_of_device(&lane->event))
        return take_device(m, lane, err);
    if (lane->event.type != VFM_MULTIFD_SYNC)
        return error_set(
            err, -EPROTO, "channel %u: holds what no vfmig sends on it: %s",
            lane->number, vfm_multifd_event_name(lane->event.type));
    lane->has_event = false;
    lane->over = true;
    return MOVED;
}

/* Returns an enum turn, or an error.  One that has moved may have been what
 * another waited for, also if it is over now. */
static int run_lane(struct vfm_migration *m, struct lane *lane,
                    struct vfm_error *err)
{
    unsigned int n;

    for (n = 0; n < EVENTS_MAX && !lane->over; n++) {
        int ret = next_event(m, lane, err);

        if (ret > 0)
            ret = take_event(m, lane, err);
        else if (ret == 0)
            ret = WAITS;
        if (ret != MOVED)
            return ret > 0 && n > 0 ? MOVED : ret;
    }
    return n > 0 ? MOVED : IS_OVER;
}

/* Whether all of it came, and was used. */
static bool has_all(const struct member *member)
{
    return vfm_multifd_window_complete(member->window) &&
           vfm_multifd_window_next(member->window) == member->next_packet;
}

/* Every lane has said what it has. */
static int check_missing(const struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int i = 0; i < m->num_members; i++) {
        const struct member *member = m->members[i];

        if (!has_all(member))
            return error_set(err, -ENODATA,
                             "%s: packet %" PRIu32 " of its state came on none "
                             "of the %u channels",
                             member->id, member->next_packet, m->lanes.count);
    }
    return 0;
}

/* One turn of each lane.  MOVED if any has moved, WAITS if any waits, else
 * IS_STUCK, or IS_OVER if all are. */
static int run_round(struct vfm_migration *m, struct vfm_error *err)
{
    bool moved = false;
    bool waits = false;
    bool stuck = false;

    for (unsigned int i = 0; i < m->lanes.count; i++) {
        int ret = run_lane(m, m->lanes.lanes[i], err);

        if (ret < 0)
            return ret;
        moved = moved || ret == MOVED;
        waits = waits || ret == WAITS;
        stuck = stuck || ret == IS_STUCK;
    }
    if (moved)
        return MOVED;
    if (waits)
        return WAITS;
    return stuck ? IS_STUCK : IS_OVER;
}

int target_load_lanes(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = MOVED;

    if (m->lanes.count == 0)
        return 0;
    for (unsigned int n = 0; ret == MOVED && n < ROUNDS_MAX; n++)
        ret = run_round(m, err);
    if (ret == MOVED)
        wish_wake(m, 0);
    if (ret == MOVED || ret == WAITS)
        return -EAGAIN;
    return ret < 0 ? ret : check_missing(m, err);
}
