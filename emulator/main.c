/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig-device: start, signals, end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "emulator/device.h"
#include "emulator/options.h"
#include "emulator/server.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/pages.h"

#define EXIT_FAILED 1
#define EXIT_USAGE  2

static void complain(const struct vfm_error *err)
{
    fprintf(stderr, "vfmig-device: %s\n", err->message);
}

/* A descriptor that tells of the signals the program lives by. */
static int open_signals(struct vfm_error *err)
{
    sigset_t set;
    int fd;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return error_set(err, -errno, "signals: cannot be watched: %s",
                         strerror(errno));
    return fd;
}

/* Returns whether to go on. */
static bool handle_signal(int fd, struct device *d)
{
    struct signalfd_siginfo info;
    struct vfm_error err;

    if (read(fd, &info, sizeof(info)) != sizeof(info))
        return true;
    if (info.ssi_signo != SIGUSR1)
        return false;
    if (device_report(d, &err) < 0) {
        complain(&err);
    } else {
        printf("reported\n");
        fflush(stdout);
    }
    return true;
}

static int start(struct server *s, struct device *d, struct vfm_error *err)
{
    const struct options *o = d->options;
    int ret;

    if (o->socket_path != NULL)
        ret = server_listen(s, d, o->socket_path, err);
    else
        ret = server_adopt(s, d, o->fd, err);
    if (ret < 0)
        return ret;
    if (o->socket_path != NULL)
        printf("listening on %s\n", o->socket_path);
    else
        printf("serving fd %d\n", o->fd);
    fflush(stdout);
    return 0;
}

/* Serves until a signal ends it, or the only client goes. */
static int serve(struct device *d, int signals, struct vfm_error *err)
{
    struct server s;
    int ret = start(&s, d, err);

    if (ret < 0)
        return ret;
    do {
        ret = server_step(&s, signals, CLOCK_NEVER);
        if (ret == 1 && !handle_signal(signals, d))
            break;
    } while (ret >= 0);
    server_close(&s);
    if (ret < 0 && ret != -ECONNRESET)
        return error_set(err, ret, "server: cannot go on: %s", strerror(-ret));
    return device_report(d, err);
}

/* Prints what some options want instead of a device. */
static bool print_instead(const struct options *o)
{
    if (o->help)
        options_print_help();
    else if (o->version)
        printf("vfmig-device %s\n", VFMIG_VERSION);
    else if (o->list_mutants)
        options_print_mutants();
    return o->help || o->version || o->list_mutants;
}

int main(int argc, char *argv[])
{
    struct options options;
    struct vfm_error err;
    struct device *d = NULL;
    int signals;
    int ret;

    if (options_parse(&options, argc, (const char *const *)argv, &err) < 0) {
        fprintf(stderr, "vfmig-device: %s: see 'vfmig-device --help'\n",
                err.message);
        return EXIT_USAGE;
    }
    if (print_instead(&options))
        return 0;
    pages_fetch_program();
    signals = open_signals(&err);
    ret = signals < 0 ? signals : device_create(&options, &d, &err);
    if (ret == 0)
        ret = serve(d, signals, &err);
    if (ret < 0)
        complain(&err);
    device_free(d);
    if (signals >= 0)
        close(signals);
    return ret < 0 ? EXIT_FAILED : 0;
}
