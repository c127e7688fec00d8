/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happened when: the list, what goes over the wire of it, and whose clock
 * is ahead.  What the other side says is checked here.
 */
#include <stddef.h>

#include "device/state.h"
#include "migration/span.h"
#include "migration/spent.h"
#include "util/bytes.h"

static const char *const names[] = {
    [VFM_SPAN_STAGE] = "stage",     [VFM_SPAN_ARC] = "arc",
    [VFM_SPAN_DATA] = "data",       [VFM_SPAN_WAIT] = "wait",
    [VFM_SPAN_CHANNEL] = "channel",
};
#define KINDS    (sizeof(names) / sizeof(names[0]))

/* No clock shows more than a few hundred years, and sums of two do not
 * overflow. */
#define TIME_MAX (INT64_MAX / 4)

/* A span on the wire: each of these a byte, one of zero, then four numbers of
 * 64 bits. */
enum { KIND, STAGE, CAUSE, DEVICE, FROM, TO, CHANNEL, ZERO };
enum { BEGAN = 8, ENDED = 16, SIZE = 24, BLOCKED = 32 };

#define NO_DEVICE 0xff

const char *vfm_span_kind_name(enum vfm_span_kind kind)
{
    return (unsigned int)kind < KINDS ? names[kind] : "?";
}

struct span *spans_add(struct spans *spans, const struct span *span)
{
    if (spans->count == SPANS_MAX)
        return NULL;
    spans->all[spans->count] = *span;
    return &spans->all[spans->count++];
}

void span_put(const struct span *span, int device, uint8_t to[SPAN_BYTES])
{
    to[KIND] = (uint8_t)span->kind;
    to[STAGE] = (uint8_t)span->stage;
    to[CAUSE] = (uint8_t)span->cause;
    to[DEVICE] = device == SPAN_NO_ONE ? NO_DEVICE : (uint8_t)device;
    to[FROM] = (uint8_t)span->from;
    to[TO] = (uint8_t)span->to;
    to[CHANNEL] = (uint8_t)span->channel;
    to[ZERO] = 0;
    put_be64(to + BEGAN, (uint64_t)span->began_at);
    put_be64(to + ENDED, (uint64_t)span->ended_at);
    put_be64(to + SIZE, span->bytes);
    put_be64(to + BLOCKED, span->blocked_ns);
}

static bool is_time(int64_t at)
{
    return at >= 0 && at <= TIME_MAX;
}

static bool is_possible(const uint8_t from[SPAN_BYTES], unsigned int devices)
{
    int64_t began = (int64_t)get_be64(from + BEGAN);
    int64_t ended = (int64_t)get_be64(from + ENDED);

    return from[KIND] < KINDS && from[STAGE] < VFM_STAGE_DONE &&
           from[CAUSE] < CAUSES &&
           (from[DEVICE] < devices || from[DEVICE] == NO_DEVICE) &&
           from[FROM] < NUM_STATES && from[TO] < NUM_STATES &&
           from[CHANNEL] < VFM_CHANNELS_MAX && is_time(began) &&
           is_time(ended) && began <= ended;
}

bool span_get(struct span *span, const uint8_t from[SPAN_BYTES],
              unsigned int devices, int64_t offset_ns)
{
    if (!is_possible(from, devices))
        return false;
    *span = (struct span){
        .kind = (enum vfm_span_kind)from[KIND],
        .there = true,
        .stage = (enum vfm_stage)from[STAGE],
        .cause = (enum vfm_cause)from[CAUSE],
        .device = from[DEVICE] == NO_DEVICE ? SPAN_NO_ONE : from[DEVICE],
        .from = (enum vfm_state)from[FROM],
        .to = (enum vfm_state)from[TO],
        .began_at = (int64_t)get_be64(from + BEGAN) - offset_ns,
        .ended_at = (int64_t)get_be64(from + ENDED) - offset_ns,
        .bytes = get_be64(from + SIZE),
        .channel = from[CHANNEL],
        .blocked_ns = get_be64(from + BLOCKED),
    };
    return true;
}

void offset_take(struct offset *offset, int64_t asked, int64_t heard,
                 int64_t answered, int64_t back)
{
    int64_t way;

    if (!is_time(asked) || !is_time(heard) || !is_time(answered) ||
        !is_time(back) || asked > back || heard > answered)
        return;
    way = (back - asked) - (answered - heard);
    if (way < 0)
        return;
    *offset = (struct offset){
        .known = true,
        .ns = (heard - asked) / 2 + (answered - back) / 2,
        .error_ns = (uint64_t)way / 2 + 1,
    };
}
