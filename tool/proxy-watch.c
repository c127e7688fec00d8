/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looks at what passes.  A channel with a fault is not understood any further;
 * it is still passed on unless somebody wants it otherwise.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy.h"
#include "say.h"
#include "util/clock.h"
#include "util/error.h"

const char *phase_name(enum phase phase)
{
    static const char *const names[NUM_PHASES] = {
        [PHASE_SETUP] = "setup",
        [PHASE_PRE_COPY] = "pre-copy",
        [PHASE_SWITCHOVER] = "switchover",
        [PHASE_LOAD] = "load",
        [PHASE_OVER] = "over",
    };

    return names[phase];
}

void watch_enter(struct watch *w, enum phase phase)
{
    int64_t now = clock_now();

    if (phase <= w->phase)
        return;
    /* Those that were left out took no time. */
    for (enum phase p = w->phase + 1; p <= phase; p++)
        w->phase_at[p] = now;
    w->phase = phase;
    proxy_timeline_tell(w->timeline, "", "phase", 0, "-- %s --",
                        phase_name(phase));
}

/* The decoders' sentences begin with the offset themselves. */
int watch_fault(struct watch *w, const char *channel, uint64_t offset,
                const struct vfm_error *err)
{
    char text[sizeof(err->message)];

    if (strncmp(err->message, "offset ", 7) == 0)
        snprintf(text, sizeof(text), "%s", err->message);
    else
        snprintf(text, sizeof(text), "offset %" PRIu64 ": %.200s", offset,
                 err->message);
    if (w->faults++ == 0)
        error_set(&w->fault, err->code, "%s: %.200s", channel, text);
    proxy_timeline_tell(w->timeline, channel, "fault", offset, "FAULT: %s",
                        text);
    say_warning("%s: %s", channel, text);
    return err->code;
}

struct watched_device *watch_device(struct watch *w, const char *name)
{
    struct watched_device *dev;

    for (size_t i = 0; i < w->num_devices; i++)
        if (strcmp(w->devices[i].name, name) == 0)
            return &w->devices[i];
    if (w->num_devices == WATCHED_DEVICES)
        return NULL;
    dev = &w->devices[w->num_devices++];
    snprintf(dev->name, sizeof(dev->name), "%s", name);
    return dev;
}

static int look_at_main(struct watch *w, struct watched_channel *ch,
                        const uint8_t *data, size_t len, struct vfm_error *err,
                        uint64_t *offset)
{
    struct vfm_stream_event ev;
    size_t used;
    int ret;

    do {
        ret = vfm_decoder_next(ch->dec, data, len, &used, &ev, err);
        data += used;
        len -= used;
        if (ret > 0) {
            *offset = ev.offset;
            ret = watch_main_event(w, &ev, err);
            ret = ret < 0 ? ret : 1;
        }
    } while (ret > 0);
    if (ret == 0 && len > 0)
        ret =
            error_set(err, -EBADMSG, "something follows the end of the stream");
    return ret;
}

static int look_at_multifd(struct watch *w, struct watched_channel *ch,
                           const uint8_t *data, size_t len,
                           struct vfm_error *err, uint64_t *offset)
{
    struct vfm_multifd_event ev;
    size_t used;
    int ret;

    do {
        ret = vfm_multifd_decoder_next(ch->multifd, data, len, &used, &ev, err);
        data += used;
        len -= used;
        if (ret > 0) {
            *offset = ev.offset;
            ret = watch_multifd_event(w, ch, &ev, err);
            ret = ret < 0 ? ret : 1;
        }
    } while (ret > 0);
    return ret;
}

int watch_forward(struct watch *w, struct watched_channel *ch,
                  const uint8_t *data, size_t len)
{
    struct vfm_error err = { 0 };
    uint64_t offset = 0;
    int ret;

    if (ch->blind)
        return 0;
    ret = ch->dec != NULL ? look_at_main(w, ch, data, len, &err, &offset)
                          : look_at_multifd(w, ch, data, len, &err, &offset);
    if (ret == 0)
        return 0;
    ch->blind = true;
    return watch_fault(w, ch->name, offset, &err);
}

int watch_forward_end(struct watch *w, struct watched_channel *ch)
{
    struct vfm_error err = { 0 };
    int ret = 0;

    proxy_timeline_tell(w->timeline, ch->name, "channel", 0,
                        "the source ends it");
    if (ch->blind)
        return 0;
    if (ch->dec != NULL)
        ret = vfm_decoder_finish(ch->dec, &err);
    else if (ch->multifd != NULL)
        ret = vfm_multifd_decoder_finish(ch->multifd, &err);
    ch->blind = true;
    return ret < 0 ? watch_fault(w, ch->name, 0, &err) : 0;
}

int watch_check_switchover(struct watch *w, struct vfm_error *err)
{
    for (size_t i = 0; i < w->num_devices; i++)
        if (w->devices[i].window != NULL && !w->switchover_started &&
            !w->missed) {
            w->missed = true;
            return error_set(err, -EPROTO,
                             "'%.100s': packets on multifd channels, but no "
                             "SWITCHOVER_START: nobody would load them",
                             w->devices[i].name);
        }
    return 0;
}

/* All of a device's state came, and none of it twice. */
static int check_device(const struct watched_device *dev, struct vfm_error *err)
{
    if (dev->window == NULL && !dev->has_config)
        return error_set(err, -ENODATA,
                         "'%s': no configuration came, on no channel",
                         dev->name);
    if (dev->window == NULL)
        return 0;
    if (dev->has_config)
        return error_set(err, -EPROTO,
                         "'%s': a configuration on both kinds of channels",
                         dev->name);
    if (!vfm_multifd_window_complete(dev->window))
        return error_set(err, -ENODATA,
                         "'%s': packet %" PRIu32 " is missing, nobody has "
                         "sent it",
                         dev->name, vfm_multifd_window_next(dev->window));
    return 0;
}

/* Neither end of it has to be wrong for a migration to end too early. */
static int check_over(const struct watch *w, struct vfm_error *err)
{
    if (!w->over && w->faults == 0)
        return error_set(err, -ENODATA,
                         "the migration ended in phase %s: one side hung up",
                         phase_name(w->phase));
    return 0;
}

void watch_end(struct watch *w)
{
    struct vfm_error early = { 0 };

    if (check_over(w, &early) < 0)
        watch_fault(w, "main", 0, &early);
    for (size_t i = 0; i < w->num_devices && w->over; i++) {
        struct vfm_error err = { 0 };

        if (check_device(&w->devices[i], &err) < 0)
            watch_fault(w, "multifd", 0, &err);
    }
    if (w->over && w->return_path && !w->back.shut) {
        struct vfm_error err = { 0 };

        error_set(&err, -ENODATA,
                  "the target ended without a SHUT: whether it has loaded the "
                  "stream is not known");
        watch_fault(w, "return path", w->back.offset, &err);
    }
    watch_enter(w, PHASE_OVER);
}

void watched_channel_free(struct watched_channel *ch)
{
    vfm_decoder_free(ch->dec);
    vfm_multifd_decoder_free(ch->multifd);
}

void watch_free(struct watch *w)
{
    for (size_t i = 0; i < w->num_devices; i++)
        vfm_multifd_window_free(w->devices[i].window);
}
