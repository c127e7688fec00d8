/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Target: what each event of the stream does.
 *
 * An event stays until it is used up: the bytes it points to lie in the inbox,
 * which is not filled again before.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "migration/target.h"
#include "util/clock.h"
#include "util/error.h"

/* The body of QEMU's section "globalstate": a length, then the run state. */
#define GLOBALSTATE        "globalstate"
#define GLOBALSTATE_OFFSET 4
#define RUNNING            "running"

static int use_configuration(struct vfm_migration *m, struct vfm_error *err)
{
    const char *machine = m->target.event.u.configuration.machine;

    snprintf(m->target.machine, sizeof(m->target.machine), "%s", machine);
    if (m->machine == NULL || strcmp(m->machine, machine) == 0)
        return 0;
    return error_set(err, -ENODEV,
                     "stream: its machine is \"%.64s\", ours \"%.64s\"",
                     machine, m->machine);
}

/* Whether a device of ours still expects to be told that its initial data is
 * complete. */
static bool any_is_expecting(const struct vfm_migration *m)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (!m->members[i]->initial_announced &&
            vfm_device_has_state(m->members[i]->dev, VFM_STATE_PRE_COPY))
            return true;
    return false;
}

static int open_return_path(struct vfm_migration *m, struct vfm_error *err)
{
    m->target.return_path =
        peer_is(m, VFM_PEER_QEMU) && vfm_channel_is_duplex(m->channel);
    /* Nothing will be announced that could be acknowledged later. */
    if (m->target.return_path && acknowledges_once(m, m->target.machine) &&
        !any_is_expecting(m))
        return talk_say(m, MESSAGE_SWITCHOVER_ACK, NULL, 0, err);
    return 0;
}

static int answer_ping(struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_stream_event *ev = &m->target.event;

    if (!m->target.return_path || ev->len != sizeof(uint32_t))
        return 0;
    return talk_say(m, MESSAGE_PONG, ev->data, ev->len, err);
}

static int use_command(struct vfm_migration *m, struct vfm_error *err)
{
    switch (m->target.event.u.command.number) {
    case VFM_COMMAND_OPEN_RETURN_PATH:
        return open_return_path(m, err);
    case VFM_COMMAND_PING:
        return answer_ping(m, err);
    case VFM_COMMAND_SWITCHOVER_START:
        m->target.source_stopped = true;
        return 0;
    default:
        return 0;
    }
}

/* A section that nobody waits for is a mistake unless a whole VM comes. */
static int begin_other_section(struct vfm_migration *m,
                               const struct vfm_stream_section *section,
                               struct vfm_error *err)
{
    if (section->kind == VFM_SECTION_KIND_RAM && m->ram != NULL)
        return 0;
    if (section->kind == VFM_SECTION_KIND_BLOB) {
        m->target.blob = blobs_find(m, section->name);
        if (m->target.blob != NULL)
            return 0;
    }
    if (section->kind == VFM_SECTION_KIND_VFIO)
        return error_set(err, -ENODEV,
                         "stream: holds the state of \"%.128s\", for which no "
                         "device is waiting",
                         section->name);
    if (peer_is(m, VFM_PEER_VFMIG))
        return error_set(err, -EPROTO,
                         "stream: section \"%.128s\" was not announced",
                         section->name);
    return 0;
}

static int begin_section(struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_stream_section *section = &m->target.event.section;
    struct member *member = members_find(m, section->name);

    m->target.loading = member;
    m->target.blob = NULL;
    /* A device that data lands in says so again. */
    if (member == NULL)
        m->inbox.most = 0;
    if (section->type == VFM_SECTION_END || section->type == VFM_SECTION_FULL)
        m->target.source_stopped = true;
    if (member == NULL)
        return begin_other_section(m, section, err);
    if (section->type == VFM_SECTION_END)
        member->ended = true;
    return 0;
}

/* What lies in the device's own memory is the device's once it is written. */
static void note_landed(struct vfm_migration *m)
{
    struct target *t = &m->target;

    if (!t->landing.noted)
        note_data(m, t->loading, t->event.data, t->event.len, t->source_stopped,
                  t->busy_since);
    t->landing.noted = true;
}

/* Hands the event's data to its device.  0 when it has all of it. */
static int write_data(struct vfm_migration *m, struct vfm_error *err)
{
    struct target *t = &m->target;
    bool landed = landing_holds(&t->landing, t->event.data);

    if (landed)
        note_landed(m);
    while (t->event_used < t->event.len) {
        const char *data = (const char *)t->event.data + t->event_used;
        enum vfm_cause cause = spend(m, VFM_CAUSE_DEVICE);
        ssize_t n = device_write(t->loading->dev, data,
                                 t->event.len - t->event_used, err);

        spend(m, cause);
        if (n < 0)
            return wish_data(m, (int)n);
        if (!landed)
            note_data(m, t->loading, data, (size_t)n, t->source_stopped,
                      t->busy_since);
        t->event_used += (size_t)n;
        t->loaded_bytes += (uint64_t)n;
    }
    if (landed)
        t->landing = (struct landing){ 0 };
    return 0;
}

static int use_data(struct vfm_migration *m, struct vfm_error *err)
{
    struct target *t = &m->target;
    int64_t now = clock_now();
    int ret;

    if (t->loading == NULL)
        return 0;
    if (has_lanes(m) && t->source_stopped)
        return error_set(err, -EPROTO,
                         "%s: state that belongs on one of the other channels",
                         t->loading->id);
    if (t->busy_since == 0)
        t->busy_since = now;
    ret = write_data(m, err);
    if (ret < 0)
        return ret;
    t->busy_ns += (uint64_t)(clock_now() - t->busy_since);
    t->busy_since = 0;
    return 0;
}

/* The source may stop the devices once this one has what it needs to begin:
 * all that was written must have reached it. */
static int acknowledge(struct vfm_migration *m, struct vfm_error *err)
{
    struct target *t = &m->target;
    int ret;

    if (t->loading == NULL)
        return 0;
    ret = flush_device(m, t->loading, err);
    if (ret < 0 || (!peer_is(m, VFM_PEER_VFMIG) && !t->return_path))
        return ret;
    t->loading->initial_announced = true;
    if (acknowledges_once(m, m->target.machine) && any_is_expecting(m))
        return 0;
    return talk_say(m, MESSAGE_SWITCHOVER_ACK, NULL, 0, err);
}

static int use_config(struct vfm_migration *m, struct vfm_error *err)
{
    struct member *member = m->target.loading;

    if (member == NULL)
        return 0;
    if (has_lanes(m))
        return error_set(err, -EPROTO,
                         "%s: a configuration that belongs on one of the other "
                         "channels",
                         member->id);
    member->has_config = true;
    return pci_state_set(&member->config, m->target.event.data,
                         m->target.event.len, err);
}

static int use_page(struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_stream_event *ev = &m->target.event;

    if (m->target.ram == NULL)
        return 0;
    if (m->target.source_stopped)
        m->ram_stats.stopped_pages++;
    return ram_load_page(m->target.ram, ev->u.ram.block, ev->u.ram.address,
                         ev->data, ev->len, err);
}

static int use_block(struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_stream_event *ev = &m->target.event;

    if (m->target.ram == NULL)
        return 0;
    return ram_load_block(m->target.ram, ev->u.ram.block, ev->u.ram.block_size,
                          err);
}

static int refuse_delta(struct vfm_migration *m, struct vfm_error *err)
{
    if (m->target.ram == NULL)
        return 0;
    return error_set(
        err, -EOPNOTSUPP,
        "stream: a page is sent as a difference (XBZRLE), which is "
        "not read");
}

static int end_section(struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_stream_section *section = &m->target.event.section;

    if (section->kind != VFM_SECTION_KIND_RAM || m->target.ram == NULL)
        return 0;
    if (section->type == VFM_SECTION_START)
        return ram_load_list_over(m->target.ram, err);
    m->target.ram_ended = section->type == VFM_SECTION_END;
    return 0;
}

static int use_blob(struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_stream_event *ev = &m->target.event;
    struct blob *blob = m->target.blob;

    if (blob == NULL)
        return 0;
    switch (ev->type) {
    case VFM_STREAM_BLOB_BEGIN:
        return blob_begin(blob, ev->section.version, ev->u.blob.size, err);
    case VFM_STREAM_BLOB_DATA:
        blob_add(blob, ev->data, ev->len);
        return 0;
    default:
        m->target.arrived[m->target.num_arrived++] = blob;
        return blob_end(blob, ev->data, err);
    }
}

static void use_opaque(struct vfm_migration *m)
{
    const struct vfm_stream_event *ev = &m->target.event;

    if (strcmp(ev->section.name, GLOBALSTATE) == 0 &&
        ev->len >= GLOBALSTATE_OFFSET + sizeof(RUNNING))
        m->target.source_running =
            memcmp((const char *)ev->data + GLOBALSTATE_OFFSET, RUNNING,
                   sizeof(RUNNING)) == 0;
}

static int use_description(struct vfm_migration *m, struct vfm_error *err)
{
    struct target *t = &m->target;
    int ret =
        vmdescription_parse(t->event.data, t->event.len, &t->description, err);

    if (ret == 0 && t->description->has_vfmig)
        t->source_running = t->description->running;
    return ret;
}

static int use(struct vfm_migration *m, struct vfm_error *err)
{
    switch (m->target.event.type) {
    case VFM_STREAM_CONFIGURATION:
        return use_configuration(m, err);
    case VFM_STREAM_COMMAND:
        return use_command(m, err);
    case VFM_STREAM_SECTION_BEGIN:
        return begin_section(m, err);
    case VFM_STREAM_VFIO_DATA:
        return use_data(m, err);
    case VFM_STREAM_VFIO_INIT_DATA_SENT:
        return acknowledge(m, err);
    case VFM_STREAM_VFIO_CONFIG:
        return use_config(m, err);
    case VFM_STREAM_OPAQUE:
        use_opaque(m);
        return 0;
    case VFM_STREAM_VMDESCRIPTION:
        return use_description(m, err);
    case VFM_STREAM_WARNING:
        tell_warning(m, "%s", m->target.event.u.warning);
        return 0;
    case VFM_STREAM_SECTION_END:
        return end_section(m, err);
    case VFM_STREAM_RAM_BLOCK:
        return use_block(m, err);
    case VFM_STREAM_RAM_PAGE:
    case VFM_STREAM_RAM_ZERO:
        return use_page(m, err);
    case VFM_STREAM_RAM_XBZRLE:
        return refuse_delta(m, err);
    case VFM_STREAM_BLOB_BEGIN:
    case VFM_STREAM_BLOB_DATA:
    case VFM_STREAM_BLOB_END:
        return use_blob(m, err);
    case VFM_STREAM_HEADER:
    case VFM_STREAM_VFIO_SETUP:
    case VFM_STREAM_VFIO_DATA_BEGIN:
    case VFM_STREAM_VFIO_CONFIG_LOAD_READY:
    case VFM_STREAM_RAM_FLUSH:
    case VFM_STREAM_EOF:
    default:
        return 0;
    }
}

int target_use_event(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = use(m, err);

    if (ret == 0)
        m->said = false;
    return ret;
}
