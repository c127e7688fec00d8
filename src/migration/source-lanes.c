/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: several channels.  What is left of the devices goes out in packets,
 * each on the next channel that takes one; a device's configuration is its
 * last packet.
 *
 * Data is sent from where the backend received it.  Only what a channel does
 * not take at once is copied, so that the device can go on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "migration/lane.h"
#include "migration/source.h"
#include "util/error.h"

/* What one dispatch sends before the caller's loop has its turn. */
#define PACKETS_MAX 32

/* It says at once whose it is, for a target takes few that do not. */
static int connect_lane(struct vfm_migration *m, struct vfm_error *err)
{
    unsigned int number = m->lanes.joined;
    struct vfm_channel *ch = NULL;
    struct vfm_error why = { 0 };
    char name[32];
    struct lane *lane;
    int ret = m->callbacks.connect_channel(m->options.opaque, &ch, &why);

    if (ret < 0) {
        snprintf(name, sizeof(name), "channel %u", number);
        return error_of_callback(err, ret, name, "cannot be connected", &why);
    }
    if (!vfm_channel_is_duplex(ch)) {
        vfm_channel_close(ch);
        return error_set(err, -EINVAL, "channel %u: goes one way", number);
    }
    ret = lane_add(m, ch, number, &lane, err);
    if (ret < 0)
        return ret;
    encode_multifd_init(&lane->outbox.head, m->lanes.nonce, (uint8_t)number);
    ret = lane_flush(m, lane, err);
    return ret == -EAGAIN ? 0 : ret;
}

/* Sends what is in all outboxes.  0 when they are empty. */
static int flush_all(struct vfm_migration *m, struct vfm_error *err)
{
    int busy = 0;

    for (unsigned int i = 0; i < m->lanes.count; i++) {
        int ret = lane_flush(m, m->lanes.lanes[i], err);

        if (ret == -EAGAIN)
            busy = -EAGAIN;
        else if (ret < 0)
            return ret;
    }
    return busy;
}

int source_open_lanes(struct vfm_migration *m, struct vfm_error *err)
{
    while (m->lanes.joined < m->lanes.count) {
        int ret = connect_lane(m, err);

        if (ret < 0)
            return ret;
    }
    return flush_all(m, err);
}

/* ---------------------------------------------------------------------- */

/* The next that takes a packet, or NULL. */
static struct lane *find_free(struct vfm_migration *m)
{
    struct lanes *l = &m->lanes;

    for (unsigned int i = 0; i < l->count; i++) {
        struct lane *lane = l->lanes[l->next];

        l->next = (l->next + 1) % l->count;
        if (outbox_is_empty(&lane->outbox))
            return lane;
    }
    return NULL;
}

/* The device's buffer is wanted back: what was not sent stays here. */
static void keep_rest(struct lane *lane)
{
    struct outbox *box = &lane->outbox;
    size_t from = box->sent > box->head.len ? box->sent - box->head.len : 0;

    if (from < box->body_len)
        memcpy(lane->rest + from, (const uint8_t *)box->one.iov_base + from,
               box->body_len - from);
    box->one.iov_base = lane->rest;
}

/* The next data of @member on @lane.  1 if there was any, 0 at its end,
 * -EAGAIN, or an error. */
static int send_data(struct vfm_migration *m, struct member *member,
                     struct lane *lane, struct vfm_error *err)
{
    enum vfm_cause cause = spend_for(m, VFM_CAUSE_DEVICE, member);
    int64_t began_at = m->spent.at;
    const void *data;
    ssize_t n = device_peek(member->dev, &data, err);
    size_t len;
    int ret;

    spend(m, cause);
    if (n <= 0)
        return wish_data(m, (int)n);
    len = (size_t)n < lane->size ? (size_t)n : lane->size;
    outbox_begin(&lane->outbox);
    encode_multifd_device_head(&lane->outbox.head, member->section, 0,
                               member->next_packet++, false, len);
    outbox_set_body(&lane->outbox, data, len);
    ret = lane_pack(lane, err);
    if (ret == 0)
        ret = lane_flush(m, lane, err);
    if (ret < 0 && ret != -EAGAIN)
        return ret;
    if (ret == -EAGAIN && lane->packer == NULL)
        keep_rest(lane);
    note_data(m, member, data, len, true, began_at);
    spend_for(m, VFM_CAUSE_DEVICE, member);
    device_consume(member->dev, len);
    spend(m, cause);
    return 1;
}

static int send_config(struct vfm_migration *m, struct member *member,
                       struct lane *lane, struct vfm_error *err)
{
    const struct pci_state *config = &member->config;
    struct outbox *box = &lane->outbox;
    int ret;

    outbox_begin(box);
    encode_multifd_device_head(&box->head, member->section, 0,
                               member->next_packet++, true,
                               config->record_len + VFIO_CONFIG_TAGS_BYTES);
    encode_vfio_config_head(&box->head);
    outbox_set_body(box, config->record, config->record_len);
    encode_vfio_end(&box->tail);
    member->all_sent = true;
    ret = lane_pack(lane, err);
    if (ret == 0)
        ret = lane_flush(m, lane, err);
    return ret == 0 || ret == -EAGAIN ? 1 : ret;
}

static bool all_data_is_sent(const struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (!m->members[i]->data_ended)
            return false;
    return true;
}

static bool all_is_sent(const struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (!m->members[i]->all_sent)
            return false;
    return true;
}

/* One packet of @member, or none if it has none now.  1 if there was one. */
static int send_packet(struct vfm_migration *m, struct member *member,
                       struct lane *lane, struct vfm_error *err)
{
    int ret;

    if (!member->data_ended) {
        ret = send_data(m, member, lane, err);
        member->data_ended = ret == 0;
        if (ret != 0)
            return ret == -EAGAIN ? 0 : ret;
    }
    if (member->all_sent || !member->config_saved)
        return 0;
    return send_config(m, member, lane, err);
}

/* Devices that have more read ahead while the channels are full. */
static void prefetch_unsent(struct vfm_migration *m)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_DEVICE);

    for (unsigned int i = 0; i < m->num_members; i++) {
        const void *data;

        if (!m->members[i]->data_ended)
            device_peek(m->members[i]->dev, &data, NULL);
    }
    spend(m, cause);
}

/* A packet of the next device that has one.  1 if there was one. */
static int send_next(struct vfm_migration *m, struct lane *lane,
                     struct vfm_error *err)
{
    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[m->lanes.turn];
        int ret;

        m->lanes.turn = (m->lanes.turn + 1) % m->num_members;
        ret = send_packet(m, member, lane, err);
        if (ret != 0)
            return ret;
    }
    return 0;
}

/* 0 whether they are here or on their way. */
static int get_configs(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = all_data_is_sent(m) ? source_finish_configs(m, err)
                                  : source_ask_for_configs(m, err);

    return ret == -EAGAIN ? 0 : ret;
}

/* All data has gone out, and of a configuration that is missing nobody has been
 * asked: nothing will wake us. */
static bool has_to_ask(const struct vfm_migration *m)
{
    bool all_are_here = true;

    for (unsigned int i = 0; i < m->num_members; i++) {
        if (device_is_busy(m->members[i]->dev))
            return false;
        all_are_here = all_are_here && m->members[i]->config_saved;
    }
    return all_data_is_sent(m) && !all_are_here;
}

/* The barrier behind which nothing comes.  A QEMU knows the last packet of each
 * device, and its barriers are of memory that goes over the channels. */
static void put_end(const struct vfm_migration *m, struct lane *lane)
{
    if (peer_is(m, VFM_PEER_VFMIG)) {
        outbox_begin(&lane->outbox);
        encode_multifd_sync(&lane->outbox.head);
    }
    lane->over = true;
}

static int send_ends(struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int i = 0; i < m->lanes.count; i++) {
        struct lane *lane = m->lanes.lanes[i];
        int ret;

        if (lane->over || !outbox_is_empty(&lane->outbox))
            continue;
        put_end(m, lane);
        ret = lane_pack(lane, err);
        if (ret < 0)
            return ret;
    }
    return flush_all(m, err);
}

static bool all_have_ended(const struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->lanes.count; i++)
        if (!m->lanes.lanes[i]->over)
            return false;
    return true;
}

static int send_packets(struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int n = 0; n < PACKETS_MAX; n++) {
        struct lane *lane = find_free(m);
        int ret;

        if (lane == NULL) {
            prefetch_unsent(m);
            return -EAGAIN;
        }
        ret = send_next(m, lane, err);
        if (ret < 0)
            return ret;
        if (ret == 0)
            return all_is_sent(m) ? 0 : -EAGAIN;
    }
    wish_wake(m, 0);
    return -EAGAIN;
}

int source_run_lanes(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = flush_all(m, err);

    if (ret < 0 && ret != -EAGAIN)
        return ret;
    ret = get_configs(m, err);
    if (ret == 0)
        ret = send_packets(m, err);
    if (ret == -EAGAIN && has_to_ask(m))
        wish_wake(m, 0);
    if (ret < 0)
        return ret;
    ret = send_ends(m, err);
    if (ret == 0 && !all_have_ended(m))
        wish_wake(m, 0);
    return ret == 0 && !all_have_ended(m) ? -EAGAIN : ret;
}
