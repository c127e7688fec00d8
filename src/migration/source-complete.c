/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source: the VM and the devices have stopped: sends what is left of memory and
 * of their state, the VMM's own, their configuration, and ends the stream.
 */
#include <errno.h>
#include <stdlib.h>

#include "migration/source.h"
#include "util/clock.h"

/* What one dispatch sends before the caller's loop has its turn. */
#define PIECES_MAX 16

enum {
    MEMORY,
    END_OF_MEMORY,
    DATA,
    BLOBS,
    CONFIG,
    END_OF_STREAM,
    ENDING,
};

/* Nobody writes it any more. */
static int send_memory(struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int n = 0; n < PIECES_MAX; n++) {
        int ret = source_send_data(m, err);

        if (ret < 0)
            return ret;
        if (source_put_ram(m) == 0) {
            if (m->ram != NULL)
                m->ram_stats.stopped_ns =
                    (uint64_t)(clock_now() - m->stage_began_at);
            m->step = m->ram == NULL ? DATA : END_OF_MEMORY;
            return 0;
        }
    }
    wish_wake(m, 0);
    return -EAGAIN;
}

/* Ends the section whose data is complete. */
static void put_section_end(struct vfm_migration *m,
                            const struct member *member)
{
    outbox_begin(&m->outbox);
    if (!m->source.section_open)
        encode_section_continue(&m->outbox.head, VFM_SECTION_END,
                                member->section_id);
    encode_vfio_end(&m->outbox.head);
    encode_section_footer(&m->outbox.head, member->section_id);
    m->source.section_open = false;
}

/* Goes on to the next step, with the first member. */
static void next_step(struct vfm_migration *m, int step)
{
    m->step = step;
    m->source.turn = 0;
}

/* Whether devices take turns, so that none waits until those before it are
 * through.  Parts of a device that has stopped are no news to anybody; but what
 * a QEMU gets is what a QEMU would send. */
static bool devices_take_turns(const struct vfm_migration *m)
{
    return m->num_members > 1 && !has_lanes(m) && !peer_is(m, VFM_PEER_QEMU);
}

/* A piece of the next device that has one, or the end of its section.  1 if
 * there was any, 0 if all have ended, -EAGAIN, or an error. */
static int put_turn(struct vfm_migration *m, struct vfm_error *err)
{
    int busy = 0;

    for (unsigned int i = 0; i < m->num_members; i++) {
        struct member *member = m->members[m->source.turn];
        int ret;

        m->source.turn = (m->source.turn + 1) % m->num_members;
        if (member->data_ended)
            continue;
        ret = source_put_data(m, member, VFM_SECTION_PART, err);
        if (ret == 0) {
            put_section_end(m, member);
            member->data_ended = true;
            return 1;
        }
        if (ret != -EAGAIN)
            return ret;
        busy = -EAGAIN;
    }
    return busy;
}

static int send_turns(struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int n = 0; n < PIECES_MAX; n++) {
        int ret = source_send_data(m, err);

        if (ret == 0)
            ret = put_turn(m, err);
        if (ret == 0) {
            next_step(m, BLOBS);
            return 0;
        }
        if (ret == -EAGAIN) {
            ret = source_keep_alive(m, err);
            return ret < 0 ? ret : -EAGAIN;
        }
        if (ret < 0)
            return ret;
    }
    wish_wake(m, 0);
    return -EAGAIN;
}

static int send_rest(struct vfm_migration *m, struct vfm_error *err)
{
    for (unsigned int n = 0; n < PIECES_MAX; n++) {
        struct member *member;
        int ret = source_send_data(m, err);

        if (ret < 0)
            return ret;
        if (m->source.turn == m->num_members) {
            next_step(m, BLOBS);
            return 0;
        }
        member = m->members[m->source.turn];
        ret =
            has_lanes(m) ? 0 : source_put_data(m, member, VFM_SECTION_END, err);
        if (ret == -EAGAIN) {
            ret = source_keep_alive(m, err);
            return ret < 0 ? ret : -EAGAIN;
        }
        if (ret < 0)
            return ret;
        if (ret == 0) {
            put_section_end(m, member); /* the next member's turn comes */
            m->source.turn++;
        }
    }
    wish_wake(m, 0);
    return -EAGAIN;
}

static void put_blob(struct vfm_migration *m, const struct blob *blob)
{
    struct outbox *box = &m->outbox;
    uint32_t id = BLOB_SECTION_FIRST + m->source.turn;

    outbox_begin(box);
    encode_section_begin(&box->head, VFM_SECTION_FULL, id, blob->section, 0,
                         blob->is.version);
    encode_blob_head(&box->head, blob->len);
    outbox_set_body(box, blob->bytes, blob->len);
    encode_blob_digest(&box->tail, blob->digest);
    encode_section_footer(&box->tail, id);
    m->source.turn++;
}

/* The VMM's own state is asked for when all that could change it has
 * stopped. */
static int send_blobs(struct vfm_migration *m, struct vfm_error *err)
{
    enum vfm_cause cause;
    int ret;

    while ((ret = talk_flush(m, err)) == 0) {
        if (m->source.turn == m->num_blobs) {
            next_step(m, CONFIG);
            return 0;
        }
        cause = spend(m, VFM_CAUSE_VM);
        ret = blob_save(m->blobs[m->source.turn], err);
        spend(m, cause);
        if (ret < 0)
            return ret;
        put_blob(m, m->blobs[m->source.turn]);
    }
    return ret;
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

/* Several channels have them: a section says no more than that. */
static void put_no_config(struct vfm_migration *m, const struct member *member)
{
    struct encoder *enc = &m->outbox.head;

    outbox_begin(&m->outbox);
    encode_section_begin(enc, VFM_SECTION_FULL, member->section_id,
                         member->section, 0, 1);
    encode_vfio_end(enc);
    encode_section_footer(enc, member->section_id);
    m->source.turn++;
}

static int send_no_configs(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (!m->source.lanes_over) {
        ret = source_keep_alive(m, err);
        return ret < 0 ? ret : -EAGAIN;
    }
    while ((ret = talk_flush(m, err)) == 0) {
        if (m->source.turn == m->num_members) {
            next_step(m, END_OF_STREAM);
            return 0;
        }
        put_no_config(m, m->members[m->source.turn]);
    }
    return ret;
}

static int send_configs(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_finish_configs(m, err);

    if (ret == -EAGAIN) {
        ret = source_keep_alive(m, err);
        return ret < 0 ? ret : -EAGAIN;
    }
    if (ret < 0)
        return ret;
    while ((ret = talk_flush(m, err)) == 0) {
        if (m->source.turn == m->num_members) {
            next_step(m, END_OF_STREAM);
            return 0;
        }
        put_config(m, m->members[m->source.turn]);
    }
    return ret;
}

static void describe_device(const struct vfm_migration *m,
                            const struct member *member,
                            struct vmdescription_section *section,
                            struct vmdescription_device *device)
{
    const struct vfm_device_info *info = &member->dev->info;

    section->name = device->section = member->section;
    section->bytes = has_lanes(m)
                         ? VFIO_TAG_BYTES
                         : member->config.record_len + VFIO_CONFIG_TAGS_BYTES;
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

static void describe_blob(const struct blob *blob,
                          struct vmdescription_section *section)
{
    section->name = blob->section;
    section->bytes = BLOB_HEAD_BYTES + blob->len + BLOB_DIGEST_BYTES;
}

static int describe(struct vfm_migration *m, size_t *len, struct vfm_error *err)
{
    struct vmdescription_section sections[VFM_DEVICES_MAX + VFM_BLOBS_MAX] = {
        0
    };
    struct vmdescription_device devices[VFM_DEVICES_MAX] = { 0 };
    const struct vmdescription description = {
        .machine = m->machine,
        .page_size = 4096,
        .sections = sections,
        .num_sections = m->num_blobs + m->num_members,
        .has_vfmig = true,
        .version = VFMIG_VERSION,
        .running = !m->paused,
        .devices = devices,
        .num_devices = m->num_members,
    };

    /* In the order of the stream. */
    for (unsigned int i = 0; i < m->num_blobs; i++)
        describe_blob(m->blobs[i], &sections[i]);
    for (unsigned int i = 0; i < m->num_members; i++)
        describe_device(m, m->members[i], &sections[m->num_blobs + i],
                        &devices[i]);
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
    case MEMORY:
        ret = send_memory(m, err);
        break;
    case END_OF_MEMORY:
        source_put_ram_end(m);
        m->step = DATA;
        break;
    case DATA:
        ret = devices_take_turns(m) ? send_turns(m, err) : send_rest(m, err);
        break;
    case BLOBS:
        ret = send_blobs(m, err);
        break;
    case CONFIG:
        ret = has_lanes(m) ? send_no_configs(m, err) : send_configs(m, err);
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

/* What goes over several channels goes beside what goes over this one. */
static int run_lanes(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (!has_lanes(m) || m->source.lanes_over)
        return 0;
    ret = source_run_lanes(m, err);
    m->source.lanes_over = ret == 0;
    return ret == -EAGAIN ? 0 : ret;
}

int source_complete(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = source_listen(m, err);
    int step;

    if (ret == 0)
        ret = run_lanes(m, err);
    /* The devices have stopped: what else they have to tell they can now. */
    if (ret == 0 && !has_lanes(m) && m->step < CONFIG)
        ret = source_ask_for_configs(m, err);

    do {
        step = m->step;
        if (ret == 0)
            ret = complete_step(m, err);
        /* The devices may read ahead as soon as they have stopped. */
        if (ret == -EAGAIN && m->step <= DATA && !has_lanes(m))
            source_prefetch(m);
    } while (ret == 0 && (step != ENDING || m->step != ENDING));
    return talk_wait(m, ret, err);
}
