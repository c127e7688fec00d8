/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_PROXY_H
#define VFM_TOOL_PROXY_H

/*
 * What stands between two QEMUs, passes everything on, and looks at it.
 *
 *   proxy.c            the command, its connections and the loop over them
 *   proxy-link.c       one connection of the source, and its own to the target
 *   proxy-watch.c      what the bytes mean, and whether they are right
 *   proxy-main.c       ... those of the main stream
 *   proxy-multifd.c    ... those of the multifd channels
 *   proxy-back.c       ... those of the return path
 *   proxy-timeline.c   what is told of it
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <vfmig/channel.h>
#include <vfmig/error.h>
#include <vfmig/stream.h>

/* The main connection and as many as QEMU can have of the others. */
#define LINKS_MAX       257

#define WATCHED_DEVICES 64

/* ---------------------------------------------------------------------- */

/* What is told: as it happens to a file, at the end as JSON. */
struct proxy_timeline {
    int64_t began_at;
    bool print; /* on standard output */
    FILE *file; /* a JSON object per line, or NULL */
    struct json_tree *list;
    size_t length;
    bool cut; /* the list has not all */
};

/* Tells what happened on @channel at @offset of what it carries. */
__attribute__((format(printf, 5, 6))) void proxy_timeline_tell(
    struct proxy_timeline *t, const char *channel, const char *kind,
    uint64_t offset, const char *fmt, ...);

/* ---------------------------------------------------------------------- */

enum phase {
    PHASE_SETUP,
    PHASE_PRE_COPY,
    PHASE_SWITCHOVER, /* the VM has stopped */
    PHASE_LOAD,       /* the stream is over, the target has not said that it is
                       * loaded */
    PHASE_OVER,
    NUM_PHASES,
};

/* A VFIO device, on all channels. */
struct watched_device {
    char name[256];
    uint64_t pre_copy_bytes;
    uint64_t stop_copy_bytes; /* in the main stream */
    uint64_t multifd_bytes;
    uint64_t packets;
    bool has_config; /* in the main stream */
    struct vfm_multifd_window *window;
};

struct watched_channel {
    char name[16]; /* "main" or "multifd 3" */
    struct vfm_decoder *dec;
    struct vfm_multifd_decoder *multifd;
    bool blind; /* nothing is understood from here on */
    uint64_t syncs;
};

/* The return path, taken apart as it comes. */
struct watched_back {
    uint8_t head[4];
    size_t have; /* of it */
    size_t left; /* of the payload */
    uint8_t payload[4];
    size_t payload_have;
    uint64_t offset;
    uint32_t types; /* those that came, a bit each */
    bool blind;
    bool shut;
    uint32_t shut_value;
};

struct watch {
    struct proxy_timeline *timeline;
    enum phase phase;
    int64_t phase_at[NUM_PHASES];
    struct watched_device devices[WATCHED_DEVICES];
    size_t num_devices;
    struct watched_back back;

    bool switchover_started;
    bool missed; /* that it is missing was told */
    bool return_path;
    bool over; /* the main stream is complete */
    bool channels[256];
    size_t num_channels;

    char last_block[256];
    uint64_t last_address;
    uint64_t rounds;
    uint64_t pages;
    uint64_t zero_pages;
    uint64_t parts;
    uint64_t page_bytes;
    int64_t told_at;

    unsigned int faults;
    struct vfm_error fault; /* the first */
};

/* Looks at @len bytes of the source, or of the target.  Returns 0, or a
 * negative errno: they are not as they should be, which has been told. */
int watch_forward(struct watch *w, struct watched_channel *ch,
                  const uint8_t *data, size_t len);
int watch_back(struct watch *w, const uint8_t *data, size_t len);
/* No more comes from the source on @ch. */
int watch_forward_end(struct watch *w, struct watched_channel *ch);
/* Everything has ended: was all of it there? */
void watch_end(struct watch *w);
void watch_free(struct watch *w);
void watched_channel_free(struct watched_channel *ch);

/* Of the parts above.  Each returns 0 or a negative errno and why. */
int watch_main_event(struct watch *w, const struct vfm_stream_event *ev,
                     struct vfm_error *err);
int watch_multifd_event(struct watch *w, struct watched_channel *ch,
                        const struct vfm_multifd_event *ev,
                        struct vfm_error *err);
/* The device whose section is called @name, new if it must be; NULL if there
 * are too many. */
struct watched_device *watch_device(struct watch *w, const char *name);
/* A device's packets are loaded only after SWITCHOVER_START. */
int watch_check_switchover(struct watch *w, struct vfm_error *err);
void watch_enter(struct watch *w, enum phase phase);
/* Notes and tells what is wrong, and returns its code. */
int watch_fault(struct watch *w, const char *channel, uint64_t offset,
                const struct vfm_error *err);
const char *phase_name(enum phase phase);

/* ---------------------------------------------------------------------- */

/* Bytes on their way in one direction. */
struct half {
    struct vfm_channel *from;
    struct vfm_channel *to;
    uint8_t *buf;
    size_t at;
    size_t len;
    bool ended;    /* nothing more comes */
    bool finished; /* and that was passed on */
};

struct link {
    struct vfm_channel *source;
    struct vfm_channel *target;
    struct half forward;
    struct half back;
    struct watched_channel watched;
    bool known;       /* what it carries */
    uint8_t first[4]; /* bytes, until then */
    size_t num_first;
};

/* Takes over @source, connects to @uri.  Returns 0 and a link. */
int link_open(struct vfm_channel *source, const char *uri,
              const struct vfm_channel_options *options, struct link **linkp,
              struct vfm_error *err);
void link_close(struct link *link);

/* Moves what can be moved without waiting.  Returns how much was done, or a
 * negative errno: with @strict, something was wrong. */
int link_run(struct link *link, struct watch *w, bool strict);
bool link_is_over(const struct link *link);
/* What to wait for: at most 4 entries.  Returns how many. */
int link_poll_fds(const struct link *link, struct pollfd fds[4],
                  int64_t *ready_at);

#endif
