/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_SPAN_H
#define VFM_SRC_MIGRATION_SPAN_H

/*
 * What a migration did when: a list of a fixed size, and the form in which a
 * target tells the source of its own.
 */

#include <stdbool.h>
#include <stdint.h>

#include <vfmig/migration.h>

/* A migration of 64 devices has about 500 that are not waits, on each side. */
#define SPANS_MAX   2048

/* A span as it travels. */
#define SPAN_BYTES  40

#define SPAN_NO_ONE (-1)

struct span {
    enum vfm_span_kind kind;
    bool there; /* the other side's; its times are ours all the same */
    enum vfm_stage stage;
    enum vfm_cause cause; /* of a wait */
    int device;           /* which, or SPAN_NO_ONE */
    enum vfm_state from;  /* of an arc */
    enum vfm_state to;
    int64_t began_at;
    int64_t ended_at;
    uint64_t bytes;
    unsigned int channel;
    uint64_t blocked_ns;
};

struct spans {
    unsigned int count;
    struct span all[SPANS_MAX];
};

/* Keeps @span if there is room: what a migration does at the end is better
 * missed than memory.  Returns it as it is kept, or NULL. */
struct span *spans_add(struct spans *spans, const struct span *span);

/* Puts @span, whose device is number @device at the other side, or
 * SPAN_NO_ONE. */
void span_put(const struct span *span, int device, uint8_t to[SPAN_BYTES]);

/* Reads one of the other side's, whose clock is ahead by @offset_ns, and which
 * has @devices devices.  Returns false for what cannot be. */
bool span_get(struct span *span, const uint8_t from[SPAN_BYTES],
              unsigned int devices, int64_t offset_ns);

/*
 * How far the other side's clock is ahead of ours, and by how much that may be
 * wrong: half of what a question and its answer were under way.
 */
struct offset {
    bool known;
    int64_t ns;
    uint64_t error_ns;
};

/* From a question that we asked and the other side heard, and its answer;
 * each at its side's time.  What cannot be leaves @offset as it is. */
void offset_take(struct offset *offset, int64_t asked, int64_t heard,
                 int64_t answered, int64_t back);

#endif
