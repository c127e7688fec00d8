/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A channel beside the main one.  What its packets hold is left to the two
 * sides.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "migration/lane.h"
#include "migration/migration.h"
#include "stream/format.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/pages.h"

/* An index may be so far ahead of the lowest that has not come.  More packets
 * than this, even if they were empty, do not fit between the two sides. */
#define WINDOW_SPAN (UINT32_C(1) << 17)

int lanes_init(struct vfm_migration *m, struct vfm_error *err)
{
    const uint32_t n = m->options.channels;
    uint64_t part = m->options.memory_max;

    if (m->options.compress && !packing_exists())
        return error_set(err, -EOPNOTSUPP,
                         "migration: compression: zstd is not in this build");
    if (n == 0)
        return 0;
    part = (part != 0 ? part : LANES_MEMORY) / n;
    /* What is packed has a buffer of its own. */
    if (m->options.compress)
        part /= 2;
    if (part < LANE_CHUNK_MIN)
        return error_set(err, -EINVAL,
                         "migration: %u channels take %zu KiB each at least, "
                         "and %llu KiB are all there may be",
                         n, LANE_CHUNK_MIN >> (m->options.compress ? 9 : 10),
                         (unsigned long long)m->options.memory_max >> 10);
    m->lanes.chunk =
        part < LANE_CHUNK_MAX ? (size_t)part & ~(size_t)4095 : LANE_CHUNK_MAX;
    if (is_source(m) && peer_is(m, VFM_PEER_VFMIG) &&
        getrandom(m->lanes.nonce, NONCE_BYTES, 0) < 0)
        return error_set(err, -errno, "migration: no random numbers: %s",
                         strerror(errno));
    return 0;
}

uint64_t lane_bytes(const struct lane *lane)
{
    return vfm_channel_bytes_sent(lane->channel) +
           vfm_channel_bytes_received(lane->channel);
}

static void lane_free(struct lane *lane)
{
    vfm_channel_close(lane->channel);
    vfm_multifd_decoder_free(lane->decoder);
    inbox_close(&lane->inbox);
    inbox_close(&lane->packed_inbox);
    packer_free(lane->packer);
    unpacker_free(lane->unpacker);
    free(lane->packed);
    free(lane->rest);
    free(lane);
}

void lanes_close(struct vfm_migration *m)
{
    struct lanes *l = &m->lanes;

    l->bytes = lanes_bytes(m);
    for (unsigned int i = 0; i < VFM_CHANNELS_MAX; i++)
        if (l->lanes[i] != NULL)
            lane_free(l->lanes[i]);
    memset(l->lanes, 0, sizeof(l->lanes));
    m->wishes.lanes_send = m->wishes.lanes_recv = 0; /* there is nobody */
    for (unsigned int i = 0; i < l->num_strangers; i++) {
        vfm_channel_close(l->strangers[i].channel);
        vfm_multifd_decoder_free(l->strangers[i].decoder);
    }
    l->num_strangers = 0;
    l->joined = 0;
}

/* The most that a packet has: its data or its configuration, and a head. */
static size_t packed_size(const struct lane *lane)
{
    size_t raw = lane->size > VFIO_CONFIG_MAX ? lane->size : VFIO_CONFIG_MAX;

    return PACKING_MAX(raw + OUTBOX_HEAD_SIZE + OUTBOX_TAIL_SIZE);
}

static int init_source(const struct vfm_migration *m, struct lane *lane)
{
    lane->rest = pages_new(lane->size);
    if (lane->rest == NULL)
        return -ENOMEM;
    if (!m->lanes.compressed)
        return 0;
    lane->packed = pages_new(packed_size(lane));
    return lane->packed == NULL ? -ENOMEM : packer_new(&lane->packer, NULL);
}

static int init_unpacking(struct lane *lane)
{
    int ret = inbox_init(&lane->packed_inbox, 2 * PACKING_PIECE_MAX);

    return ret < 0 ? ret : unpacker_new(&lane->unpacker, NULL);
}

/* Which packets came, of every device. */
static int init_target(struct vfm_migration *m, struct lane *lane)
{
    int ret = inbox_init(&lane->inbox, lane->size);

    if (ret == 0 && m->lanes.compressed)
        ret = init_unpacking(lane);
    for (unsigned int i = 0; ret == 0 && i < m->num_members; i++)
        if (m->members[i]->window == NULL)
            ret = vfm_multifd_window_new(WINDOW_SPAN, &m->members[i]->window,
                                         NULL);
    return ret;
}

int lane_add(struct vfm_migration *m, struct vfm_channel *ch,
             unsigned int number, struct lane **lanep, struct vfm_error *err)
{
    struct lane *lane = calloc(1, sizeof(*lane));
    int ret;

    if (lane == NULL) {
        vfm_channel_close(ch);
        return error_set(err, -ENOMEM, "channel %u: out of memory", number);
    }
    *lane = (struct lane){
        .channel = ch,
        .number = number,
        .size = m->lanes.chunk,
    };
    outbox_begin(&lane->outbox);
    ret = is_source(m) ? init_source(m, lane) : init_target(m, lane);
    if (ret < 0) {
        lane_free(lane);
        return error_set(err, ret, "channel %u: out of memory", number);
    }
    m->lanes.lanes[number] = lane;
    m->lanes.joined++;
    *lanep = lane;
    return 0;
}

/* Says which one it was. */
static int lane_failed(struct vfm_migration *m, const struct lane *lane,
                       int ret, struct vfm_error *err)
{
    m->failed_at_peer = true;
    return error_set(err, ret, "channel %u: %s", lane->number, err->message);
}

int lane_pack(struct lane *lane, struct vfm_error *err)
{
    struct outbox *box = &lane->outbox;
    const struct iovec parts[] = {
        { box->head_buf, box->head.len },
        { box->one.iov_base, box->body_len },
        { box->tail_buf, box->tail.len },
    };
    ssize_t n;

    if (lane->packer == NULL)
        return 0;
    n = packer_pack(lane->packer, parts, 3, lane->packed, err);
    if (n < 0)
        return (int)n;
    outbox_begin(box);
    outbox_set_body(box, lane->packed, (size_t)n);
    return 0;
}

/* Bytes went or came; not those by which it joined. */
static void note_moved(const struct vfm_migration *m, struct lane *lane,
                       int64_t now)
{
    if (m->stage <= VFM_STAGE_SETUP)
        return;
    if (lane->began_at == 0)
        lane->began_at = now;
    if (lane->blocked_at != 0)
        lane->blocked_ns += (uint64_t)(now - lane->blocked_at);
    lane->blocked_at = 0;
    lane->ended_at = now;
}

/* More could have. */
static void note_blocked(struct lane *lane)
{
    if (lane->began_at != 0 && lane->blocked_at == 0)
        lane->blocked_at = clock_now();
}

int lane_flush(struct vfm_migration *m, struct lane *lane,
               struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_LINK);
    uint64_t before = vfm_channel_bytes_sent(lane->channel);
    int ret = outbox_send(&lane->outbox, lane->channel, err);
    bool moved = vfm_channel_bytes_sent(lane->channel) != before;

    spend(m, cause);
    if (moved || ret == 0)
        m->lanes_taken_at = clock_now();
    if (moved)
        note_moved(m, lane, m->lanes_taken_at);
    if (ret == -EAGAIN) {
        note_blocked(lane);
        m->wishes.lanes_send |= UINT32_C(1) << lane->number;
    }
    return ret == 0 || ret == -EAGAIN ? ret : lane_failed(m, lane, ret, err);
}

/* The next piece, from what came or comes.  All before it was used.  As
 * inbox_fill(). */
static ssize_t fill_unpacked(struct lane *lane, struct vfm_error *err)
{
    struct inbox *packed = &lane->packed_inbox;
    ssize_t n;

    for (;;) {
        size_t used;

        n = unpacker_next(lane->unpacker, inbox_data(packed), inbox_len(packed),
                          &used, lane->inbox.buf, err);
        inbox_use(packed, used);
        if (n != 0)
            break;
        n = inbox_fill(packed, lane->channel, err);
        if (n <= 0)
            return n;
    }
    lane->inbox.start = 0;
    lane->inbox.end = n > 0 ? (size_t)n : 0;
    return n;
}

int lane_fill(struct vfm_migration *m, struct lane *lane, struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_LINK);
    ssize_t n = lane->unpacker != NULL
                    ? fill_unpacked(lane, err)
                    : inbox_fill(&lane->inbox, lane->channel, err);

    spend(m, cause);
    if (n > 0) {
        m->heard_at = clock_now();
        note_moved(m, lane, m->heard_at);
        return 0;
    }
    if (n == -EAGAIN) {
        note_blocked(lane);
        m->wishes.lanes_recv |= UINT32_C(1) << lane->number;
    }
    if (n == 0) {
        error_set(err, -ECONNRESET, "%s: the source hung up before its end",
                  vfm_channel_name(lane->channel));
        n = -ECONNRESET;
    }
    return n == -EAGAIN ? -EAGAIN : lane_failed(m, lane, (int)n, err);
}

int lane_land(struct vfm_migration *m, struct lane *lane, struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_LINK);
    bool came;
    int ret =
        landing_fill(&lane->landing, &lane->inbox, lane->channel, &came, err);

    spend(m, cause);
    if (came) {
        m->heard_at = clock_now();
        note_moved(m, lane, m->heard_at);
    }
    if (ret == -EAGAIN) {
        note_blocked(lane);
        m->wishes.lanes_recv |= UINT32_C(1) << lane->number;
    }
    return ret >= 0 || ret == -EAGAIN ? ret : lane_failed(m, lane, ret, err);
}

/* Nothing is ever said to a source on one. */
static int watch_source(struct vfm_migration *m, struct lane *lane,
                        struct vfm_error *err)
{
    uint8_t byte;
    ssize_t n = vfm_channel_recv(lane->channel, &byte, 1, err);

    if (n == -EAGAIN) {
        m->wishes.lanes_recv |= UINT32_C(1) << lane->number;
        return 0;
    }
    if (n > 0)
        n = error_set(err, -EPROTO, "%s: the target says something on it",
                      vfm_channel_name(lane->channel));
    if (n == 0)
        n = error_set(err, -ECONNRESET, "%s: the target hung up",
                      vfm_channel_name(lane->channel));
    return lane_failed(m, lane, (int)n, err);
}

/* What is there already is looked at when its time has come. */
static int watch_target(struct vfm_migration *m, struct lane *lane,
                        struct vfm_error *err)
{
    int ret = inbox_len(&lane->inbox) > 0 ? 0 : lane_fill(m, lane, err);

    return ret == -EAGAIN ? 0 : ret;
}

int lanes_watch(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < m->lanes.count; i++) {
        struct lane *lane = m->lanes.lanes[i];

        if (lane == NULL || lane->over)
            continue;
        ret = is_source(m) ? watch_source(m, lane, err)
                           : watch_target(m, lane, err);
    }
    return ret;
}

uint64_t lanes_bytes(const struct vfm_migration *m)
{
    uint64_t bytes = m->lanes.bytes;

    for (unsigned int i = 0; i < VFM_CHANNELS_MAX; i++)
        if (m->lanes.lanes[i] != NULL)
            bytes += lane_bytes(m->lanes.lanes[i]);
    return bytes;
}

void nonce_print(const uint8_t nonce[NONCE_BYTES], char text[NONCE_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned int i = 0; i < NONCE_BYTES; i++) {
        text[2 * i] = digits[nonce[i] >> 4];
        text[2 * i + 1] = digits[nonce[i] & 15];
    }
    text[2 * NONCE_BYTES] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool nonce_parse(const char *text, uint8_t nonce[NONCE_BYTES])
{
    if (strlen(text) != 2 * (size_t)NONCE_BYTES)
        return false;
    for (unsigned int i = 0; i < NONCE_BYTES; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        nonce[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
