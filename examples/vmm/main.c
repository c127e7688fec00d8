/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM whose VM moves: the command line, and the loop that everything hangs
 * on.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "monitor.h"

#define MIB (UINT64_C(1) << 20)

static const char help[] =
    "usage: vmm --device PATH [--device ...] [OPTION]...\n"
    "\n"
    "A small virtual machine with one to four devices, to be moved to another\n"
    "vmm.  Its guest keeps all devices busy with DMA, checks every byte and\n"
    "every interrupt, and chains a hash over them: `check-chain` tells whether\n"
    "anything was ever lost, doubled or out of order.\n"
    "\n"
    "  --device PATH        the socket of a vfio-user server, such as\n"
    "                       vfmig-device; up to four times\n"
    "  --memory SIZE        of the guest; 1024 by default, 64 to 3072 (MiB)\n"
    "  --cpus N             processors; 1 by default, up to 4\n"
    "  --own-rate N         MiB per second that they write; 16 by default\n"
    "  --own-size N         to so much memory; 16 by default (MiB)\n"
    "  --incoming URI       wait for a VM instead of starting one\n"
    "  --stay               stay when the VM has left\n"
    "  --no-kvm             run the guest program on threads, even if there\n"
    "                       is /dev/kvm\n"
    "\n"
    "URI is unix:PATH, tcp:HOST:PORT, fd:N, exec:COMMAND or file:PATH.\n"
    "\n"
    "Commands on standard input, a line each:\n"
    "  migrate URI, migrate-incoming URI, migrate-cancel, migrate-continue,\n"
    "  migrate-set-parameters [downtime-limit=MS] [max-bandwidth=BYTES]\n"
    "    [pre-copy-timeout=MS] [pause-before-switchover=0|1]\n"
    "    [force-switchover=0|1],\n"
    "  query-migrate, query-status, stop, cont, take-back, quit,\n"
    "  query-chain (what the guest found), check-chain (the hash, too),\n"
    "  damage ADDRESS\n"
    "\n"
    "Answers and events are JSON objects on standard output, a line each.\n"
    "\n"
    "Exit status: 0, the VM has left or was told to quit; 1, it failed or a\n"
    "VM did not arrive; 2, a bad command line; 4, it was handed over and\n"
    "nobody has confirmed that it runs.\n";

struct program {
    struct vm_options options;
    const char *incoming;
    bool stay;
    struct vm vm;
    struct migrate migrate;
    struct monitor monitor;
    int signal_fd;
    int status;
};

static int usage(const char *what)
{
    fprintf(stderr, "vmm: %s: see vmm --help\n", what);
    return 2;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max,
                         uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= min &&
           *value <= max;
}

enum {
    DEVICE = 256,
    MEMORY,
    CPUS,
    OWN_RATE,
    OWN_SIZE,
    INCOMING,
    STAY,
    NO_KVM,
    HELP
};

static const struct option long_options[] = {
    { "device", required_argument, NULL, DEVICE },
    { "memory", required_argument, NULL, MEMORY },
    { "cpus", required_argument, NULL, CPUS },
    { "own-rate", required_argument, NULL, OWN_RATE },
    { "own-size", required_argument, NULL, OWN_SIZE },
    { "incoming", required_argument, NULL, INCOMING },
    { "stay", no_argument, NULL, STAY },
    { "no-kvm", no_argument, NULL, NO_KVM },
    { "help", no_argument, NULL, HELP },
    { NULL, 0, NULL, 0 },
};

static bool take_size(uint64_t *to, uint64_t min, uint64_t max)
{
    uint64_t n;

    if (!parse_number(optarg, min, max, &n))
        return false;
    *to = n * MIB;
    return true;
}

static bool take_option(struct program *p, int option)
{
    struct vm_options *o = &p->options;
    uint64_t n;

    switch (option) {
    case DEVICE:
        if (o->num_devices == GUEST_DEVICES_MAX)
            return false;
        o->devices[o->num_devices++] = optarg;
        return true;
    case MEMORY:
        return take_size(&o->memory_size, 64, 3072);
    case CPUS:
        if (!parse_number(optarg, 1, GUEST_CPUS_MAX, &n))
            return false;
        o->num_cpus = (unsigned int)n;
        return true;
    case OWN_RATE:
        return take_size(&o->own_rate, 0, 65536);
    case OWN_SIZE:
        return take_size(&o->own_size, 1, 1024);
    case INCOMING:
        p->incoming = optarg;
        return true;
    case STAY:
        p->stay = true;
        return true;
    case NO_KVM:
        o->no_kvm = true;
        return true;
    default:
        return false;
    }
}

/* 0, or the exit status + 1. */
static int parse(struct program *p, int argc, char **argv)
{
    int option;

    p->options = (struct vm_options){
        .memory_size = 1024 * MIB,
        .own_rate = 16 * MIB,
        .own_size = 16 * MIB,
        .num_cpus = 1,
    };
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
        if (option == HELP) {
            fputs(help, stdout);
            return 1;
        }
        if (!take_option(p, option))
            return usage("a bad option, or a value that it cannot have") + 1;
    }
    if (optind < argc || p->options.num_devices == 0)
        return usage("at least one --device, and nothing but options") + 1;
    return 0;
}

static int catch_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void fail(struct program *p, const struct vfm_error *err)
{
    monitor_failure(err->message);
    p->status = 1;
    p->monitor.quit = true;
}

/* The VM has left, has arrived, or neither. */
static void end_migration(struct program *p)
{
    const struct migrate *mg = &p->migrate;

    monitor_migration_over(mg);
    if (mg->is_source && mg->failure.code == 0 && !p->stay)
        p->monitor.quit = true;
    p->status = mg->handed_over ? 4 : 0;
    if (!mg->is_source && mg->failure.code != 0 && !p->stay) {
        p->status = 1;
        p->monitor.quit = true;
    }
}

static void accept_vm(struct program *p)
{
    struct vfm_error err = { 0 };

    if (migrate_accept(&p->migrate, &err) < 0)
        fail(p, &err);
}

enum { FD_INPUT, FD_SIGNAL, FD_VCPUS, FD_LISTENER, FD_MIGRATION, FD_DEVICES };

static nfds_t gather(const struct program *p, struct pollfd *fds)
{
    nfds_t n = FD_DEVICES;

    fds[FD_INPUT].fd = p->monitor.ended ? -1 : STDIN_FILENO;
    fds[FD_SIGNAL].fd = p->signal_fd;
    fds[FD_VCPUS].fd = p->vm.vcpus.wake_fd;
    fds[FD_LISTENER].fd = migrate_listen_fd(&p->migrate);
    fds[FD_MIGRATION].fd = migrate_fd(&p->migrate);
    for (unsigned int i = 0; i < p->vm.bus.count; i++)
        fds[n++].fd = vfm_vfio_user_fd(p->vm.bus.devices[i].dev);
    for (nfds_t i = 0; i < n; i++)
        fds[i].events = POLLIN;
    return n;
}

/* Commands of a device's server that came while nobody asked it for anything.
 * What is wrong with it a migration that is under way finds out by itself, and
 * tells what that means. */
static void process_devices(struct program *p, const struct pollfd *fds)
{
    struct vfm_error err = { 0 };

    for (unsigned int i = 0; i < p->vm.bus.count; i++)
        if (fds[FD_DEVICES + i].revents != 0 &&
            vfm_vfio_user_process(p->vm.bus.devices[i].dev, &err) < 0 &&
            migrate_fd(&p->migrate) < 0) {
            fail(p, &err);
            return;
        }
}

static void loop(struct program *p)
{
    struct pollfd fds[FD_DEVICES + GUEST_DEVICES_MAX];
    struct vfm_error err = { 0 };

    while (!p->monitor.quit) {
        nfds_t n = gather(p, fds);

        if (poll(fds, n, -1) < 0)
            continue;
        if (fds[FD_VCPUS].revents != 0 && vcpus_serve(&p->vm, &err) < 0)
            fail(p, &err);
        if (fds[FD_MIGRATION].revents != 0 &&
            migrate_dispatch(&p->migrate) == 0)
            end_migration(p);
        if (fds[FD_LISTENER].revents != 0)
            accept_vm(p);
        if (fds[FD_INPUT].revents != 0)
            monitor_read(&p->monitor);
        if (fds[FD_SIGNAL].revents != 0)
            p->monitor.quit = true;
        if (!p->monitor.quit)
            process_devices(p, fds);
    }
}

static int start(struct program *p, struct vfm_error *err)
{
    int ret = vm_open(&p->vm, &p->options, err);

    p->migrate.vm = p->monitor.vm = &p->vm;
    p->monitor.migrate = &p->migrate;
    if (ret < 0)
        return ret;
    monitor_ready(&p->vm);
    if (p->vm.vcpus.no_kvm.code != 0 && p->vm.vcpus.no_kvm.code != -ENOENT)
        monitor_warning(p->vm.vcpus.no_kvm.message);
    if (p->incoming != NULL) {
        ret = migrate_listen(&p->migrate, p->incoming, err);
        if (ret == 0 && migrate_listen_fd(&p->migrate) < 0)
            ret = migrate_accept(&p->migrate, err); /* a file is there */
        return ret;
    }
    ret = vm_boot(&p->vm, &p->options, err);
    if (ret == 0)
        ret = vm_start(&p->vm, err);
    p->vm.runs = ret == 0;
    return ret;
}

int main(int argc, char **argv)
{
    static struct program p;
    struct vfm_error err = { 0 };
    int ret = parse(&p, argc, argv);

    if (ret != 0)
        return ret - 1;
    p.signal_fd = catch_signals();
    if (start(&p, &err) < 0)
        fail(&p, &err);
    loop(&p);
    migrate_close(&p.migrate);
    vm_close(&p.vm);
    return p.status;
}
