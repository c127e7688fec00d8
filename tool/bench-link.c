/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Measuring a link, and a trial over it: a migration up to the moment in which
 * the target has loaded all of it, and would be given the device.  There it is
 * cancelled: the source's device runs on, the target's is reset.
 */
#include <errno.h>
#include <time.h>

#include <vfmig/migration.h>

#include "bench-wire.h"
#include "bench.h"
#include "interrupt.h"
#include "util/clock.h"
#include "util/error.h"

#define PINGS         33
#define PING_PAUSE_NS (NS_PER_SEC / 1000)
#define BULK_FIRST    (UINT64_C(4) << 20)
#define BULK_NS       (NS_PER_SEC / 4)

/* What a device that does not converge is given. */
#define PRE_COPY_MS   10000

/* No device takes as long to start. */
#define START_MAX_NS  (3600 * (uint64_t)NS_PER_SEC)

/* Both sides call it that. */
#define TRIAL_ID      "bench"

/* So long that both sides sleep, as those of a migration do that wait for a
 * word: waking up is most of what a word takes on a fast link. */
static void pause_between_pings(void)
{
    const struct timespec pause = { .tv_nsec = PING_PAUSE_NS };

    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

static int ping(struct bench *bench, struct vfm_channel *ch,
                struct vfm_error *err)
{
    struct bench rtts = { 0 };

    for (unsigned int i = 0; i < PINGS; i++) {
        struct wire wire = { .type = WIRE_PING, .a = i };
        int64_t start;
        int ret;

        pause_between_pings();
        start = clock_now();
        ret = wire_send(ch, &wire, err);
        if (ret == 0)
            ret = wire_recv(ch, WIRE_PONG, &wire,
                            clock_deadline(WIRE_TIMEOUT_MS), err);
        if (ret < 0)
            return ret;
        bench_add(&rtts, BENCH_RTT_NS, (uint64_t)(clock_now() - start));
    }
    bench_add(bench, BENCH_RTT_NS, bench_value(&rtts, BENCH_RTT_NS).median);
    return 0;
}

static int send_bulk(struct vfm_channel *ch, uint64_t bytes, uint64_t *rate,
                     struct vfm_error *err)
{
    struct wire wire = { .type = WIRE_BULK, .a = bytes };
    int64_t deadline = clock_deadline(WIRE_BULK_MS);
    int64_t start = clock_now();
    int ret = wire_send(ch, &wire, err);

    if (ret == 0)
        ret = wire_send_bulk(ch, bytes, deadline, err);
    if (ret == 0)
        ret = wire_recv(ch, WIRE_DONE, &wire, deadline, err);
    if (ret < 0)
        return ret;
    *rate = (uint64_t)((double)bytes * NS_PER_SEC /
                       (double)(clock_now() - start + 1));
    return 0;
}

/* A little first, to know how much is worth it. */
static int measure_rate(struct bench *bench, struct vfm_channel *ch,
                        struct vfm_error *err)
{
    uint64_t bytes = BULK_FIRST;
    uint64_t rate = 0;
    int ret = send_bulk(ch, bytes, &rate, err);

    if (ret < 0)
        return ret;
    if (rate / (NS_PER_SEC / BULK_NS) > bytes) {
        bytes = rate / (NS_PER_SEC / BULK_NS);
        bytes = bytes < WIRE_BULK_MAX ? bytes : WIRE_BULK_MAX;
        ret = send_bulk(ch, bytes, &rate, err);
    }
    if (ret == 0)
        bench_add(bench, BENCH_LINK_RATE, rate);
    return ret;
}

/* One side of a trial, while it is under way. */
struct trial_run {
    struct vfm_migration *migration;
    enum vfm_role role;
    struct bench_move *moved;
    int64_t began_at;
    struct bench_busy busy;
};

/* What a trial measures: from the stop, or at the target from when the rest may
 * come, until all is loaded. */
static void begin_window(struct trial_run *run)
{
    run->began_at = clock_now();
    bench_busy(&run->busy);
}

static void end_window(struct trial_run *run)
{
    run->moved->stopped_ns = (uint64_t)(clock_now() - run->began_at);
    run->moved->busy_permille = bench_busy(&run->busy);
    run->moved->is_measured = true;
}

/* A stage is told of before anything of it is done, and a migration that is
 * cancelled does no more: so `yours` is never said, and the device stays
 * ours. */
static void take_event(void *opaque, const struct vfm_event *event)
{
    struct trial_run *run = opaque;
    bool is_source = run->role == VFM_ROLE_SOURCE;

    if (event->kind != VFM_EVENT_STAGE)
        return;
    if (event->stage == (is_source ? VFM_STAGE_STOP : VFM_STAGE_COMPLETE))
        begin_window(run);
    if (event->stage != (is_source ? VFM_STAGE_YOURS : VFM_STAGE_LOADED))
        return;
    end_window(run);
    if (is_source)
        vfm_migration_cancel(run->migration);
}

static int make_migration(struct trial_run *run, struct vfm_channel *ch,
                          struct vfm_device *dev, struct vfm_error *err)
{
    static const struct vfm_migration_callbacks callbacks = {
        .size = sizeof(callbacks),
        .event = take_event,
    };
    bool is_source = run->role == VFM_ROLE_SOURCE;
    const struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = run->role,
        .peer = VFM_PEER_VFMIG,
        .paused = !is_source,
        .pre_copy_timeout_ms = is_source ? PRE_COPY_MS : 0,
        .force_switchover = is_source,
        .callbacks = &callbacks,
        .opaque = run,
    };
    int ret = vfm_migration_new(ch, &options, &run->migration, err);

    return ret < 0
               ? ret
               : vfm_migration_add_device(run->migration, dev, TRIAL_ID, err);
}

/* A trial that went as far as it was to go has failed: the source has cancelled
 * it, and the target was told so. */
static int judge(const struct trial_run *run, int ret, bool *is_lost,
                 struct vfm_error *err)
{
    int end = run->role == VFM_ROLE_SOURCE ? -ECANCELED : -EREMOTEIO;

    *is_lost = vfm_migration_get_outcome(run->migration) == VFM_OUTCOME_LOST;
    if (ret == 0) {
        *is_lost = true;
        return error_set(err, -EPROTO,
                         "bench: the other side has given its device away "
                         "rather than cancelled the trial: what it held is in "
                         "this one now, which is stopped");
    }
    if (ret != end || !run->moved->is_measured ||
        vfm_migration_get_outcome(run->migration) != VFM_OUTCOME_FAILED)
        return ret;
    *err = (struct vfm_error){ 0 };
    return 0;
}

/* Moves the device as far as a trial goes; what it came to is in @moved. */
static int move(struct vfm_channel *ch, struct vfm_device *dev,
                enum vfm_role role, struct bench_move *moved, bool *is_lost,
                struct vfm_error *err)
{
    struct trial_run run = { .role = role, .moved = moved };
    struct vfm_device_stats stats = { .size = sizeof(stats) };
    int ret;

    *moved = (struct bench_move){ 0 };
    ret = make_migration(&run, ch, dev, err);
    if (ret == 0) {
        interrupt_watch(run.migration);
        ret = vfm_migration_run(run.migration, err);
        interrupt_watch(NULL);
        vfm_migration_get_device_stats(run.migration, 0, &stats);
        moved->stop_ns = stats.stop_ns;
        moved->check_ns = stats.check_ns;
        moved->stop_copy_bytes = stats.stop_copy_bytes;
        ret = judge(&run, ret, is_lost, err);
    }
    vfm_migration_close(run.migration);
    return ret;
}

/* The other side may say anything, or speak of the trial of a third. */
static int add_result(struct bench *bench, const struct bench_trial *trial,
                      const struct wire *result, struct vfm_error *err)
{
    const struct bench_move *moved = &trial->move;
    uint64_t busy = moved->busy_permille;

    if (result->a > moved->stopped_ns || result->b > START_MAX_NS)
        return error_set(err, -EPROTO,
                         "bench: the other side's figures are not those of "
                         "this trial");
    if (result->c > busy && result->c <= 1000)
        busy = result->c;
    bench_add(bench, BENCH_TRIAL_STOPPED_NS, moved->stopped_ns);
    bench_add(bench, BENCH_TRIAL_STOP_NS, moved->stop_ns);
    bench_add(bench, BENCH_TRIAL_CHECK_NS, result->a);
    bench_add(bench, BENCH_TRIAL_START_NS, result->b);
    bench_add(bench, BENCH_TRIAL_BYTES, moved->stop_copy_bytes);
    if (busy > 0)
        bench_add(bench, BENCH_TRIAL_BUSY, busy);
    return 0;
}

/* The first words on a connection.  *@has_device is the other side's. */
static int greet(struct vfm_channel *ch, uint64_t run, bool *has_device,
                 struct vfm_error *err)
{
    struct wire wire = { .type = WIRE_HELLO, .b = run };
    int ret = wire_send(ch, &wire, err);

    if (ret == 0)
        ret = wire_recv(ch, WIRE_HELLO, &wire, clock_deadline(WIRE_TIMEOUT_MS),
                        err);
    *has_device = ret == 0 && wire.a != 0;
    return ret;
}

static int try_it(struct vfm_channel *ch, struct bench_trial *trial,
                  bool *is_lost, struct vfm_error *err)
{
    struct wire wire = { .type = WIRE_TRIAL };
    int ret = wire_send(ch, &wire, err);

    if (ret == 0)
        ret =
            wire_recv(ch, WIRE_GO, &wire, clock_deadline(WIRE_TIMEOUT_MS), err);
    if (ret == 0)
        ret = move(ch, trial->dev, VFM_ROLE_SOURCE, &trial->move, is_lost, err);
    trial->is_pending = ret == 0;
    return ret;
}

int bench_link(struct bench *bench, struct vfm_channel *ch,
               struct bench_trial *trial, bool is_last, bool *is_lost,
               struct vfm_error *err)
{
    struct wire bye = { .type = WIRE_BYE, .a = is_last };
    bool has_device;
    int ret = greet(ch, trial->run, &has_device, err);

    if (ret == 0)
        ret = ping(bench, ch, err);
    if (ret == 0)
        ret = measure_rate(bench, ch, err);
    if (ret < 0)
        return ret;
    if (trial->dev != NULL && has_device)
        return try_it(ch, trial, is_lost, err);
    return wire_send(ch, &bye, err);
}

int bench_fetch(struct bench *bench, struct vfm_channel *ch,
                const struct bench_trial *trial, bool is_last,
                struct vfm_error *err)
{
    const struct wire bye = { .type = WIRE_BYE, .a = is_last };
    struct wire wire = { .type = WIRE_FETCH };
    bool has_device;
    int ret = greet(ch, trial->run, &has_device, err);

    if (ret == 0)
        ret = wire_send(ch, &wire, err);
    if (ret == 0)
        ret = wire_recv(ch, WIRE_RESULT, &wire, clock_deadline(WIRE_TIMEOUT_MS),
                        err);
    if (ret == 0)
        ret = add_result(bench, trial, &wire, err);
    return ret < 0 ? ret : wire_send(ch, &bye, err);
}

/* Of the two arcs only the second is one of a migration. */
static int time_start(struct vfm_device *dev, uint64_t *ns,
                      struct vfm_error *err)
{
    int ret = vfm_device_set_state(dev, VFM_STATE_STOP, err);
    int64_t start = clock_now();

    if (ret == 0)
        ret = vfm_device_set_state(dev, VFM_STATE_RUNNING, err);
    *ns = (uint64_t)(clock_now() - start);
    return ret;
}

/* The device is nobody's, as long as it can be reset. */
static int bring_back(struct bench_server *server, enum vfm_state was, int ret,
                      struct vfm_error *err)
{
    if (vfm_device_recover(server->dev, was, err) == VFM_RECOVERY_FAILED)
        server->is_lost = true;
    return ret;
}

/* Loads the device, which the trial's end resets; then times its start, and
 * brings it back to the state that it was in. */
static int load_trial(struct vfm_channel *ch, struct bench_server *server,
                      struct vfm_error *err)
{
    enum vfm_state was = vfm_device_state(server->dev);
    struct bench_move moved = { 0 };
    uint64_t start_ns = 0;
    int ret =
        move(ch, server->dev, VFM_ROLE_TARGET, &moved, &server->is_lost, err);

    if (ret < 0)
        return ret;
    ret = time_start(server->dev, &start_ns, err);
    if (ret == 0)
        ret = vfm_device_set_state(server->dev, was, err);
    if (ret < 0)
        return bring_back(server, was, ret, err);
    server->result = (struct wire){
        .type = WIRE_RESULT,
        .a = moved.check_ns,
        .b = start_ns,
        .c = moved.busy_permille,
    };
    return 0;
}

static int serve_trial(struct vfm_channel *ch, struct bench_server *server,
                       struct vfm_error *err)
{
    const struct wire wire = { .type = WIRE_GO };
    int ret;

    if (server->dev == NULL)
        return error_set(err, -EPROTO,
                         "%s: the other side wants a trial, and there is no "
                         "device here",
                         vfm_channel_name(ch));
    ret = wire_send(ch, &wire, err);
    return ret == 0 ? load_trial(ch, server, err) : ret;
}

static int serve_fetch(struct vfm_channel *ch, const struct wire *result,
                       struct vfm_error *err)
{
    if (result->type != WIRE_RESULT)
        return error_set(err, -EPROTO, "%s: there was no trial yet",
                         vfm_channel_name(ch));
    return wire_send(ch, result, err);
}

static int serve_bulk(struct vfm_channel *ch, uint64_t bytes,
                      struct vfm_error *err)
{
    const struct wire done = { .type = WIRE_DONE };
    int ret;

    if (bytes > WIRE_BULK_MAX)
        return error_set(err, -E2BIG, "%s: %llu bytes at once are too many",
                         vfm_channel_name(ch), (unsigned long long)bytes);
    ret = wire_recv_bulk(ch, bytes, clock_deadline(WIRE_BULK_MS), err);
    return ret < 0 ? ret : wire_send(ch, &done, err);
}

/* There is one result: another bench would take it for its own. */
static int serve_hello(struct vfm_channel *ch, struct bench_server *server,
                       struct wire *wire, struct vfm_error *err)
{
    if (server->has_run && wire->b != server->run) {
        server->is_stranger = true;
        return error_set(err, -EBUSY,
                         "%s: another bench is under way with this listener",
                         vfm_channel_name(ch));
    }
    server->has_run = true;
    server->run = wire->b;
    wire->a = server->dev != NULL;
    return wire_send(ch, wire, err);
}

/* Does what a frame asks for.  Returns 0 if the connection goes on, what
 * bench_serve() returns if not. */
static int serve_frame(struct vfm_channel *ch, struct bench_server *server,
                       struct wire *wire, struct vfm_error *err)
{
    int ret;

    switch (wire->type) {
    case WIRE_HELLO:
        return serve_hello(ch, server, wire, err);
    case WIRE_PING:
        wire->type = WIRE_PONG;
        return wire_send(ch, wire, err);
    case WIRE_BULK:
        return serve_bulk(ch, wire->a, err);
    case WIRE_TRIAL:
        ret = serve_trial(ch, server, err);
        return ret < 0 ? ret : BENCH_SERVE_MORE;
    case WIRE_FETCH:
        return serve_fetch(ch, &server->result, err);
    case WIRE_BYE:
        return wire->a != 0 ? BENCH_SERVE_LAST : BENCH_SERVE_MORE;
    default:
        return error_set(err, -EPROTO,
                         "%s: a message of type %u, which is no request",
                         vfm_channel_name(ch), wire->type);
    }
}

int bench_serve(struct vfm_channel *ch, struct bench_server *server,
                struct vfm_error *err)
{
    int64_t end = clock_deadline(WIRE_ASKING_MS);
    struct vfm_error ignored;
    int ret = 0;

    for (int i = 0; ret == 0 && i < WIRE_FRAMES_MAX; i++) {
        int64_t deadline = clock_min(end, clock_deadline(WIRE_TIMEOUT_MS));
        struct wire wire;

        ret = wire_recv(ch, i == 0 ? WIRE_HELLO : 0, &wire, deadline, err);
        server->is_stranger = i == 0 && ret < 0;
        if (ret < 0)
            return ret;
        ret = serve_frame(ch, server, &wire, err);
    }
    if (ret == 0)
        ret = error_set(err, -EPROTO, "%s: the other side asks for ever",
                        vfm_channel_name(ch));
    /* Why is more use there than a connection that ends. */
    if (ret < 0)
        wire_refuse(ch, err->message, &ignored);
    return ret;
}
