/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_PUMP_H
#define VFM_TOOL_PUMP_H

/*
 * Between a QEMU that sends a whole machine and a migration that takes devices.
 *
 * The migration is given a stream with the devices and nothing else, in which
 * all that QEMU sent of them is in one place, even if it came on several
 * channels. What is not theirs is kept in a file.  What the migration answers
 * goes back to QEMU as it is.
 *
 *   pump.c         its life, the connections, and the loop over all of them
 *   pump-main.c    the main stream: whose bytes are whose
 *   pump-channel.c multifd channels: packets in their order
 *   pump-feed.c    the stream that the migration gets
 *   pump-rest.c    what is kept
 *
 * Memory is bounded: a channel whose packet's turn has not come is not read. If
 * that is so of all of them, a packet is missing.
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include <vfmig/channel.h>
#include <vfmig/error.h>
#include <vfmig/stream.h>

#include "splice.h"
#include "stream/encoder.h"
#include "stream/format.h"

#define PUMP_DEVICES_MAX  64
#define PUMP_CHANNELS_MAX 255

/* A device that the migration takes. */
struct pump_device {
    char section[STREAM_NAME_MAX + 1];
    bool begun;
    bool ended;
    bool full;
    bool on_channels; /* the rest of its state */
    uint8_t *config;
    size_t config_len;
    uint64_t full_bytes;
    struct vfm_multifd_window *window; /* NULL: no packet came */
};

/* Bytes for the migration. */
struct feed {
    struct vfm_channel *to;
    uint8_t *buf;
    size_t at;
    size_t len;
    void *owner; /* whose record is open: nobody else writes */
    bool gone;   /* the migration takes no more */
};

/* Bytes of one incoming connection, of which some are kept in a file. */
struct tap {
    struct vfm_channel *from;
    struct vfm_channel *rest; /* NULL: nothing is kept */
    char *name;               /* of that file */
    uint8_t *raw;             /* not yet decided upon */
    size_t start;             /* where these begin */
    size_t raw_len;
    size_t raw_size;
    uint64_t raw_at; /* the offset of its first byte */
    size_t fed;      /* bytes of it that the decoder has */
    bool keep;       /* what becomes of the bytes before the next mark */
    bool ended;
};

struct pump_channel {
    struct tap tap;
    struct vfm_multifd_decoder *dec;
    struct vfm_multifd_event ev;
    bool has_event;
    size_t used; /* of its data */
    struct pump_device *device;
    bool stuck; /* its packet has to wait for another */
};

struct pump {
    struct vfm_listener *listener;
    unsigned int expected; /* multifd channels */
    uint32_t timeout_ms;
    const char *rest;

    struct vfm_channel *inner; /* the migration's end is the caller's */
    int inner_fd;
    struct feed feed;
    struct tap main;
    struct vfm_decoder *dec;
    struct vfm_stream_event ev;
    bool has_event;
    size_t used;
    struct pump_channel *channels[PUMP_CHANNELS_MAX];
    unsigned int num_channels;
    bool numbers[256];

    struct pump_device devices[PUMP_DEVICES_MAX];
    size_t num_devices;
    struct pump_device *device; /* whose section the main stream is in */
    char machine[STREAM_NAME_MAX + 1];
    bool switched; /* the migration knows that the VM has stopped */
    bool started;  /* SWITCHOVER_START came */
    bool over;     /* the main stream is */
    bool done;     /* the migration has all of it */
    bool has_more; /* to do without waiting */
    uint8_t globalstate[256];
    size_t globalstate_len;
    unsigned int step; /* of what comes after it */

    uint8_t back[4096];
    size_t back_at;
    size_t back_len;
    bool back_ended;
    bool back_finished;

    int64_t moved_at;
    int64_t told_at;
    struct vfm_error failure; /* code 0: none */
};

struct pump_options {
    unsigned int channels;
    const char *rest; /* or NULL */
    uint32_t timeout_ms;
    int cancel_fd;
};

/* Accepts the main connection and @options->channels others from @listener,
 * which it then owns no matter what.  Returns 0 and a pump, and in *@chp the
 * channel for the migration. */
int pump_open(struct vfm_listener *listener, const struct pump_options *options,
              struct pump **pumpp, struct vfm_channel **chp,
              struct vfm_error *err);
/* Before the first run: @id is a device of the migration. */
int pump_add_device(struct pump *p, const char *id, struct vfm_error *err);
/* Does what can be done without waiting. */
void pump_run(struct pump *p);
/* The entries to poll; at most PUMP_FDS_MAX. */
#define PUMP_FDS_MAX (2 * PUMP_CHANNELS_MAX + 8)
int pump_poll_fds(const struct pump *p, struct pollfd *fds, int64_t *ready_at);
/* The migration is over: passes on its last words.  @done: it has the devices;
 * else what was kept is thrown away. */
void pump_finish(struct pump *p, bool done);
/* What went wrong here, or NULL. */
const struct vfm_error *pump_failure(const struct pump *p);
void pump_close(struct pump *p);

/* ---------------------------------------------------------------------- */

/* pump-main.c, pump-channel.c: go on.  Return 1 if something was done, 0, or a
 * negative errno with the reason in @err. */
int pump_main_run(struct pump *p, struct vfm_error *err);
int pump_channel_run(struct pump *p, struct pump_channel *ch,
                     struct vfm_error *err);
/* The main stream waits for packets: has every channel said what it has? */
int pump_check_missing(const struct pump *p, struct vfm_error *err);
struct pump_device *pump_find(struct pump *p, const char *section);

/* pump-feed.c.  Room for anything but bulk data. */
bool feed_has_room(const struct feed *f);
int feed_flush(struct feed *f, struct vfm_error *err);
size_t feed_bulk(struct feed *f, const void *data, size_t len);
struct encoder feed_encoder(struct feed *f);
void feed_commit(struct feed *f, const struct encoder *enc);
/* Opens a record of @size bytes in a section of @dev, for @owner. */
void feed_record(struct pump *p, const struct pump_device *dev, void *owner,
                 uint64_t size);
void feed_record_end(struct pump *p, const struct pump_device *dev);
void feed_empty_part(struct pump *p, const struct pump_device *dev);
/* What comes after all records.  Returns 1 when it is all there. */
int feed_end(struct pump *p, struct vfm_error *err);
uint32_t pump_device_id(const struct pump *p, const struct pump_device *dev);

/* pump-rest.c */
int tap_open(struct tap *tap, struct vfm_channel *from, const char *rest,
             struct vfm_error *err);
void tap_close(struct tap *tap);
/* Receives into the tap.  Returns 1 if something came, or the end. */
int tap_fill(struct tap *tap, struct vfm_error *err);
/* Bytes up to @offset are kept or not, as tap->keep says; from there on as
 * @keep says. */
int tap_mark(struct tap *tap, uint64_t offset, bool keep,
             struct vfm_error *err);
/* Writes what was not in the stream. */
int tap_insert(struct tap *tap, const void *data, size_t len,
               struct vfm_error *err);
/* Gives the file its name. */
int tap_finish(struct tap *tap, struct vfm_error *err);

#endif
