/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: stops the VM and the devices, sends what is left of their state and
 * their configuration, and ends the stream.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "migration/source.h"
#include "util/clock.h"
#include "util/error.h"

/* What one dispatch sends before the caller's loop has its turn. */
#define PIECES_MAX       16

/* Tag, and the tag that ends the body. */
#define CONFIG_TAGS_SIZE 16

enum { STOP_VM, QUIESCE, STOP_DEVICES, ANNOUNCE };

static enum vfm_state want_quiet(const struct vfm_migration *m,
                                 const struct member *member)
{
    enum vfm_state state = vfm_device_state(member->dev);

    if (m->num_members == 1)
        return state; /* nobody there to disturb */
    if (state == VFM_STATE_RUNNING)
        return VFM_STATE_RUNNING_P2P;
    return state == VFM_STATE_PRE_COPY ? VFM_STATE_PRE_COPY_P2P : state;
}

static enum vfm_state want_stop_copy(const struct vfm_migration *m,
                                     const struct member *member)
{
    (void)m;
    (void)member;
    return VFM_STATE_STOP_COPY;
}

static void note_stopped(struct member *member, uint64_t ns)
{
    member->stats.stop_ns += ns;
}

static int stop_step(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    switch (m->step) {
    case STOP_VM:
        ret = vm_stop(m, err);
        break;
    case QUIESCE:
        ret = source_move(m, want_quiet, note_stopped, err);
        break;
    case STOP_DEVICES:
        ret = source_move(m, want_stop_copy, note_stopped, err);
        break;
    case ANNOUNCE:
        ret = talk_flush(m, err); /* a ping may be half sent */
        if (ret < 0)
            break;
        outbox_begin(&m->outbox);
        encode_command(&m->outbox.head, VFM_COMMAND_SWITCHOVER_START, NULL, 0);
        break;
    default:
        break;
    }
    return ret;
}

int source_stop(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_listen(m, err);

    while (ret == 0 && m->step <= ANNOUNCE) {
        ret = stop_step(m, err);
        if (ret == 0)
            m->step++;
    }
    return talk_wait(m, ret, err);
}

enum { DATA, CONFIG, STOP_FOR_CONFIG, END_OF_STREAM, ENDING };

/* Ends the section whose data is complete; the next member's turn comes. */
static void end_section(struct vfm_migration *m, const struct member *member)
{
    outbox_begin(&m->outbox);
    if (!m->source.section_open)
        encode_section_continue(&m->outbox.head, VFM_SECTION_END,
                                member->section_id);
    encode_vfio_end(&m->outbox.head);
    encode_section_footer(&m->outbox.head, member->section_id);
    m->source.section_open = false;
    m->source.turn++;
}

/* Goes on to the next step, with the first member. */
static void next_step(struct vfm_migration *m, int step)
{
    m->step = step;
    m->source.turn = 0;
}

static int send_rest(struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int n = 0; n < PIECES_MAX; n++) {
        struct member *member;
        int ret = source_send_data(m, err);

        if (ret < 0)
            return ret;
        if (m->source.turn == m->num_members) {
            next_step(m, CONFIG);
            return 0;
        }
        member = m->members[m->source.turn];
        ret = source_put_data(m, member, VFM_SECTION_END, err);
        if (ret == -EAGAIN) {
            ret = source_keep_alive(m, err);
            return ret < 0 ? ret : -EAGAIN;
        }
        if (ret == 0)
            end_section(m, member);
        else if (ret < 0)
            return ret;
    }
    wish_wake(m, 0);
    return -EAGAIN;
}

static void put_config(struct vfm_migration *m, const struct member *member)
{
    struct outbox *box = &m->outbox;

    outbox_begin(box);
    encode_section_begin(&box->head, VFM_SECTION_FULL, member->section_id,
                         member->section, 0, 1);
    encode_vfio_config_head(&box->head);
    outbox_set_body(box, member->config.record, member->config.record_len);
    encode_vfio_end(&box->tail);
    encode_section_footer(&box->tail, member->section_id);
    m->source.turn++;
}

/* Some servers refuse access to regions in STOP_COPY, though not in STOP: what
 * was to be saved is saved, so that is where we go. */
static bool may_ask_again(const struct member *member)
{
    return vfm_device_state(member->dev) == VFM_STATE_STOP_COPY;
}

static int send_configs(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    while ((ret = talk_flush(m, err)) == 0) {
        struct member *member;

        if (m->source.turn == m->num_members) {
            next_step(m, END_OF_STREAM);
            return 0;
        }
        member = m->members[m->source.turn];
        ret = pci_state_save(&member->config, member->dev, err);
        if (ret == -EAGAIN) {
            ret = source_keep_alive(m, err);
            return ret < 0 ? ret : -EAGAIN;
        }
        if (ret < 0 && may_ask_again(member)) {
            m->step = STOP_FOR_CONFIG;
            return 0;
        }
        if (ret < 0)
            return ret;
        put_config(m, member);
    }
    return ret;
}

static void describe_device(const struct member *member,
                            struct vmdescription_section *section,
                            struct vmdescription_device *device)
{
    const struct vfm_device_info *info = &member->dev->info;

    section->name = device->section = member->section;
    section->bytes = member->config.record_len + CONFIG_TAGS_SIZE;
    device->bytes =
        member->stats.pre_copy_bytes + member->stats.stop_copy_bytes;
    digest_hex(member->digest, device->xxh3_128);
    device->identity = (struct vmdescription_identity){
        .backend = info->backend,
        .vendor = info->vendor_id,
        .device = info->device_id,
        .subsystem_vendor = info->subsystem_vendor_id,
        .subsystem = info->subsystem_id,
        .revision = info->revision_id,
        .class_code = info->class_code,
        .config_size = info->config_size,
        .msix_count = info->msix_count,
    };
}

static int describe(struct vfm_migration *m, size_t *len, struct vfm_error *err)
{
    struct vmdescription_section sections[VFM_DEVICES_MAX] = { 0 };
    struct vmdescription_device devices[VFM_DEVICES_MAX] = { 0 };
    const struct vmdescription description = {
        .machine = m->machine,
        .page_size = 4096,
        .sections = sections,
        .num_sections = m->num_members,
        .has_vfmig = true,
        .version = VFMIG_VERSION,
        .running = !m->paused,
        .devices = devices,
        .num_devices = m->num_members,
    };

    for (unsigned int i = 0; i < m->num_members; i++)
        describe_device(m->members[i], &sections[i], &devices[i]);
    free(m->source.text);
    m->source.text = NULL;
    return vmdescription_build(&description, &m->source.text, len, err);
}

static int put_end(struct vfm_migration *m, struct vfm_error *err)
{
    size_t len;
    int ret = describe(m, &len, err);

    if (ret < 0)
        return ret;
    outbox_begin(&m->outbox);
    encode_eof(&m->outbox.head);
    encode_vmdescription_head(&m->outbox.head, len);
    outbox_set_body(&m->outbox, m->source.text, len);
    m->step = ENDING;
    return 0;
}

/* A QEMU runs the devices once it has read the end of the stream, and that is
 * the first byte of this piece. */
static int send_end(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = talk_flush(m, err);

    if (peer_is(m, VFM_PEER_QEMU) && m->outbox.sent > 0)
        m->source.given = true;
    return ret;
}

static int complete_step(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    switch (m->step) {
    case DATA:
        ret = send_rest(m, err);
        if (ret == -EAGAIN)
            source_prefetch(m);
        break;
    case CONFIG:
        ret = send_configs(m, err);
        break;
    case STOP_FOR_CONFIG:
        ret = source_move(m, want_stop, note_stopped, err);
        if (ret == 0)
            m->step = CONFIG;
        break;
    case END_OF_STREAM:
        ret = put_end(m, err);
        break;
    default:
        ret = send_end(m, err);
        break;
    }
    return ret;
}

int source_complete(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_listen(m, err);
    int step;

    do {
        step = m->step;
        if (ret == 0)
            ret = complete_step(m, err);
    } while (ret == 0 && (step != ENDING || m->step != ENDING));
    return talk_wait(m, ret, err);
}
