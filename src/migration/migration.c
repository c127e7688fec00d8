/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handle of a migration: options, devices, blockers, figures.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migration/source.h"
#include "util/error.h"
#include "util/options.h"
#include "util/pages.h"
#include "util/text.h"

#define DOWNTIME_LIMIT_MS   300
#define PRE_COPY_TIMEOUT_MS 600000
#define PEER_TIMEOUT_MS     30000
#define MACHINE             "vfmig"

/* A target takes this much from the channel before it goes to the devices; a
 * source's peer only says little. */
#define INBOX_TARGET        (UINT32_C(1) << 20)
#define INBOX_SOURCE        (UINT32_C(1) << 17)

/* A name in the stream has a length of 8 bits; a section's has "/vfio" in it.
 */
#define NAME_MAX_LEN        255
#define ID_MAX              (NAME_MAX_LEN - 5)

static void set_default(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static int check_channels(const struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_migration_options *o = &m->options;

    if (o->channels > VFM_CHANNELS_MAX)
        return error_set(err, -EINVAL, "migration: more than %d channels",
                         VFM_CHANNELS_MAX);
    if (o->peer != VFM_PEER_VFMIG && !(is_source(m) && o->return_path))
        return error_set(err, -EINVAL,
                         "migration: several channels are between two vfmigs, "
                         "or go to a QEMU that answers");
    if (is_source(m) && m->callbacks.connect_channel == NULL)
        return error_set(err, -EINVAL,
                         "migration: nobody connects the other channels");
    if (!is_source(m) &&
        (o->listener == NULL || vfm_listener_fd(o->listener) < 0))
        return error_set(err, -EINVAL,
                         "migration: nobody listens for the other channels");
    return 0;
}

static int check_options(const struct vfm_migration *m, struct vfm_error *err)
{
    const struct vfm_migration_options *o = &m->options;

    if (o->role != VFM_ROLE_SOURCE && o->role != VFM_ROLE_TARGET)
        return error_set(err, -EINVAL, "migration: no such role: %u",
                         (unsigned int)o->role);
    if ((unsigned int)o->peer > VFM_PEER_NONE)
        return error_set(err, -EINVAL, "migration: no such peer: %u",
                         (unsigned int)o->peer);
    if (o->peer == VFM_PEER_VFMIG && !vfm_channel_is_duplex(m->channel))
        return error_set(err, -EINVAL,
                         "%s: goes one way, and a vfmig at its end could not "
                         "answer",
                         vfm_channel_name(m->channel));
    /* One that no stream can hold would fail when the devices have stopped. */
    if (o->machine != NULL && !text_is_name(o->machine, NAME_MAX_LEN, ""))
        return error_set(err, -EINVAL, "migration: \"%.64s\" names no machine",
                         o->machine);
    if (o->role != VFM_ROLE_SOURCE &&
        (o->max_bandwidth != 0 || o->pause_before_switchover))
        return error_set(
            err, -EINVAL,
            "migration: how fast it goes and when it switches over "
            "is the source's to say");
    if (o->return_path &&
        (o->role != VFM_ROLE_SOURCE || o->peer != VFM_PEER_QEMU ||
         !vfm_channel_is_duplex(m->channel)))
        return error_set(err, -EINVAL,
                         "%s: a return path is from a QEMU to its source, on a "
                         "channel that goes both ways",
                         vfm_channel_name(m->channel));
    if (o->switchover_ack && !o->return_path)
        return error_set(err, -EINVAL,
                         "%s: there is nobody to acknowledge initial data",
                         vfm_channel_name(m->channel));
    if (o->keep_running &&
        (o->role != VFM_ROLE_SOURCE || o->peer != VFM_PEER_NONE))
        return error_set(err, -EINVAL,
                         "migration: devices that somebody else gets cannot "
                         "go on running");
    return o->channels > 0 ? check_channels(m, err) : 0;
}

static int set_options(struct vfm_migration *m,
                       const struct vfm_migration_options *options,
                       struct vfm_error *err)
{
    struct vfm_migration_options *o = &m->options;
    int ret = options_copy(o, sizeof(*o), options, "migration", err);

    if (ret < 0)
        return ret;
    set_default(&o->downtime_limit_ms, DOWNTIME_LIMIT_MS);
    set_default(&o->pre_copy_timeout_ms, PRE_COPY_TIMEOUT_MS);
    set_default(&o->peer_timeout_ms, PEER_TIMEOUT_MS);
    m->paused = o->paused;
    if (o->callbacks != NULL)
        ret = options_copy(&m->callbacks, sizeof(m->callbacks), o->callbacks,
                           "migration: callbacks", err);
    if (ret < 0)
        return ret;
    if (o->machine != NULL || o->role == VFM_ROLE_SOURCE) {
        m->machine = strdup(o->machine != NULL ? o->machine : MACHINE);
        if (m->machine == NULL)
            return error_set(err, -ENOMEM, "migration: out of memory");
    }
    return check_options(m, err);
}

/* The lower of the two limits, where 0 is none. */
static void limit_bandwidth(struct vfm_migration *m)
{
    uint64_t ours = m->options.max_bandwidth;
    uint64_t channels = m->channel_bandwidth;

    if (ours == 0 || (channels != 0 && channels < ours))
        ours = channels;
    vfm_channel_set_max_bandwidth(m->channel, ours);
}

static int init(struct vfm_migration *m,
                const struct vfm_migration_options *options,
                struct vfm_error *err)
{
    int ret = set_options(m, options, err);

    if (ret < 0)
        return ret;
    m->source.remaining = m->source.expected_ns = POLICY_UNKNOWN;
    m->channel_bandwidth = vfm_channel_max_bandwidth(m->channel);
    if (is_source(m))
        limit_bandwidth(m);
    m->target.source_running = true; /* unless the stream says no */
    outbox_begin(&m->outbox);
    ret = lanes_init(m, err);
    if (ret < 0)
        return ret;
    if (inbox_init(&m->inbox, is_source(m) ? INBOX_SOURCE : INBOX_TARGET) < 0)
        return error_set(err, -ENOMEM, "migration: out of memory");
    return wait_init(m, err);
}

int vfm_migration_new(struct vfm_channel *channel,
                      const struct vfm_migration_options *options,
                      struct vfm_migration **mp, struct vfm_error *err)
{
    struct vfm_migration *m = calloc(1, sizeof(*m));
    int ret;

    *mp = NULL;
    if (m == NULL)
        return error_set(err, -ENOMEM, "migration: out of memory");
    /* It has the records of what happens while nobody runs. */
    pages_fetch(m, sizeof(*m));
    m->channel = channel;
    m->spent_for = m->wait.device = SPAN_NO_ONE;
    m->epoll_fd = m->cancel_fd = m->due_fd = m->timer_fd = -1;
    ret = init(m, options, err);
    if (ret < 0) {
        m->over = true;
        vfm_migration_close(m);
        return ret;
    }
    *mp = m;
    return 0;
}

void vfm_migration_close(struct vfm_migration *m)
{
    if (m == NULL)
        return;
    if (m->begun && !m->over) {
        vfm_migration_cancel(m);
        vfm_migration_run(m, NULL);
    }
    while (m->blockers != NULL)
        vfm_migration_remove_blocker(m, m->blockers->number);
    source_close_ram(m);
    lanes_close(m);
    for (unsigned int i = 0; i < m->num_members; i++)
        member_free(m->members[i]);
    for (unsigned int i = 0; i < m->num_blobs; i++)
        blob_free(m->blobs[i]);
    ram_load_free(m->target.ram);
    vfm_decoder_free(m->target.decoder);
    vmdescription_free(m->target.description);
    free(m->target.text);
    free(m->source.text);
    inbox_close(&m->inbox);
    wait_close(m);
    free(m->machine);
    free(m);
}

struct member *migration_find(const struct vfm_migration *m, const char *id)
{
    for (unsigned int i = 0; i < m->num_members; i++)
        if (strcmp(m->members[i]->id, id) == 0)
            return m->members[i];
    return NULL;
}

static int check_id(const struct vfm_migration *m, const char *id,
                    struct vfm_error *err)
{
    if (!text_is_name(id, ID_MAX, " /"))
        return error_set(err, -EINVAL, "%.64s: not a device's id", id);
    if (migration_find(m, id) != NULL)
        return error_set(err, -EEXIST, "%s: two devices of that id", id);
    return 0;
}

int vfm_migration_add_device(struct vfm_migration *m, struct vfm_device *dev,
                             const char *id, struct vfm_error *err)
{
    int ret = check_id(m, id, err);

    if (ret < 0)
        return ret;
    if (m->begun)
        return error_set(err, -EBUSY, "%s: the migration has begun", id);
    if (!vfm_device_has_state(dev, VFM_STATE_STOP_COPY))
        return error_set(err, -EOPNOTSUPP, "%s: %s cannot be migrated", id,
                         vfm_device_name(dev));
    if (m->num_members == VFM_DEVICES_MAX)
        return error_set(err, -E2BIG, "%s: more than %u devices", id,
                         (unsigned int)VFM_DEVICES_MAX);

    ret = member_new(dev, id, DEVICE_SECTION_FIRST + m->num_members,
                     &m->members[m->num_members]);
    if (ret < 0)
        return error_set(err, ret, "%s: out of memory", id);
    m->members[m->num_members]->index = (int)m->num_members;
    m->num_members++;
    return 0;
}

int vfm_migration_set_pci(struct vfm_migration *m, const char *id,
                          const struct vfm_pci_keeper *keeper,
                          struct vfm_error *err)
{
    struct member *member = migration_find(m, id);

    if (member == NULL)
        return error_set(err, -ENOENT, "%.64s: no device of this migration",
                         id);
    if (m->begun)
        return error_set(err, -EBUSY, "%s: the migration has begun", id);
    if (member->keeper.is_set)
        return error_set(err, -EBUSY,
                         "%s: somebody keeps its configuration already", id);
    return pci_keeper_set(&member->keeper, keeper, !is_source(m), id, err);
}

int vfm_migration_set_ram(struct vfm_migration *m, struct vfm_ram *ram,
                          struct vfm_error *err)
{
    if (m->begun)
        return error_set(err, -EBUSY, "ram: the migration has begun");
    if (m->ram != NULL)
        return error_set(err, -EBUSY, "ram: there is some already");
    m->ram = ram;
    return 0;
}

int vfm_migration_add_tracker(struct vfm_migration *m,
                              struct vfm_dirty_tracker *tracker,
                              const struct vfm_device *dev,
                              struct vfm_error *err)
{
    if (m->begun)
        return error_set(err, -EBUSY, "%s: the migration has begun",
                         vfm_dirty_tracker_name(tracker));
    return tracking_add(m, tracker, dev, err);
}

int vfm_migration_add_blob(struct vfm_migration *m, const struct vfm_blob *blob,
                           struct vfm_error *err)
{
    struct blob *new;
    int ret;

    if (m->begun)
        return error_set(err, -EBUSY, "blob: the migration has begun");
    if (m->num_blobs == VFM_BLOBS_MAX)
        return error_set(err, -E2BIG, "blob: more than %d", VFM_BLOBS_MAX);
    ret = blob_new(blob, !is_source(m), &new, err);
    if (ret < 0)
        return ret;
    if (blobs_find(m, new->section) != NULL) {
        ret =
            error_set(err, -EEXIST, "%s: two blobs of that name", new->is.name);
        blob_free(new);
        return ret;
    }
    m->blobs[m->num_blobs++] = new;
    return 0;
}

struct blob *blobs_find(struct vfm_migration *m, const char *section)
{
    for (unsigned int i = 0; i < m->num_blobs; i++)
        if (strcmp(m->blobs[i]->section, section) == 0)
            return m->blobs[i];
    return NULL;
}

int vfm_migration_add_blocker(struct vfm_migration *m, const char *reason)
{
    size_t size = strlen(reason) + 1;
    struct blocker **last = &m->blockers;
    struct blocker *b;

    if (m->begun)
        return -EBUSY;
    b = malloc(sizeof(*b) + size);
    if (b == NULL)
        return -ENOMEM;
    memcpy(b->reason, reason, size);
    b->number = ++m->last_blocker;
    b->next = NULL;
    while (*last != NULL)
        last = &(*last)->next;
    *last = b;
    return b->number;
}

void vfm_migration_remove_blocker(struct vfm_migration *m, int blocker)
{
    for (struct blocker **b = &m->blockers; *b != NULL; b = &(*b)->next) {
        struct blocker *gone = *b;

        if (gone->number == blocker) {
            *b = gone->next;
            free(gone);
            return;
        }
    }
}

int vfm_migration_get_blocker(const struct vfm_migration *m, unsigned int n,
                              struct vfm_error *err)
{
    return blocker_get(m, n, err);
}

int vfm_migration_fd(const struct vfm_migration *m)
{
    return m->epoll_fd;
}

int vfm_migration_dispatch(struct vfm_migration *m, struct vfm_error *err)
{
    if (!m->over) {
        spend(m, VFM_CAUSE_SELF);
        wait_begin(m);
        stages_run(m);
        wait_update(m);
        if (!m->over)
            return 1;
    }
    if (m->failure.code != 0 && err != NULL)
        *err = m->failure;
    return m->failure.code;
}

int vfm_migration_run(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    while ((ret = vfm_migration_dispatch(m, err)) == 1) {
        struct pollfd pfd = { .fd = m->epoll_fd, .events = POLLIN };

        /* To return too early does no harm, to give up here would. */
        poll(&pfd, 1, -1);
    }
    return ret;
}

int vfm_migration_continue(struct vfm_migration *m, struct vfm_error *err)
{
    if (!m->options.pause_before_switchover || m->over)
        return error_set(err, -EINVAL, "migration: there is no pause to end");
    m->source.may_continue = true;
    wait_wake(m);
    return 0;
}

void vfm_migration_set_downtime_limit(struct vfm_migration *m,
                                      uint32_t downtime_limit_ms)
{
    m->options.downtime_limit_ms = downtime_limit_ms;
    set_default(&m->options.downtime_limit_ms, DOWNTIME_LIMIT_MS);
}

void vfm_migration_set_max_bandwidth(struct vfm_migration *m,
                                     uint64_t bytes_per_second)
{
    m->options.max_bandwidth = bytes_per_second;
    if (is_source(m) && m->stage <= VFM_STAGE_PRE_COPY && !m->over)
        limit_bandwidth(m);
}

void vfm_migration_cancel(struct vfm_migration *m)
{
    const uint64_t one = 1;
    int saved = errno;

    atomic_store(&m->cancelled, true);
    /* The counter cannot overflow in anybody's lifetime. */
    if (write(m->cancel_fd, &one, sizeof(one)) < 0)
        errno = saved;
    errno = saved;
}
