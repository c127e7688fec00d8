/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Target: checks what came, says that it is loaded, waits until the devices are
 * ours, and runs them.  Before `yours` they never run with what was loaded.
 */
#include <errno.h>
#include <string.h>

#include "migration/target.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/error.h"

enum { COMPARE, STOP_DEVICES, APPLY_CONFIG, LOAD_BLOBS };

static const struct vmdescription_device *find_description(
    const struct vmdescription *d, const char *section)
{
    for (size_t i = 0; d != NULL && i < d->num_devices; i++)
        if (strcmp(d->devices[i].section, section) == 0)
            return &d->devices[i];
    return NULL;
}

static int compare_digest(const struct vmdescription_device *theirs,
                          const struct member *member, struct vfm_error *err)
{
    uint64_t came =
        member->stats.pre_copy_bytes + member->stats.stop_copy_bytes;
    char hex[DIGEST_HEX_SIZE];

    if (theirs->bytes != came)
        return error_set(err, -EBADMSG,
                         "%s: the source sent %llu bytes of state, %llu came",
                         member->id, (unsigned long long)theirs->bytes,
                         (unsigned long long)came);
    digest_hex(member->digest, hex);
    if (theirs->xxh3_128[0] != '\0' && strcmp(theirs->xxh3_128, hex) != 0)
        return error_set(err, -EBADMSG,
                         "%s: the state was damaged on the way: digest %s, not "
                         "%s",
                         member->id, hex, theirs->xxh3_128);
    return 0;
}

static bool has_digest(const struct vmdescription_device *device)
{
    return device != NULL && device->xxh3_128[0] != '\0';
}

/* What belongs to the VM and not to a device. */
static int compare_vm(const struct vfm_migration *m, struct vfm_error *err)
{
    if (m->ram != NULL && !m->target.ram_ended)
        return error_set(err, -ENODATA, "ram: the stream holds no memory");
    for (unsigned int i = 0; i < m->num_blobs; i++)
        if (!m->blobs[i]->came)
            return error_set(err, -ENODATA, "%s: the stream does not hold it",
                             m->blobs[i]->is.name);
    return 0;
}

/* All of it came, and as it was sent. */
static int compare(struct vfm_migration *m, struct vfm_error *err)
{
    const struct vmdescription *d = m->target.description;
    bool described = d != NULL && d->has_vfmig;

    for (unsigned int i = 0; i < m->num_members; i++) {
        const struct member *member = m->members[i];
        const struct vmdescription_device *theirs =
            find_description(d, member->section);
        int ret = 0;

        if (!member->ended)
            return error_set(err, -ENODATA,
                             "%s: the stream holds no state for it",
                             member->id);
        if (!has_digest(theirs) && (described || peer_is(m, VFM_PEER_VFMIG)))
            return error_set(err, -EBADMSG,
                             "%s: the stream holds no digest for it",
                             member->id);
        if (theirs != NULL)
            ret = compare_digest(theirs, member, err);
        if (ret == 0)
            ret = flush_device(m, member, err);
        if (ret < 0)
            return ret;
    }
    return compare_vm(m, err);
}

static void note_checked(struct member *member, uint64_t ns)
{
    member->stats.check_ns += ns;
}

/* The decoder takes no section without a configuration record. */
static int apply_config(struct vfm_migration *m, struct member *member,
                        struct vfm_error *err)
{
    enum vfm_cause cause = spend_for(
        m, member->keeper.is_set ? VFM_CAUSE_VM : VFM_CAUSE_DEVICE, member);
    int ret = 0;

    if (member->keeper.is_set)
        ret = pci_keeper_load(&member->keeper, &member->config, member->dev,
                              member->id, err);
    else if (member->has_config)
        ret = pci_state_apply(&member->config, member->dev, err);
    spend(m, cause);
    return ret;
}

/* All at once: a device is asked and told several things, one after the
 * other. */
static int apply_configs(struct vfm_migration *m, struct vfm_error *err)
{
    int busy = 0;

    for (unsigned int i = 0; i < m->num_members; i++) {
        const uint64_t bit = UINT64_C(1) << i;
        int ret;

        if ((m->target.configured & bit) != 0)
            continue;
        ret = apply_config(m, m->members[i], err);
        if (ret == 0)
            m->target.configured |= bit;
        else if (ret == -EAGAIN)
            busy = ret;
        else
            return ret;
    }
    return busy;
}

/* In the source's order.  The VM does not run before it is ours. */
static int load_blobs(struct vfm_migration *m, struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_VM);
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < m->num_blobs; i++)
        ret = blob_load(m->target.arrived[i], err);
    spend(m, cause);
    return ret;
}

static int check_step(struct vfm_migration *m, struct vfm_error *err)
{
    switch (m->step) {
    case COMPARE:
        return compare(m, err);
    case STOP_DEVICES:
        return members_move(m, want_stop, note_checked, err);
    case APPLY_CONFIG:
        return apply_configs(m, err);
    case LOAD_BLOBS:
    default:
        return load_blobs(m, err);
    }
}

int target_check(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    target_tell_progress(m);
    while (ret == 0 && m->step <= LOAD_BLOBS) {
        ret = check_step(m, err);
        if (ret == 0)
            m->step++;
    }
    if (ret == 0)
        m->target.check_ns = (uint64_t)(clock_now() - m->stage_began_at);
    return talk_wait(m, ret, err);
}

int target_loaded(struct vfm_migration *m, struct vfm_error *err)
{
    const uint32_t shut_ok = 0;
    uint8_t check_ns[8];
    int ret = 0;

    put_be64(check_ns, m->target.check_ns);
    if (peer_is(m, VFM_PEER_VFMIG))
        ret = talk_say(m, MESSAGE_LOADED, check_ns, sizeof(check_ns), err);
    else if (m->target.return_path)
        ret = talk_say(m, MESSAGE_SHUT, &shut_ok, sizeof(shut_ok), err);
    if (ret < 0)
        return talk_wait(m, ret, err);
    m->said = false;
    /* Without a handover nobody says that they are. */
    m->target.ours = !peer_is(m, VFM_PEER_VFMIG);
    return 0;
}

/* What cannot be reached must not be taken over. */
static int check_devices(struct vfm_migration *m, struct vfm_error *err)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_DEVICE);
    int ret = 0;

    for (unsigned int i = 0; ret == 0 && i < m->num_members; i++)
        ret = device_check(m->members[i]->dev, err);
    spend(m, cause);
    return ret;
}

static int take_message(struct vfm_migration *m, const struct message *msg,
                        struct vfm_error *err)
{
    if (msg->type == MESSAGE_FAILED)
        return talk_failure(m, msg, err);
    if (msg->type != MESSAGE_YOURS || msg->len != 1)
        return error_set(err, -EPROTO,
                         "source: message 0x%04x where \"yours\" should be",
                         (unsigned int)msg->type);
    m->target.ours = true;
    m->target.turn = 0;
    m->target.heard_at = clock_now();
    m->target.source_running = msg->payload[0] != 0;
    return 0;
}

static int wait_for_yours(struct vfm_migration *m, struct vfm_error *err)
{
    struct message msg;
    int ret;

    while ((ret = message_next(&m->inbox, &msg, err)) == 0) {
        ret = talk_fill(m, err);
        if (ret == -ENODATA) {
            m->failed_at_peer = true;
            return error_set(err, -ECONNRESET,
                             "%s: the source hung up before it gave the "
                             "devices away",
                             vfm_channel_name(m->channel));
        }
        if (ret < 0)
            return ret;
    }
    return ret < 0 ? ret : take_message(m, &msg, err);
}

int target_yours(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    if (peer_is(m, VFM_PEER_VFMIG)) {
        ret = check_devices(m, err);
        if (ret == 0)
            ret = wait_for_yours(m, err);
        if (ret == -EAGAIN)
            target_tell_progress(m);
    }
    if (ret < 0)
        return talk_wait(m, ret, err);
    m->paused = m->paused || !m->target.source_running;
    return 0;
}

static void note_started(struct member *member, uint64_t ns)
{
    member->stats.start_ns += ns;
}

enum { RUN, SAY };

static int run_devices(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    if (!m->paused)
        ret = members_start(m, &m->quiet, note_started, err);
    if (ret == 0)
        ret = vm_start(m, err);
    if (ret == 0) {
        m->step = SAY;
        note_downtime(m);
    }
    return ret;
}

/* They run.  That the source did not hear it is its problem, and no reason to
 * stop them. */
static int say_running(struct vfm_migration *m)
{
    uint8_t times[2 * sizeof(uint64_t)];
    struct vfm_error err = { 0 };
    int ret = 0;

    put_be64(times, (uint64_t)m->target.heard_at);
    put_be64(times + sizeof(uint64_t), (uint64_t)clock_now());
    if (peer_is(m, VFM_PEER_VFMIG))
        ret = talk_say(m, MESSAGE_RUNNING, times,
                       m->target.asked ? sizeof(times) : 0, &err);
    ret = talk_wait(m, ret, &err);
    if (ret < 0 && ret != -EAGAIN)
        tell_warning(m, "the source could not be told that the devices run: %s",
                     err.message);
    return ret == -EAGAIN ? ret : 0;
}

int target_start(struct vfm_migration *m, struct vfm_error *err)
{
    int ret = 0;

    if (m->step == RUN) {
        ret = run_devices(m, err);
        if (ret == -EAGAIN)
            target_tell_progress(m);
    }
    if (ret == 0)
        ret = say_running(m);
    return ret;
}

enum { TELL, FINISH };

int target_cleanup(struct vfm_migration *m, struct vfm_error *err)
{
    int ret;

    if (m->step == TELL) {
        ret = talk_wait(m, target_tell_spans(m), err);
        if (ret == -EAGAIN)
            return ret;
        m->step = FINISH; /* who does not take it goes without */
    }
    ret = vfm_channel_finish(m->channel, err);

    if (ret < 0 && ret != -EAGAIN)
        tell_warning(m, "%s", err->message);
    return ret == -EAGAIN ? ret : 0;
}
