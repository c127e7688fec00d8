/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two migrations, driven by poll() on their descriptors.  What must be true of
 * them afterwards is in verdict.c.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "check/model.h"
#include "pair.h"
#include "relay.h"
#include "util/clock.h"
#include "util/error.h"

/* A migration that is not over by then hangs. */
#define DEADLINE_NS (10 * NS_PER_SEC)

uint8_t pair_data[PAIR_DATA_MAX + PAIR_DEVICES_MAX];

unsigned int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned int n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static struct pair_side *other(struct pair_side *side)
{
    return side->is_source ? &side->pair->target : &side->pair->source;
}

/* Whether all devices run, or do not. */
static bool all_run(const struct pair_side *side, bool run)
{
    for (unsigned int i = 0; i < side->pair->setup.num_devices; i++)
        if (model_runs(side->devices[i].state) != run)
            return false;
    return true;
}

static int stop_vm(void *opaque, struct vfm_error *err)
{
    struct pair_side *side = opaque;

    side->vm_stops++;
    if (!all_run(side, true))
        side->pair->vm_order_broken = true;
    if (side->stop_error != 0)
        return error_set(err, side->stop_error, "machine: does not stop");
    side->vm_runs = false;
    return 0;
}

static int start_vm(void *opaque, struct vfm_error *err)
{
    struct pair_side *side = opaque;

    side->vm_starts++;
    if (!all_run(side, true))
        side->pair->vm_order_broken = true;
    if (side->start_error != 0)
        return error_set(err, side->start_error, "machine: does not start");
    side->vm_runs = true;
    if (other(side)->vm_runs)
        side->pair->two_vms = true;
    return 0;
}

static int slow_vm(void *opaque, unsigned int percent, struct vfm_error *err)
{
    struct pair_side *side = opaque;

    side->slowed++;
    side->slow_percent = percent;
    if (side->slow_error != 0)
        return error_set(err, side->slow_error, "machine: is as slow as it is");
    return 0;
}

static void note_warning(struct pair_side *side, const char *text)
{
    size_t used = strlen(side->warned);

    side->warnings++;
    snprintf(side->warning, sizeof(side->warning), "%s", text);
    snprintf(side->warned + used, sizeof(side->warned) - used, "%s\n", text);
}

static void event(void *opaque, const struct vfm_event *ev)
{
    struct pair_side *side = opaque;

    if (ev->kind == VFM_EVENT_WARNING)
        note_warning(side, ev->text);
    if (ev->kind != VFM_EVENT_STAGE)
        return;
    side->stages_seen |= 1U << ev->stage;
    if (side->cancel_in == (unsigned int)ev->stage)
        vfm_migration_cancel(side->m);
}

static const struct vfm_migration_callbacks callbacks = {
    .size = sizeof(callbacks),
    .stop_vm = stop_vm,
    .start_vm = start_vm,
    .event = event,
    .slow_vm = slow_vm,
};

static void init_device(struct pair *p, struct fake_device *f,
                        unsigned int index, bool is_source)
{
    const struct pair_setup *s = &p->setup;
    char name[16];

    snprintf(name, sizeof(name), "%s%u", is_source ? "src" : "dst", index);
    fake_open(f, name, s->migration);
    fake_set_config(f, s->config_size);
    if (s->paused)
        fake_begin_in(f, VFM_STATE_STOP);
    f->clock = &p->clock;
    f->delay = s->delay;
    f->io_delay = s->io_delay;
    f->piece = s->piece != 0 ? s->piece : f->piece;
    f->dev->info.has_data_size = !s->no_data_size;
    f->dev->info.has_precopy_info =
        f->dev->info.has_precopy_info && !s->no_precopy_info;
    if (!is_source) {
        f->content = FAKE_NOTHING;
        f->room_size = s->room;
        f->expected = pair_data + index;
        f->expected_size = s->size + index;
        return;
    }
    f->data = pair_data + index;
    f->size = s->size + index;
    f->pre_copy_size = s->pre_copy_size;
    f->initial_size = s->initial_size;
    f->reinit_size = s->reinit_size;
}

static void init_side(struct pair *p, struct pair_side *side, bool is_source)
{
    side->pair = p;
    side->is_source = is_source;
    side->options = (struct vfm_migration_options){
        .size = sizeof(side->options),
        .role = is_source ? VFM_ROLE_SOURCE : VFM_ROLE_TARGET,
        .peer_timeout_ms = 5000,
        .callbacks = &callbacks,
        .opaque = side,
    };
    side->cancel_in = side->cancel_before = PAIR_NEVER;
    side->vm_runs = is_source && !p->setup.paused;
    side->initial = p->setup.paused ? VFM_STATE_STOP : VFM_STATE_RUNNING;
    for (unsigned int i = 0; i < p->setup.num_devices; i++)
        init_device(p, &side->devices[i], i, is_source);
}

void pair_init(struct pair *p, const struct pair_setup *setup)
{
    memset(p, 0, sizeof(*p));
    p->fds_before = count_fds();
    p->setup = *setup;
    if (pair_data[0] == 0 && pair_data[1] == 0)
        fake_pattern(pair_data, sizeof(pair_data), 3);
    init_side(p, &p->source, true);
    init_side(p, &p->target, false);
    for (unsigned int i = 0; i < setup->num_devices; i++) {
        p->source.devices[i].twin = &p->target.devices[i];
        p->target.devices[i].twin = &p->source.devices[i];
    }
}

void pair_use_relay(struct pair *p, size_t from_source, size_t from_target)
{
    p->has_relay = true;
    p->relay.cut[0] = from_source;
    p->relay.cut[1] = from_target;
}

/* On side->ch. */
static void new_migration(struct pair_side *side)
{
    struct vfm_error err = { 0 };
    char id[16];

    if (vfm_migration_new(side->ch, &side->options, &side->m, &err) < 0)
        fail_msg("%s", err.message);
    for (unsigned int i = 0; i < side->pair->setup.num_devices; i++) {
        if (i == 0 && side->pair->first_id != NULL)
            snprintf(id, sizeof(id), "%s", side->pair->first_id);
        else
            snprintf(id, sizeof(id), "dev%u", i);
        if (vfm_migration_add_device(side->m, side->devices[i].dev, id, &err))
            fail_msg("%s", err.message);
    }
    if (side->pair->prepare != NULL)
        side->pair->prepare(side);
}

void side_begin(struct pair_side *side, int fd)
{
    const char *name = side->is_source ? "to-target" : "to-source";
    struct vfm_error err = { 0 };

    assert_int_equal(vfm_channel_from_fd(fd, name, NULL, &side->ch, &err), 0);
    new_migration(side);
}

void side_begin_uri(struct pair_side *side, const char *uri)
{
    struct vfm_error err = { 0 };

    assert_int_equal(vfm_channel_connect(uri, NULL, &side->ch, &err), 0);
    new_migration(side);
}

/* Notes all there is to know, and lets go of the migration and the channel, as
 * a program does that ends. */
static void end_side(struct pair_side *side)
{
    side->over = true;
    side->outcome = vfm_migration_get_outcome(side->m);
    side->stage = vfm_migration_get_stage(side->m);
    side->vm_to_run = vfm_migration_vm_runs(side->m);
    side->progress.size = sizeof(side->progress);
    assert_int_equal(vfm_migration_get_progress(side->m, &side->progress), 0);
    side->ram.size = sizeof(side->ram);
    assert_int_equal(vfm_migration_get_ram_stats(side->m, &side->ram), 0);
    side->spent.size = sizeof(side->spent);
    assert_int_equal(vfm_migration_get_spent(side->m, &side->spent), 0);
    for (unsigned int i = 0; i < side->pair->setup.num_devices; i++) {
        side->stats[i].size = sizeof(side->stats[i]);
        assert_int_equal(
            vfm_migration_get_device_stats(side->m, i, &side->stats[i]), 0);
        memcpy(side->digests[i], side->stats[i].digest, VFM_DIGEST_SIZE);
    }
    if (side->pair->over != NULL)
        side->pair->over(side);
    assert_int_equal(vfm_migration_dispatch(side->m, NULL), side->ret);
    vfm_migration_close(side->m);
    side->m = NULL;
    if (side->pair->keeps_channels)
        return;
    vfm_channel_close(side->ch);
    side->ch = NULL;
}

static void dispatch(struct pair_side *side)
{
    if (side->dispatches++ == side->cancel_before)
        vfm_migration_cancel(side->m);
    side->ret = vfm_migration_dispatch(side->m, &side->err);
    if (side->ret != 1)
        end_side(side);
}

bool side_step(struct pair_side *side, int timeout_ms)
{
    struct pollfd pfd = { .events = POLLIN };

    if (side->over)
        return false;
    pfd.fd = vfm_migration_fd(side->m);
    if (poll(&pfd, 1, timeout_ms) != 1)
        return false;
    dispatch(side);
    return true;
}

void side_run(struct pair_side *side)
{
    int64_t deadline = clock_now() + DEADLINE_NS;

    while (!side->over)
        if (!side_step(side, clock_poll_timeout(deadline)))
            fail_msg("hangs in stage %s",
                     vfm_stage_name(vfm_migration_get_stage(side->m)));
}

void pair_begin(struct pair *p)
{
    int fds[2];

    if (p->has_relay) {
        relay_open(&p->relay, fds);
    } else {
        assert_int_equal(
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    }
    side_begin(&p->source, fds[0]);
    side_begin(&p->target, fds[1]);
    p->deadline = clock_now() + DEADLINE_NS;
}

static void hang(const struct pair *p)
{
    fail_msg(
        "%s: hangs: source %s, target %s", p->title,
        p->source.over ? "over"
                       : vfm_stage_name(vfm_migration_get_stage(p->source.m)),
        p->target.over ? "over"
                       : vfm_stage_name(vfm_migration_get_stage(p->target.m)));
}

/* Waits for anything, then does what is to be done once. */
void pair_step(struct pair *p)
{
    struct pair_side *sides[2] = { &p->source, &p->target };
    struct pollfd fds[2 + RELAY_FDS];
    int n = 2;

    if (p->setup.target_first) {
        sides[0] = &p->target;
        sides[1] = &p->source;
    }
    for (int i = 0; i < 2; i++)
        fds[i] = (struct pollfd){
            .fd = sides[i]->over ? -1 : vfm_migration_fd(sides[i]->m),
            .events = POLLIN,
        };
    if (p->has_relay)
        n += relay_poll_fds(&p->relay, fds + 2);
    poll(fds, (nfds_t)n, clock_poll_timeout(p->deadline));
    if (clock_now() >= p->deadline)
        hang(p);
    for (int i = 0; i < 2; i++)
        if (fds[i].revents != 0)
            dispatch(sides[i]);
    if (p->has_relay)
        relay_pump(&p->relay);
}

void pair_end(struct pair *p)
{
    while (!p->source.over || !p->target.over) {
        if (p->meanwhile != NULL)
            p->meanwhile(p);
        pair_step(p);
    }
}

void pair_run(struct pair *p)
{
    pair_begin(p);
    pair_end(p);
}

static void close_side(struct pair_side *side)
{
    vfm_migration_close(side->m);
    vfm_channel_close(side->ch);
    for (unsigned int i = 0; i < side->pair->setup.num_devices; i++)
        fake_close(&side->devices[i]);
}

void pair_close(struct pair *p)
{
    close_side(&p->source);
    close_side(&p->target);
    if (p->has_relay)
        relay_close(&p->relay);
    assert_int_equal(count_fds(), p->fds_before);
}

void pair_succeeds(struct pair *p)
{
    pair_run(p);
    if (p->source.ret != 0)
        fail_msg("source: %s", p->source.err.message);
    if (p->target.ret != 0)
        fail_msg("target: %s", p->target.err.message);
    assert_int_equal(p->source.outcome, VFM_OUTCOME_DONE);
    assert_int_equal(p->target.outcome, VFM_OUTCOME_DONE);
    pair_check(p);
}
