/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig bench: what moving a device takes, in figures; the words of it.
 *
 * How it is measured: bench-device.c and bench-link.c.
 */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "bench-wire.h"
#include "bench.h"
#include "cmd.h"
#include "interrupt.h"
#include "one-device.h"
#include "quantity.h"
#include "say.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/pages.h"

/* Between two connections the other side resets and opens its device. */
#define NEXT_TIMEOUT_MS 120000

struct bench_options {
    struct device_list devices;
    const char *listen;
    const char *output;
    uint32_t rounds;
    bool load;
    bool json;
};

static int take_rounds(const char *value, void *into, struct vfm_error *err)
{
    uint64_t rounds;
    int ret = quantity_parse_number(value, BENCH_ROUNDS_MAX, &rounds, err);

    if (ret == 0 && rounds == 0)
        ret = error_set(err, -EINVAL, "'%.60s' is not above 0", value);
    if (ret == 0)
        *(uint32_t *)into = (uint32_t)rounds;
    return ret;
}

static const struct args_option listen_at = {
    .name = "listen",
    .value = "URI",
    .take = args_take_string,
    .offset = offsetof(struct bench_options, listen),
    .help = "be the other side of a link; with -d the target of its trials, "
            "and what the device holds is lost",
};

static const struct args_option load = {
    .name = "load",
    .take = args_take_flag,
    .offset = offsetof(struct bench_options, load),
    .help = "have the device loaded with what it has saved, too; it loses "
            "that if this fails",
};

static const struct args_option rounds = {
    .name = "rounds",
    .value = "N",
    .take = take_rounds,
    .offset = offsetof(struct bench_options, rounds),
    .help = "measure so many times, 1 to 64; 5 without it",
};

static const struct args_option output = {
    .letter = 'o',
    .name = "output",
    .value = "FILE",
    .take = args_take_string,
    .offset = offsetof(struct bench_options, output),
    .help = "write the figures there, for 'vfmig predict'",
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct bench_options, json),
    .help = "print one JSON object, the same that -o writes",
};

static const struct args_option *const options[] = {
    &one_device_option, &listen_at, &load, &rounds, &output, &json, NULL,
};

static const struct args_syntax syntax = {
    .command = "bench",
    .words = "{-d DEVICE [URI] | URI | --listen URI [-d DEVICE]} [OPTION]...",
    .about = "Measures what moving the device takes: it is stopped and saved a "
             "few times, and then goes on as it was. With URI also the link to "
             "another 'vfmig bench --listen URI', and if that has a device, "
             "trials: migrations to there that are cancelled before the device "
             "would be given away.",
    .options = options,
    .max_operands = 1,
};

/* All of a run: freed by close_run(). */
struct run {
    const struct bench_options *opts;
    const char *uri; /* NULL: no link */
    uint64_t number; /* by which the listener knows this one */
    struct vfm_device *dev;
    struct bench bench;
    FILE *out; /* NULL: no file */
    bool out_is_new;
    int cancel_fd;
    bool is_lost;
};

static int open_link(struct run *run, struct vfm_channel **chp,
                     struct vfm_error *err)
{
    struct vfm_channel_options how = VFM_CHANNEL_OPTIONS_INIT;
    int ret;

    how.cancel_fd = run->cancel_fd;
    ret = vfm_channel_connect(run->uri, &how, chp, err);
    if (ret < 0 || vfm_channel_is_duplex(*chp))
        return ret;
    ret = error_set(err, -EINVAL, "%s: nobody could answer there",
                    vfm_channel_name(*chp));
    vfm_channel_close(*chp);
    return ret;
}

/* Opens the device anew, as a migration would find it, and as somebody else may
 * have left it: a server makes itself at home with each client.  The kernel
 * resets a device that is closed, so one of the kernel's is left as it is. */
static int reopen(struct run *run, struct vfm_error *err)
{
    const struct device_arg *arg = &run->opts->devices.items[0];
    int ret;

    if (run->dev == NULL || arg->is_kernel)
        return 0;
    vfm_device_close(run->dev);
    run->dev = NULL;
    ret = device_arg_open(arg, &run->dev, err);
    return ret < 0 ? ret : bench_check_state(run->dev, err);
}

/* The other side may know more than that a connection has ended. */
static void point_there(const struct run *run, struct vfm_error *err)
{
    if (err->code != -ECANCELED && !run->is_lost)
        error_add(err, "see what 'vfmig bench --listen' says there");
}

static int measure_link(struct run *run, unsigned int round,
                        struct vfm_error *err)
{
    struct bench_trial trial = { .run = run->number };
    bool is_last = round + 1 == run->opts->rounds;
    struct vfm_channel *ch = NULL;
    int ret = reopen(run, err);

    trial.dev = run->dev;
    if (ret == 0)
        ret = open_link(run, &ch, err);
    if (ret < 0)
        return ret;
    ret = bench_link(&run->bench, ch, &trial, is_last, &run->is_lost, err);
    vfm_channel_close(ch);
    if (ret == 0 && trial.is_pending) {
        ret = open_link(run, &ch, err);
        if (ret == 0) {
            ret = bench_fetch(&run->bench, ch, &trial, is_last, err);
            vfm_channel_close(ch);
        }
    }
    if (ret < 0)
        point_there(run, err);
    return ret;
}

static int measure(struct run *run, struct vfm_error *err)
{
    int ret = 0;

    if (run->dev != NULL)
        ret = bench_check_state(run->dev, err);
    if (ret == 0 && run->dev != NULL)
        ret = bench_device(&run->bench, run->dev, run->opts->rounds,
                           run->opts->load, &run->is_lost, err);
    for (unsigned int i = 0;
         ret == 0 && run->uri != NULL && i < run->opts->rounds; i++)
        ret = measure_link(run, i, err);
    return ret;
}

/* Who has measured something comes back for more, or was lost. */
static int wait_for_next(struct run *run, const struct vfm_listener *lis,
                         int64_t deadline, struct vfm_error *err)
{
    struct pollfd fds[] = { { .fd = vfm_listener_fd(lis), .events = POLLIN },
                            { .fd = run->cancel_fd, .events = POLLIN } };
    int n;

    if (fds[0].fd < 0)
        return 0; /* there is one connection in all */
    do
        n = poll(fds, 2, clock_poll_timeout(deadline));
    while (n < 0 && errno == EINTR);
    return n != 0
               ? 0
               : error_set(err, -ETIMEDOUT,
                           "%s: the other side has not come back for %d s",
                           vfm_listener_address(lis), NEXT_TIMEOUT_MS / 1000);
}

/* Answers whoever calls next. */
static int serve_one(struct run *run, struct vfm_listener *lis,
                     struct bench_server *server, struct vfm_error *err)
{
    struct vfm_error ignored;
    struct vfm_channel *ch;
    int ret = vfm_listener_accept(lis, &ch, err);

    if (ret < 0)
        return ret;
    ret = reopen(run, err);
    server->dev = run->dev;
    server->is_stranger = false;
    if (ret < 0)
        wire_refuse(ch, err->message, &ignored);
    else
        ret = bench_serve(ch, server, err);
    vfm_channel_close(ch);
    if (!server->is_stranger || ret == -ECANCELED)
        return ret;
    say_warning("%s: still listening", err->message);
    return BENCH_SERVE_MORE;
}

/* One connection after the other, until the sender says that it was the last
 * or one of them fails. */
static int serve_all(struct run *run, struct vfm_listener *lis,
                     struct vfm_error *err)
{
    struct bench_server server = { .dev = run->dev };
    int64_t deadline = CLOCK_NEVER; /* for the first to come */
    int ret;

    do {
        ret = wait_for_next(run, lis, deadline, err);
        if (ret == 0)
            ret = serve_one(run, lis, &server, err);
        if (!server.is_stranger)
            deadline = clock_deadline(NEXT_TIMEOUT_MS);
    } while (ret == BENCH_SERVE_MORE);
    run->is_lost = server.is_lost;
    return ret < 0 ? ret : 0;
}

static int serve(struct run *run, struct vfm_error *err)
{
    struct vfm_channel_options how = VFM_CHANNEL_OPTIONS_INIT;
    struct vfm_listener *lis = NULL;
    int ret = 0;

    how.connect_timeout_ms = 0;
    how.cancel_fd = run->cancel_fd;
    if (run->dev != NULL)
        ret = bench_check_state(run->dev, err);
    if (ret == 0)
        ret = vfm_listener_open(run->opts->listen, &how, &lis, err);
    if (ret < 0)
        return ret;
    if (vfm_listener_fd(lis) >= 0)
        ret = say_listening(stdout, vfm_listener_address(lis), err);
    if (ret == 0)
        ret = serve_all(run, lis, err);
    vfm_listener_close(lis);
    return ret;
}

/* What is there stays until there is something better. */
static int open_output(struct run *run, struct vfm_error *err)
{
    const char *name = run->opts->output;

    if (name == NULL)
        return 0;
    run->out_is_new = access(name, F_OK) < 0;
    run->out = fopen(name, "ae");
    return run->out == NULL ? error_set(err, -errno, "%s: cannot write it: %s",
                                        name, strerror(errno))
                            : 0;
}

static const char *device_word(const struct run *run)
{
    return run->opts->devices.count > 0 ? run->opts->devices.items[0].word
                                        : NULL;
}

static int report(struct run *run, struct vfm_error *err)
{
    const char *device = device_word(run);

    if (run->out != NULL) {
        run->out_is_new = false;
        if (ftruncate(fileno(run->out), 0) < 0 && errno != EINVAL)
            return error_set(err, -errno, "%s: cannot write it: %s",
                             run->opts->output, strerror(errno));
        bench_print_json(&run->bench, device, run->uri, run->out);
        if (ferror(run->out) || fflush(run->out) != 0)
            return error_set(err, -EIO, "%s: cannot write all of it",
                             run->opts->output);
    }
    if (run->opts->json)
        bench_print_json(&run->bench, device, run->uri, stdout);
    else
        bench_print(&run->bench, device, run->uri);
    return 0;
}

static int do_run(struct run *run, struct vfm_error *err)
{
    int ret = interrupt_install(syntax.command, err);

    if (ret < 0)
        return ret;
    run->cancel_fd = ret;
    if (run->opts->listen != NULL)
        return serve(run, err);
    ret = open_output(run, err);
    if (ret == 0)
        ret = measure(run, err);
    return ret == 0 ? report(run, err) : ret;
}

/* What a session reads into is new in a migration.  So shall it be in each
 * trial, but left to itself the allocator hands that of the last one out
 * again. */
#define FRESH_FROM (128 << 10)

/* A device that was touched is named in the message already. */
static int run_all(struct run *run)
{
    struct vfm_error err = { 0 };
    int ret;

    pages_fetch_program();
    mallopt(M_MMAP_THRESHOLD, FRESH_FROM);
    ret = do_run(run, &err);

    if (run->out != NULL)
        fclose(run->out);
    if (run->out_is_new)
        unlink(run->opts->output);
    if (ret == 0)
        return EXIT_DONE;
    say_error("%s", err.message);
    return run->is_lost ? EXIT_LOST : EXIT_FAILED;
}

static int check_words(const struct bench_options *opts, const char *uri)
{
    const char *both = opts->listen != NULL ? opts->listen : uri;
    struct vfm_error err = { 0 };

    if (opts->listen != NULL &&
        (uri != NULL || opts->load || opts->json || opts->output != NULL))
        return say_usage(syntax.command,
                         "--listen measures nothing, it is measured with");
    if (opts->devices.count == 0 && both == NULL)
        return say_usage(syntax.command, "-d DEVICE is missing");
    if (opts->devices.count == 0 && opts->load)
        return say_usage(syntax.command, "--load: -d DEVICE is missing");
    if (both != NULL && vfm_channel_check_uri(both, &err) < 0)
        return say_usage(syntax.command, "%s", err.message);
    return EXIT_DONE;
}

/* Without random numbers there is still the time. */
static uint64_t number_run(void)
{
    uint64_t number = (uint64_t)clock_now();

    (void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
    return number;
}

int cmd_bench(int argc, char **argv)
{
    struct bench_options opts = { .rounds = BENCH_ROUNDS_DEFAULT };
    static struct run run;
    int first;
    int code = args_parse(&syntax, argc, argv, &opts, &first);

    if (code == ARGS_GO_ON) {
        run = (struct run){
            .opts = &opts,
            .uri = argv[first],
            .number = number_run(),
        };
        code = check_words(&opts, run.uri);
        if (code == EXIT_DONE && opts.devices.count > 0)
            code = one_device_open(&opts.devices, syntax.command, &run.dev);
        if (code == EXIT_DONE)
            code = run_all(&run);
        vfm_device_close(run.dev);
    }
    device_list_free(&opts.devices);
    return code;
}
