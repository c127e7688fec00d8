/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_STREAM_EVENT_LOG_H
#define TEST_STREAM_EVENT_LOG_H

/*
 * What a decoder tells, as text: two runs are the same if their logs are.
 *
 * Chunks of bulk data are one line with their length and digest, so that the
 * input's splits do not show.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <vfmig/stream.h>

#include "util/digest.h"

struct event_log {
    char *text;
    size_t size;
    FILE *f;
    struct digest *bulk; /* of the chunks since the last line */
    uint64_t bulk_bytes;
    int bulk_type;
    unsigned int counts[32]; /* by type of event; chunks as they come */
};

void event_log_open(struct event_log *log);
/* The text is complete then. */
void event_log_end(struct event_log *log);
void event_log_free(struct event_log *log);

void event_log_take(struct event_log *log, const struct vfm_stream_event *ev);
void event_log_take_multifd(struct event_log *log,
                            const struct vfm_multifd_event *ev);

/*
 * Decodes @len bytes at @data that arrive in pieces of at most @piece bytes,
 * with the first one of at most @first (0: as the others), and the end.
 * Every piece lies in memory of its own, so that a sanitizer sees reads past
 * it.  Returns what the decoder returned last, and in *@used what it took.
 */
int decode(const struct vfm_decoder_options *options, const void *data,
           size_t len, size_t first, size_t piece, struct event_log *log,
           size_t *used, struct vfm_error *err);

int decode_multifd(const struct vfm_multifd_options *options, const void *data,
                   size_t len, size_t first, size_t piece,
                   struct event_log *log, struct vfm_error *err);

#endif
