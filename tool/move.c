/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a command line to a migration and back to an exit code.
 *
 * All that moves is the library's work; here the parts are put together, and
 * what they say is passed on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vfmig/channel.h>

#include "cmd.h"
#include "interrupt.h"
#include "join.h"
#include "move.h"
#include "predict.h"
#include "progress.h"
#include "pump.h"
#include "report.h"
#include "say.h"
#include "timeline.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/pages.h"

/* One run of a command. */
struct run {
    const struct move *move;
    int cancel_fd;
    struct vfm_device *devices[VFM_DEVICES_MAX];
    struct vfm_channel *channel;
    struct vfm_listener *listener; /* of the other channels */
    struct pump *pump;             /* or NULL; likewise: */
    struct join *join;
    struct vfm_migration *migration;
    struct progress bar;
    struct report report;
    struct timeline timeline;
};

/* Whether standard input or output carries the stream. */
static bool is_piped(const struct move *move)
{
    return move->is_file && strcmp(move->options.where, "-") == 0;
}

/* Whether nothing but the stream may be printed on standard output. */
static bool stdout_is_taken(const struct move *move)
{
    return move_is_source(move) &&
           (is_piped(move) ||
            (!move->is_file && strcmp(move->options.where, "fd:1") == 0));
}

static int open_devices(struct run *run, struct vfm_error *err)
{
    const struct device_list *list = &run->move->options.devices;

    for (size_t i = 0; i < list->count; i++) {
        int ret = device_arg_open(&list->items[i], &run->devices[i], err);

        if (ret == 0)
            ret = device_arg_can_move(run->devices[i], err);
        if (ret < 0)
            return ret;
        if (interrupt_is_pending())
            return error_set(err, -ECANCELED, "nothing was touched");
    }
    return 0;
}

/* The channel gets a descriptor of its own: standard input and output stay
 * those of the process. */
static int open_standard_stream(struct run *run,
                                const struct vfm_channel_options *options,
                                struct vfm_error *err)
{
    int standard = move_is_source(run->move) ? STDOUT_FILENO : STDIN_FILENO;
    const char *name =
        move_is_source(run->move) ? "standard output" : "standard input";
    int fd;
    int ret;

    if (isatty(standard))
        return error_set(err, -EINVAL,
                         "%s: is a terminal, which is no place for a stream",
                         name);
    fd = fcntl(standard, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0)
        return error_set(err, -errno, "%s: cannot use it: %s", name,
                         strerror(errno));

    ret = vfm_channel_from_fd(fd, name, options, &run->channel, err);
    if (ret < 0)
        close(fd);
    return ret;
}

#define PEER_TIMEOUT_MS 30000

static uint32_t peer_timeout_ms(const struct move_options *opts)
{
    return opts->peer_timeout_ms > 0 ? opts->peer_timeout_ms : PEER_TIMEOUT_MS;
}

/* The pump, which knows what is missing, is to notice first. */
static uint32_t migration_timeout_ms(const struct run *run)
{
    const struct move_options *opts = &run->move->options;
    uint32_t ms = peer_timeout_ms(opts);

    if (run->join != NULL)
        return UINT32_MAX; /* a machine may take hours to send */
    if (run->pump == NULL)
        return opts->peer_timeout_ms;
    return ms < UINT32_MAX / 2 ? 2 * ms : UINT32_MAX;
}

static int open_pump(struct run *run, struct vfm_listener *listener,
                     struct vfm_error *err)
{
    const struct move_options *opts = &run->move->options;
    const struct pump_options options = {
        .channels = opts->channels,
        .rest = opts->rest,
        .timeout_ms = peer_timeout_ms(opts),
        .cancel_fd = run->cancel_fd,
    };

    return pump_open(listener, &options, &run->pump, &run->channel, err);
}

static int open_join(struct run *run, const char *uri,
                     const struct vfm_channel_options *options,
                     struct vfm_error *err)
{
    const struct move_options *opts = &run->move->options;
    struct vfm_channel *outer;
    int ret = vfm_channel_connect(uri, options, &outer, err);

    if (ret < 0)
        return ret;
    if (strncmp(uri, "exec:", 5) == 0 || !vfm_channel_is_duplex(outer)) {
        ret = error_set(err, -EINVAL,
                        "%s: nobody could answer there, and with --rest the "
                        "answer is waited for: 'vfmig save' and 'vfmig splice' "
                        "make a file of it",
                        vfm_channel_name(outer));
        vfm_channel_close(outer);
        return ret;
    }
    return join_open(outer, opts->rest, peer_timeout_ms(opts), &run->join,
                     &run->channel, err);
}

static int accept_peer(struct run *run, const char *uri,
                       const struct vfm_channel_options *options,
                       struct vfm_error *err)
{
    struct vfm_listener *listener;
    int ret;

    ret = vfm_listener_open(uri, options, &listener, err);
    if (ret < 0)
        return ret;

    if (vfm_listener_fd(listener) >= 0)
        ret = say_listening(run->move->options.json ? stderr : stdout,
                            vfm_listener_address(listener), err);
    if (ret < 0) {
        vfm_listener_close(listener);
        return ret;
    }
    if (move_needs_pump(run->move))
        return open_pump(run, listener, err);
    ret = vfm_listener_accept(listener, &run->channel, err);
    if (run->move->options.channels > 0)
        run->listener = listener;
    else
        vfm_listener_close(listener);
    return ret;
}

static int open_uri(struct run *run, const char *uri,
                    const struct vfm_channel_options *options,
                    struct vfm_error *err)
{
    int ret;

    if (!move_is_source(run->move))
        return accept_peer(run, uri, options, err);
    if (!run->move->is_file)
        progress_show_connecting(&run->bar, uri);
    ret = move_needs_pump(run->move)
              ? open_join(run, uri, options, err)
              : vfm_channel_connect(uri, options, &run->channel, err);
    progress_clear(&run->bar);
    return ret;
}

static int open_channel(struct run *run, struct vfm_error *err)
{
    const struct move_options *opts = &run->move->options;
    struct vfm_channel_options options = VFM_CHANNEL_OPTIONS_INIT;
    char *uri;
    int ret;

    options.connect_timeout_ms = opts->connect_timeout_ms;
    options.finish_timeout_ms = peer_timeout_ms(opts);
    options.max_bandwidth = opts->max_bandwidth;
    options.cancel_fd = run->cancel_fd;
    if (is_piped(run->move) || stdout_is_taken(run->move))
        return open_standard_stream(run, &options, err);
    if (!run->move->is_file)
        return open_uri(run, opts->where, &options, err);

    if (asprintf(&uri, "file:%s", opts->where) < 0)
        return error_set(err, -ENOMEM, "%s: out of memory",
                         move_name(run->move));
    ret = open_uri(run, uri, &options, err);
    free(uri);
    return ret;
}

/* Each line leaves at once: somebody waits for it. */
static void say_step(const struct vfm_event *event)
{
    if (event->kind == VFM_EVENT_STAGE)
        fprintf(stderr, "stage %s\n", vfm_stage_name(event->stage));
    else
        fprintf(stderr, "device %s %s\n", event->device,
                vfm_state_name(event->state));
    fflush(stderr);
}

static void take_event(void *opaque, const struct vfm_event *event)
{
    struct run *run = opaque;

    timeline_add(&run->timeline, event);
    if (event->kind != VFM_EVENT_WARNING && !run->move->options.verbose)
        return;
    progress_clear(&run->bar);
    if (event->kind != VFM_EVENT_WARNING) {
        say_step(event);
        return;
    }
    say_warning("%s", event->text);
    report_add_warning(&run->report, event->text);
}

static int add_devices(struct run *run, struct vfm_error *err)
{
    const struct device_list *list = &run->move->options.devices;
    int ret = 0;

    for (size_t i = 0; ret == 0 && i < list->count; i++) {
        ret = vfm_migration_add_device(run->migration, run->devices[i],
                                       list->items[i].id, err);
        if (ret == 0 && run->pump != NULL)
            ret = pump_add_device(run->pump, list->items[i].id, err);
        if (ret == 0 && run->join != NULL)
            ret = join_add_device(run->join, list->items[i].id, err);
    }
    return ret;
}

/* A QEMU answers on a socket; one that was given a pipe or a command cannot. */
static bool has_return_path(const struct run *run)
{
    const char *where = run->move->options.where;

    return move_is_source(run->move) &&
           move_peer_of(run->move) == VFM_PEER_QEMU &&
           strncmp(where, "exec:", 5) != 0 &&
           vfm_channel_is_duplex(run->channel);
}

/* The target listens, so that this does not wait for long. */
static int connect_channel(void *opaque, struct vfm_channel **chp,
                           struct vfm_error *err)
{
    const struct run *run = opaque;
    struct vfm_channel_options options = move_channel_options(run->move);

    options.cancel_fd = run->cancel_fd;
    return vfm_channel_connect(run->move->options.where, &options, chp, err);
}

/* As the library is to have it: a QEMU's are the pump's. */
static uint32_t count_channels(const struct run *run)
{
    return run->pump == NULL ? run->move->options.channels : 0;
}

static int make_migration(struct run *run, struct vfm_error *err)
{
    static const struct vfm_migration_callbacks callbacks = {
        .size = sizeof(callbacks),
        .event = take_event,
        .connect_channel = connect_channel,
    };
    const struct move_options *opts = &run->move->options;
    struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = run->move->role,
        .peer = move_peer_of(run->move),
        .paused = opts->paused,
        .keep_running =
            move_is_source(run->move) && run->move->is_file && !opts->stop,
        .machine = opts->machine,
        .downtime_limit_ms = opts->downtime_limit_ms,
        .pre_copy_timeout_ms = opts->pre_copy_timeout_ms,
        .force_switchover = opts->force_switchover,
        .return_path = has_return_path(run),
        .switchover_ack = opts->switchover_ack,
        .peer_timeout_ms = migration_timeout_ms(run),
        .callbacks = &callbacks,
        .opaque = run,
        .channels = count_channels(run),
        .compress = opts->compress,
        .listener = run->listener,
        .memory_max = opts->memory_max,
        .parallel = opts->parallel,
    };
    int ret;

    ret = vfm_migration_new(run->channel, &options, &run->migration, err);
    return ret < 0 ? ret : add_devices(run, err);
}

/* A signal that interrupts this has cancelled already. */
static void wait_for_news(struct run *run)
{
    struct pollfd fds[PUMP_FDS_MAX + 1];
    int64_t until = clock_deadline(0);
    int timeout = progress_poll_timeout(&run->bar);
    int until_timeout;
    nfds_t n = 0;

    fds[n++] = (struct pollfd){
        .fd = vfm_migration_fd(run->migration),
        .events = POLLIN,
    };
    if (run->pump != NULL)
        n += (nfds_t)pump_poll_fds(run->pump, fds + n, &until);
    if (run->join != NULL)
        n += (nfds_t)join_poll_fds(run->join, fds + n, &until);
    until_timeout = clock_poll_timeout(until);
    if (timeout < 0 || (until_timeout >= 0 && until_timeout < timeout))
        timeout = until_timeout;
    poll(fds, n, timeout);
}

/* The pump knows why the migration's stream has ended; that one knows what
 * became of the devices. */
static void merge_errors(const struct vfm_error *why, struct vfm_error *err)
{
    const char *devices = strstr(err->message, "; ");
    struct vfm_error both;

    error_set(&both, why->code, "%.400s%s", why->message,
              devices != NULL ? devices : "");
    *err = both;
}

static int end_pump(struct run *run, int ret, struct vfm_error *err)
{
    if (ret < 0 && run->join != NULL && join_failure(run->join) != NULL)
        merge_errors(join_failure(run->join), err);
    if (run->pump == NULL)
        return ret;
    pump_finish(run->pump, ret == 0);
    /* A migration that failed for reasons of its own knows better. */
    if (ret == -ENODATA && pump_failure(run->pump) != NULL)
        merge_errors(pump_failure(run->pump), err);
    return ret;
}

/* To the end, with a look at the progress line now and then. */
static int drive(struct run *run, struct vfm_error *err)
{
    int ret;

    interrupt_watch(run->migration);
    while ((ret = vfm_migration_dispatch(run->migration, err)) > 0) {
        progress_show(&run->bar, run->migration);
        wait_for_news(run);
        if (run->pump != NULL)
            pump_run(run->pump);
        if (run->join != NULL)
            join_run(run->join);
    }
    interrupt_watch(NULL);
    progress_clear(&run->bar);
    return end_pump(run, ret, err);
}

/* Before anything is touched. */
static int predict(struct run *run, struct vfm_error *err)
{
    const struct move_options *opts = &run->move->options;
    const struct predict_input how = {
        .devices = (unsigned int)opts->devices.count,
        .max_bandwidth = opts->max_bandwidth,
        .parallel = opts->parallel,
    };

    return opts->predict == NULL ? 0
                                 : predict_alike(opts->predict, &how,
                                                 &run->report.prediction, err);
}

static int do_move(struct run *run, struct vfm_error *err)
{
    int ret;

    ret = interrupt_install(move_name(run->move), err);
    if (ret < 0)
        return ret;
    run->cancel_fd = ret;

    ret = predict(run, err);
    if (ret < 0)
        return ret;
    ret = timeline_open(&run->timeline, run->move->options.timeline, err);
    if (ret < 0)
        return ret;
    ret = open_devices(run, err);
    if (ret < 0)
        return ret;
    ret = open_channel(run, err);
    if (ret < 0)
        return ret;
    ret = make_migration(run, err);
    if (ret < 0)
        return ret;
    return drive(run, err);
}

static enum vfm_outcome get_outcome(const struct run *run)
{
    return run->migration != NULL ? vfm_migration_get_outcome(run->migration)
                                  : VFM_OUTCOME_FAILED;
}

static int exit_code(const struct run *run, int ret)
{
    switch (get_outcome(run)) {
    case VFM_OUTCOME_DONE:
        return ret < 0 ? EXIT_FAILED : EXIT_DONE;
    case VFM_OUTCOME_LOST:
        return EXIT_LOST;
    case VFM_OUTCOME_HANDED_OVER:
        return EXIT_HANDED_OVER;
    case VFM_OUTCOME_PENDING:
    case VFM_OUTCOME_FAILED:
        break;
    }
    return EXIT_FAILED;
}

/* What follows "cancelled" in the library's sentence: what became of the
 * devices that were touched.  All of it if it is worded otherwise. */
static const char *after_cancelled(const char *message)
{
    static const char start[] = "migration: cancelled";
    size_t length = sizeof(start) - 1;

    if (strcmp(message, start) == 0)
        return "nothing was touched";
    return strncmp(message, start, length) == 0 && message[length] == ';'
               ? message + length + 2
               : message;
}

static void say_why(const struct run *run, const struct vfm_error *err)
{
    const char *command = move_name(run->move);

    if (get_outcome(run) == VFM_OUTCOME_HANDED_OVER)
        say_error("%s: handed over, but not confirmed: %s: look at the other "
                  "side with 'vfmig state', when its receiver has ended; only "
                  "if the device does not run there: "
                  "'vfmig state -d %s RUNNING' here",
                  command, err->message,
                  run->move->options.devices.items[0].word);
    else if (err->code == -ECANCELED)
        say_error("%s: cancelled: %s", command, after_cancelled(err->message));
    else
        say_error("%s", err->message);
}

/* The devices have moved, or have not: a trace that cannot be kept changes
 * nothing. */
static void write_timeline(struct run *run)
{
    struct vfm_error err;

    if (run->migration == NULL ||
        timeline_write(&run->timeline, move_name(run->move), run->migration,
                       &err) == 0)
        return;
    say_warning("%s", err.message);
    report_add_warning(&run->report, err.message);
}

static void report(struct run *run, int ret, const struct vfm_error *err)
{
    const struct move_options *opts = &run->move->options;

    run->report.migration = run->migration;
    if (ret < 0) {
        run->report.error = err->message;
        say_why(run, err);
    }
    if (opts->json)
        report_print_json(&run->report);
    else if (ret == 0 && !opts->quiet)
        report_print_summary(&run->report,
                             stdout_is_taken(run->move) ? stderr : stdout);
}

static int run_move(const struct move *move)
{
    struct run run = { .move = move, .report = { .move = move } };
    struct vfm_error err = { 0 };
    int code;
    int ret;

    pages_fetch_program();
    progress_init(&run.bar, move->options.quiet);
    ret = do_move(&run, &err);
    code = exit_code(&run, ret);
    write_timeline(&run);
    report(&run, ret, &err);

    vfm_migration_close(run.migration);
    vfm_channel_close(run.channel);
    vfm_listener_close(run.listener);
    pump_close(run.pump);
    join_close(run.join);
    for (size_t i = 0; i < move->options.devices.count; i++)
        vfm_device_close(run.devices[i]);
    report_finish(&run.report);
    timeline_close(&run.timeline);
    return code;
}

static int check_and_run(const struct move *move)
{
    struct vfm_error err = { 0 };
    int code;

    if (!device_list_is_usable(&move->options.devices, move_name(move)))
        return EXIT_USAGE;
    if (move->options.json && stdout_is_taken(move))
        return say_usage(move_name(move),
                         "--json and '%s' both want standard output",
                         move->options.where);
    code = move_check_peer(move);
    if (code != EXIT_DONE)
        return code;
    if (!move->is_file && vfm_channel_check_uri(move->options.where, &err) < 0)
        return say_usage(move_name(move), "%s", err.message);

    code = stdout_is_taken(move) ? EXIT_DONE : say_if_stdout_is_closed();
    return code == EXIT_DONE ? run_move(move) : code;
}

int move_command(struct move *move, int argc, char **argv)
{
    int first;
    int code;

    code = args_parse(move->syntax, argc, argv, &move->options, &first);
    if (code == ARGS_GO_ON) {
        move->options.where = argv[first];
        code = check_and_run(move);
    }
    device_list_free(&move->options.devices);
    return code;
}
