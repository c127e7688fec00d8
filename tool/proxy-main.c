/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the main stream tells of a migration: where it is, and whose bytes these
 * are.  What may stand where is the decoder's to judge.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy.h"
#include "say.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"

/* A round may be short, and then there are many. */
#define ROUNDS_INTERVAL_NS (NS_PER_SEC / 4)

#define MAIN               "main"

/* Sections of pre-copy are counted, the others are told. */
static void tell_section(struct watch *w, const struct vfm_stream_event *ev)
{
    const struct vfm_stream_section *s = &ev->section;
    char bytes[QUANTITY_MAX];

    if (s->type == VFM_SECTION_PART ||
        (s->type == VFM_SECTION_FULL && s->kind != VFM_SECTION_KIND_VFIO))
        return;
    proxy_timeline_tell(w->timeline, MAIN, "section", ev->offset, "%s '%s': %s",
                        vfm_section_type_name(s->type), s->name,
                        say_bytes(bytes, ev->u.section_end.bytes));
}

static void begin_section(struct watch *w, const struct vfm_stream_event *ev)
{
    switch (ev->section.type) {
    case VFM_SECTION_PART:
        w->parts++;
        watch_enter(w, PHASE_PRE_COPY);
        break;
    case VFM_SECTION_END:
        watch_enter(w, PHASE_SWITCHOVER);
        break;
    case VFM_SECTION_START:
    case VFM_SECTION_FULL:
    default:
        break;
    }
}

/* Pages come in the order of memory; one that is before the last begins a new
 * round. */
static void note_page(struct watch *w, const struct vfm_stream_event *ev)
{
    bool same = strcmp(w->last_block, ev->u.ram.block) == 0;

    if (!same)
        snprintf(w->last_block, sizeof(w->last_block), "%s", ev->u.ram.block);
    if (w->rounds == 0 || (same && ev->u.ram.address <= w->last_address))
        w->rounds++;
    w->last_address = ev->u.ram.address;
    w->pages += ev->type != VFM_STREAM_RAM_ZERO;
    w->zero_pages += ev->type == VFM_STREAM_RAM_ZERO;
    w->page_bytes += ev->len;
}

static void tell_rounds(struct watch *w, uint64_t offset, bool now)
{
    int64_t at = clock_now();

    if (w->rounds == 0 || (!now && at - w->told_at < ROUNDS_INTERVAL_NS))
        return;
    w->told_at = at;
    proxy_timeline_tell(w->timeline, MAIN, "pre-copy", offset,
                        "round %" PRIu64 ": %" PRIu64 " pages, %" PRIu64
                        " of zeroes, %" PRIu64 " parts so far",
                        w->rounds, w->pages, w->zero_pages, w->parts);
}

static void take_command(struct watch *w, const struct vfm_stream_event *ev)
{
    struct proxy_timeline *t = w->timeline;

    switch (ev->u.command.number) {
    case VFM_COMMAND_OPEN_RETURN_PATH:
        w->return_path = true;
        proxy_timeline_tell(t, MAIN, "command", ev->offset, "OPEN_RETURN_PATH");
        break;
    case VFM_COMMAND_PING:
        proxy_timeline_tell(t, MAIN, "command", ev->offset, "PING %u",
                            get_be32(ev->data));
        break;
    case VFM_COMMAND_SWITCHOVER_START:
        w->switchover_started = true;
        tell_rounds(w, ev->offset, true);
        watch_enter(w, PHASE_SWITCHOVER);
        proxy_timeline_tell(t, MAIN, "command", ev->offset, "SWITCHOVER_START");
        break;
    default:
        proxy_timeline_tell(t, MAIN, "command", ev->offset, "command %u",
                            ev->u.command.number);
        break;
    }
}

static int take_data(struct watch *w, const struct vfm_stream_event *ev,
                     struct vfm_error *err)
{
    struct watched_device *dev = watch_device(w, ev->section.name);

    if (dev == NULL)
        return error_set(err, -E2BIG, "more than %d devices", WATCHED_DEVICES);
    if (ev->type == VFM_STREAM_VFIO_CONFIG)
        dev->has_config = true;
    else if (ev->type == VFM_STREAM_VFIO_DATA &&
             ev->section.type == VFM_SECTION_PART)
        dev->pre_copy_bytes += ev->len;
    else if (ev->type == VFM_STREAM_VFIO_DATA)
        dev->stop_copy_bytes += ev->len;
    else if (ev->type == VFM_STREAM_VFIO_INIT_DATA_SENT)
        proxy_timeline_tell(w->timeline, MAIN, "record", ev->offset,
                            "'%s': INIT_DATA_SENT", ev->section.name);
    return 0;
}

int watch_main_event(struct watch *w, const struct vfm_stream_event *ev,
                     struct vfm_error *err)
{
    switch (ev->type) {
    case VFM_STREAM_CONFIGURATION:
        proxy_timeline_tell(w->timeline, MAIN, "configuration", ev->offset,
                            "machine '%s'", ev->u.configuration.machine);
        return 0;
    case VFM_STREAM_COMMAND:
        take_command(w, ev);
        return 0;
    case VFM_STREAM_SECTION_BEGIN:
        begin_section(w, ev);
        return 0;
    case VFM_STREAM_SECTION_END:
        tell_section(w, ev);
        return 0;
    case VFM_STREAM_VFIO_SETUP:
    case VFM_STREAM_VFIO_DATA:
    case VFM_STREAM_VFIO_INIT_DATA_SENT:
    case VFM_STREAM_VFIO_CONFIG:
        return take_data(w, ev, err);
    case VFM_STREAM_RAM_PAGE:
    case VFM_STREAM_RAM_ZERO:
    case VFM_STREAM_RAM_XBZRLE:
        note_page(w, ev);
        tell_rounds(w, ev->offset, false);
        return 0;
    case VFM_STREAM_EOF:
        proxy_timeline_tell(w->timeline, MAIN, "end", ev->offset,
                            "end of the sections");
        watch_enter(w, PHASE_LOAD);
        w->over = true;
        return watch_check_switchover(w, err);
    case VFM_STREAM_WARNING:
        proxy_timeline_tell(w->timeline, MAIN, "warning", ev->offset, "%s",
                            ev->u.warning);
        return 0;
    default:
        return 0;
    }
}
