/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig proxy: between two QEMUs.  Each connection of the source gets one to
 * the target, in the order in which they came; what comes on one goes out on
 * the other, and is looked at.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "cmd.h"
#include "interrupt.h"
#include "json.h"
#include "proxy.h"
#include "say.h"
#include "util/clock.h"
#include "util/error.h"

/* A migration may pause before the switchover for somebody to decide. */
#define IDLE_TIMEOUT_MS    600000

/* Once one side has ended, the other has a reason to. */
#define PEER_TIMEOUT_MS    30000
#define CONNECT_TIMEOUT_MS 10000

struct proxy_options {
    uint32_t channels; /* 0: as many as come */
    bool strict;
    bool json;
    bool quiet;
    const char *events;
    uint32_t connect_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t peer_timeout_ms;
};

struct proxy {
    const struct proxy_options *opts;
    const char *to;
    int cancel_fd;
    struct vfm_listener *listener;
    bool listening;
    struct link *links[LINKS_MAX];
    size_t num_links;
    struct proxy_timeline timeline;
    struct watch watch;
    int64_t moved_at;
};

static int take_channels(const char *value, void *into, struct vfm_error *err)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (value[0] < '0' || value[0] > '9' || *end != '\0' || n == 0 ||
        n >= LINKS_MAX)
        return error_set(err, -EINVAL, "'%.20s' is no number from 1 to %d",
                         value, LINKS_MAX - 1);
    *(uint32_t *)into = (uint32_t)n;
    return 0;
}

#define OPTION(member) .offset = offsetof(struct proxy_options, member)

static const struct args_option channels = {
    .name = "channels",
    .value = "N",
    .take = take_channels,
    OPTION(channels),
    .help = "N multifd channels are expected; without it as many as come",
};

static const struct args_option strict = {
    .name = "strict",
    .take = args_take_flag,
    OPTION(strict),
    .help =
        "pass nothing on that is wrong, or cannot be understood; without it "
        "that is only told",
};

static const struct args_option events = {
    .name = "events",
    .value = "FILE",
    .take = args_take_string,
    OPTION(events),
    .help = "write the timeline to FILE as it grows, a JSON object for each "
            "line",
};

static const struct args_option connect_timeout = {
    .name = "connect-timeout",
    .value = "TIME",
    .take = args_take_time_or0,
    OPTION(connect_timeout_ms),
    .help = "how long to try to reach the target; 10 s without it",
};

static const struct args_option idle_timeout = {
    .name = "idle-timeout",
    .value = "TIME",
    .take = args_take_time,
    OPTION(idle_timeout_ms),
    .help = "give up if nothing passes for so long; 10 minutes without it",
};

static const struct args_option peer_timeout = {
    .name = "peer-timeout",
    .value = "TIME",
    .take = args_take_time,
    OPTION(peer_timeout_ms),
    .help =
        "how long one side may go on silently when the other has ended; 30 s "
        "without it",
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    OPTION(json),
    .help = "print one JSON object at the end, and no timeline before",
};

static const struct args_option quiet = {
    .letter = 'q',
    .name = "quiet",
    .take = args_take_flag,
    OPTION(quiet),
    .help = "print no timeline and no summary",
};

static const struct args_option *const options[] = {
    &channels, &strict, &events, &connect_timeout, &idle_timeout, &peer_timeout,
    &json,     &quiet,  NULL,
};

static const struct args_syntax syntax = {
    .command = "proxy",
    .words = "[OPTION]... LISTEN-URI TARGET-URI",
    .about =
        "Stands between two QEMUs: passes a migration on, unchanged and in "
        "both directions, with all of its multifd channels, checks it, and "
        "prints what happens and when. LISTEN-URI is as for receive, "
        "TARGET-URI as for send.",
    .options = options,
    .min_operands = 2,
    .max_operands = 2,
    .operands = "LISTEN-URI or TARGET-URI",
};

/* ---------------------------------------------------------------------- */

static struct vfm_channel_options channel_options(const struct proxy *p)
{
    struct vfm_channel_options o = VFM_CHANNEL_OPTIONS_INIT;

    o.connect_timeout_ms = p->opts->connect_timeout_ms;
    o.cancel_fd = p->cancel_fd;
    return o;
}

static int open_listener(struct proxy *p, const char *uri,
                         struct vfm_error *err)
{
    struct vfm_channel_options o = channel_options(p);
    int ret;

    o.connect_timeout_ms = 0; /* the source comes when it comes */
    ret = vfm_listener_open(uri, &o, &p->listener, err);
    if (ret < 0)
        return ret;
    p->listening = true;
    if (vfm_listener_fd(p->listener) < 0)
        return 0;
    return say_listening(p->opts->json ? stderr : stdout,
                         vfm_listener_address(p->listener), err);
}

/* The order of the connections is kept: a QEMU may take the first one for the
 * main one. */
static int accept_link(struct proxy *p, struct vfm_error *err)
{
    const struct vfm_channel_options o = channel_options(p);
    struct vfm_channel *source;
    int ret;

    if (p->num_links == LINKS_MAX)
        return error_set(err, -E2BIG, "more than %d connections", LINKS_MAX);
    ret = vfm_listener_accept(p->listener, &source, err);
    if (ret < 0)
        return ret;
    if (p->num_links == 0)
        p->timeline.began_at = p->moved_at = clock_now();
    ret = link_open(source, p->to, &o, &p->links[p->num_links], err);
    if (ret < 0)
        return ret;
    p->num_links++;
    proxy_timeline_tell(&p->timeline, "", "connection", 0, "connection %zu",
                        p->num_links);
    if (vfm_listener_fd(p->listener) < 0)
        p->listening = false; /* there is only the one */
    return 0;
}

/* The next connection, if somebody is there. */
static int accept_more(struct proxy *p, struct vfm_error *err)
{
    struct pollfd fd = { .fd = vfm_listener_fd(p->listener), .events = POLLIN };

    if (p->listening && fd.fd >= 0 && poll(&fd, 1, 0) > 0)
        return accept_link(p, err);
    return 0;
}

static bool all_over(const struct proxy *p)
{
    for (size_t i = 0; i < p->num_links; i++)
        if (!link_is_over(p->links[i]))
            return false;
    return p->num_links > 0;
}

/* One side of some connection has hung up. */
static bool any_ended(const struct proxy *p)
{
    for (size_t i = 0; i < p->num_links; i++)
        if (p->links[i]->forward.ended ||
            (p->links[i]->back.ended &&
             vfm_channel_is_duplex(p->links[i]->target)))
            return true;
    return false;
}

static int64_t deadline(const struct proxy *p)
{
    int64_t ms =
        any_ended(p) ? p->opts->peer_timeout_ms : p->opts->idle_timeout_ms;

    return p->moved_at + ms * NS_PER_MS;
}

static int give_up(const struct proxy *p, struct vfm_error *err)
{
    return error_set(
        err, -ETIMEDOUT, "nothing has passed for %" PRId64 " ms, in phase %s%s",
        (clock_now() - p->moved_at) / NS_PER_MS, phase_name(p->watch.phase),
        any_ended(p) ? ", and one side has ended" : "");
}

static int wait_for_news(struct proxy *p, struct vfm_error *err)
{
    struct pollfd fds[4 * LINKS_MAX + 2];
    int64_t until = deadline(p);
    nfds_t n = 0;

    fds[n++] = (struct pollfd){ .fd = p->cancel_fd, .events = POLLIN };
    if (p->listening && vfm_listener_fd(p->listener) >= 0)
        fds[n++] = (struct pollfd){ .fd = vfm_listener_fd(p->listener),
                                    .events = POLLIN };
    for (size_t i = 0; i < p->num_links; i++) {
        int64_t ready_at;

        n += (nfds_t)link_poll_fds(p->links[i], fds + n, &ready_at);
        until = clock_min(until, ready_at);
    }
    poll(fds, n, clock_poll_timeout(until));
    if (interrupt_is_pending())
        return error_set(err, -ECANCELED, "cancelled: both sides are cut off");
    return clock_now() < deadline(p) ? 0 : give_up(p, err);
}

static int run_links(struct proxy *p, struct vfm_error *err)
{
    for (size_t i = 0; i < p->num_links; i++) {
        int ret = link_run(p->links[i], &p->watch, p->opts->strict);

        if (ret < 0)
            return error_set(err, ret, "%s; cut off", p->watch.fault.message);
        if (ret > 0)
            p->moved_at = clock_now();
    }
    return 0;
}

static int check_channels(const struct proxy *p, struct vfm_error *err)
{
    if (p->opts->channels == 0 || p->watch.num_channels == p->opts->channels)
        return 0;
    return error_set(err, -EPROTO,
                     "%zu multifd channels came, where %u were expected",
                     p->watch.num_channels, p->opts->channels);
}

static int run(struct proxy *p, struct vfm_error *err)
{
    int ret = accept_link(p, err);

    while (ret == 0 && !all_over(p)) {
        ret = run_links(p, err);
        if (ret == 0)
            ret = accept_more(p, err);
        if (ret == 0 && !all_over(p))
            ret = wait_for_news(p, err);
    }
    if (ret < 0)
        return ret;
    watch_end(&p->watch);
    ret = check_channels(p, err);
    if (ret == 0 && p->watch.faults > 0)
        ret = error_set(err, p->watch.fault.code, "%s", p->watch.fault.message);
    if (ret == 0 && p->watch.back.shut_value != 0)
        ret =
            error_set(err, -EREMOTEIO, "the target could not load the stream");
    return ret;
}

/* ---------------------------------------------------------------------- */

/* How long @phase took; 0 if it never began. */
static uint64_t phase_ns(const struct watch *w, enum phase phase)
{
    int64_t began;

    if (phase >= w->phase)
        return 0;
    began = phase == PHASE_SETUP ? w->timeline->began_at : w->phase_at[phase];
    return (uint64_t)(w->phase_at[phase + 1] - began);
}

static void print_summary(const struct proxy *p)
{
    const struct watch *w = &p->watch;
    char a[QUANTITY_MAX];
    char b[QUANTITY_MAX];
    char c[QUANTITY_MAX];

    putchar('\n');
    for (enum phase i = PHASE_SETUP; i < PHASE_OVER; i++)
        printf("%-11s %s\n", phase_name(i), say_duration(a, phase_ns(w, i)));
    printf("memory      %" PRIu64 " pages, %" PRIu64 " of zeroes, in %" PRIu64
           " rounds\n",
           w->pages, w->zero_pages, w->rounds);
    for (size_t i = 0; i < w->num_devices; i++)
        printf("'%s': %s in pre-copy, %s stopped, %s on multifd channels\n",
               w->devices[i].name, say_bytes(a, w->devices[i].pre_copy_bytes),
               say_bytes(b, w->devices[i].stop_copy_bytes),
               say_bytes(c, w->devices[i].multifd_bytes));
}

static struct json_tree *devices_json(const struct watch *w)
{
    struct json_tree *o = json_object_make();

    for (size_t i = 0; i < w->num_devices; i++) {
        const struct watched_device *dev = &w->devices[i];
        struct json_tree *d = json_object_make();

        json_add_number(d, "pre_copy_bytes", dev->pre_copy_bytes);
        json_add_number(d, "stop_copy_bytes", dev->stop_copy_bytes);
        json_add_number(d, "multifd_bytes", dev->multifd_bytes);
        json_add_number(d, "multifd_packets", dev->packets);
        json_add(o, dev->name, d);
    }
    return o;
}

static void print_json(struct proxy *p, const char *error)
{
    struct json_tree *o = json_object_make();
    struct json_tree *phases = json_object_make();
    const struct watch *w = &p->watch;

    json_add_string(o, "error", error);
    json_add_number(o, "faults", w->faults);
    json_add_number(o, "connections", p->num_links);
    json_add_number(o, "channels", w->num_channels);
    for (enum phase i = PHASE_SETUP; i < PHASE_OVER; i++)
        json_add_number(phases, phase_name(i), phase_ns(w, i));
    json_add(o, "phases_ns", phases);
    json_add_number(o, "pages", w->pages);
    json_add_number(o, "zero_pages", w->zero_pages);
    json_add_number(o, "rounds", w->rounds);
    json_add(o, "shut",
             w->back.shut ? json_number_make(w->back.shut_value)
                          : json_null_make());
    json_add(o, "devices", devices_json(w));
    json_add_bool(o, "timeline_cut", p->timeline.cut);
    json_add(o, "timeline", p->timeline.list);
    p->timeline.list = NULL;
    json_print(o);
}

static int open_timeline(struct proxy *p, struct vfm_error *err)
{
    const char *name = p->opts->events;

    p->timeline.began_at = clock_now();
    p->timeline.print = !p->opts->json && !p->opts->quiet;
    if (p->opts->json)
        p->timeline.list = json_array_make();
    if (name == NULL)
        return 0;
    p->timeline.file = fopen(name, "we");
    if (p->timeline.file == NULL)
        return error_set(err, -errno, "%s: cannot create it: %s", name,
                         strerror(errno));
    return 0;
}

static int close_events(struct proxy *p, struct vfm_error *err)
{
    int failed;

    if (p->timeline.file == NULL)
        return 0;
    failed = ferror(p->timeline.file);
    errno = EIO;
    if (fclose(p->timeline.file) == 0 && !failed)
        return 0;
    return error_set(err, -errno, "%s: cannot write all of it: %s",
                     p->opts->events, strerror(errno));
}

static int proxy(struct proxy *p, const char *from, struct vfm_error *err)
{
    int ret = interrupt_install("proxy", err);

    if (ret < 0)
        return ret;
    p->cancel_fd = ret;
    ret = open_timeline(p, err);
    if (ret == 0)
        ret = open_listener(p, from, err);
    return ret < 0 ? ret : run(p, err);
}

static void proxy_close(struct proxy *p)
{
    json_drop(p->timeline.list);
    vfm_listener_close(p->listener);
    for (size_t i = 0; i < p->num_links; i++)
        link_close(p->links[i]);
    watch_free(&p->watch);
}

static int check_uris(char *const *uris)
{
    struct vfm_error err;

    for (int i = 0; i < 2; i++)
        if (vfm_channel_check_uri(uris[i], &err) < 0)
            return say_usage("proxy", "%s", err.message);
    return EXIT_DONE;
}

int cmd_proxy(int argc, char **argv)
{
    struct proxy_options opts = {
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .idle_timeout_ms = IDLE_TIMEOUT_MS,
        .peer_timeout_ms = PEER_TIMEOUT_MS,
    };
    struct proxy p = { .opts = &opts };
    struct vfm_error err = { 0 };
    struct vfm_error why;
    int first;
    int code = args_parse(&syntax, argc, argv, &opts, &first);

    if (code != ARGS_GO_ON)
        return code;
    code = check_uris(argv + first);
    if (code != EXIT_DONE)
        return code;
    p.to = argv[first + 1];
    p.watch.timeline = &p.timeline;
    if (proxy(&p, argv[first], &err) < 0) {
        say_error("proxy: %s", err.message);
        code = EXIT_FAILED;
    }
    if (close_events(&p, &why) < 0) {
        say_error("proxy: %s", why.message);
        if (code == EXIT_DONE)
            err = why;
        code = EXIT_FAILED;
    }
    if (opts.json)
        print_json(&p, code == EXIT_DONE ? NULL : err.message);
    else if (!opts.quiet && p.num_links > 0)
        print_summary(&p);
    proxy_close(&p);
    return code;
}
