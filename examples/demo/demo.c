/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device moves from one process to another while it works.
 *
 * Two emulated devices, two processes that each have one, and a socket between
 * them.  The first sets its device to work and sends it; the second receives
 * it and checks that nothing is missing.  What a VMM would do is in source()
 * and target(); the rest starts programs and prints.
 *
 *     demo DEVICE-PROGRAM SIZE
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vfmig/channel.h>
#include <vfmig/migration.h>

#include "programs.h"
#include "vm.h"

#define DEVICE_ID     "0000:00:01.0"

/* How long the device works before it moves, and after. */
#define WORK_MS       500

/* Of the device's memory: looked at through its registers. */
#define PAGES_SAMPLED 256

/* Prints what went wrong and returns the exit code. */
static int failed(const char *who, const struct vfm_error *err)
{
    fprintf(stderr, "demo: %s: %s\n", who, err->message);
    return 1;
}

static void print_event(void *opaque, const struct vfm_event *event)
{
    const char *who =
        *(const enum vfm_role *)opaque == VFM_ROLE_SOURCE ? "source" : "target";

    if (event->kind == VFM_EVENT_STAGE)
        printf("  %-6s stage %s\n", who, vfm_stage_name(event->stage));
    else if (event->kind == VFM_EVENT_STATE)
        printf("  %-6s device %s\n", who, vfm_state_name(event->state));
    else if (event->kind == VFM_EVENT_WARNING)
        printf("  %-6s warning: %s\n", who, event->text);
}

static const struct vfm_migration_callbacks callbacks = {
    .size = sizeof(callbacks),
    .event = print_event,
};

/* Moves @vm's device over the socket @fd, one way or the other. */
static int migrate(struct vm *vm, enum vfm_role role, int fd,
                   struct vfm_progress *progress, struct vfm_error *err)
{
    const struct vfm_migration_options options = {
        .size = sizeof(options),
        .role = role,
        .callbacks = &callbacks,
        .opaque = &role,
    };
    struct vfm_channel_options channel_options = VFM_CHANNEL_OPTIONS_INIT;
    struct vfm_channel *ch;
    struct vfm_migration *m = NULL;
    int ret = vfm_channel_from_fd(fd, "demo", &channel_options, &ch, err);

    if (ret < 0)
        return ret;
    ret = vfm_migration_new(ch, &options, &m, err);
    if (ret == 0)
        ret = vfm_migration_add_device(m, vm->dev, DEVICE_ID, err);
    if (ret == 0)
        ret = vfm_migration_run(m, err);
    if (ret == 0)
        ret = vfm_migration_get_progress(m, progress);
    vfm_migration_close(m);
    vfm_channel_close(ch);
    return ret;
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static void print_summary(const struct vfm_progress *p)
{
    static const enum vfm_stage stopped[] = {
        VFM_STAGE_STOP,   VFM_STAGE_COMPLETE, VFM_STAGE_CHECK,
        VFM_STAGE_LOADED, VFM_STAGE_YOURS,    VFM_STAGE_START,
    };

    printf("moved %.1f MiB of device state in %.2f s, %.0f MiB/s\n",
           (double)p->device_bytes / (1 << 20), ms(p->elapsed_ns) / 1e3,
           (double)p->device_bytes / (1 << 20) / (ms(p->elapsed_ns) / 1e3));
    printf("downtime %.2f ms:", ms(p->downtime_ns));
    for (size_t i = 0; i < sizeof(stopped) / sizeof(stopped[0]); i++)
        printf(" %s %.2f", vfm_stage_name(stopped[i]),
               ms(p->stage_ns[stopped[i]]));
    printf("\n");
}

static int source(const char *socket, int memory_fd, int link_fd, int result_fd)
{
    struct vfm_progress progress = { .size = sizeof(progress) };
    struct vm_sight before;
    struct vfm_error err = { 0 };
    struct vm vm;
    int ret = vm_open(&vm, socket, memory_fd, &err);

    if (ret == 0)
        ret = vm_start_work(&vm, &err);
    if (ret == 0) {
        poll(NULL, 0, WORK_MS);
        ret = vm_look(&vm, &before, &err);
    }
    if (ret == 0) {
        printf("source: counter %llu us, %llu pages written to memory\n",
               (unsigned long long)before.counter,
               (unsigned long long)before.pages);
        ret = migrate(&vm, VFM_ROLE_SOURCE, link_fd, &progress, &err);
    }
    vm_close(&vm);
    if (ret < 0)
        return failed("source", &err);
    print_summary(&progress);
    return write(result_fd, &before, sizeof(before)) == sizeof(before) ? 0 : 1;
}

/* The device is here: has it gone on, and is everything there? */
static int check(struct vm *vm, const struct vm_sight *before,
                 struct vfm_error *err)
{
    struct vm_sight after = { 0 };
    uint64_t checked = 0;
    int ret;

    poll(NULL, 0, WORK_MS);
    ret = vm_stop_work(vm, err);
    if (ret == 0)
        ret = vm_look(vm, &after, err);
    if (ret == 0)
        ret = vm_check_memory(vm, &checked, err);
    if (ret == 0)
        ret = vm_check_device(vm, PAGES_SAMPLED, err);
    if (ret < 0)
        return ret;
    printf("target: counter %llu us, %llu pages written to memory\n",
           (unsigned long long)after.counter, (unsigned long long)after.pages);
    if (after.counter <= before->counter || after.pages <= before->pages) {
        snprintf(err->message, sizeof(err->message),
                 "the device did not go on where it was");
        return -EBADMSG;
    }
    printf("checked: the counter went on, every byte of the last %llu pages in "
           "memory,\n         digests and all pages of the device's state by "
           "the device, %d by us\n",
           (unsigned long long)checked, PAGES_SAMPLED);
    return 0;
}

static int source_is_silent(struct vfm_error *err)
{
    snprintf(err->message, sizeof(err->message),
             "the source did not say how far the device was");
    return -ENODATA;
}

static int target(const char *socket, int memory_fd, int link_fd, int result_fd)
{
    struct vfm_progress progress = { .size = sizeof(progress) };
    struct vm_sight before;
    struct vfm_error err = { 0 };
    struct vm vm;
    int ret = vm_open(&vm, socket, memory_fd, &err);

    if (ret == 0)
        ret = migrate(&vm, VFM_ROLE_TARGET, link_fd, &progress, &err);
    if (ret == 0 && read(result_fd, &before, sizeof(before)) != sizeof(before))
        ret = source_is_silent(&err);
    if (ret == 0)
        ret = check(&vm, &before, &err);
    vm_close(&vm);
    return ret < 0 ? failed("target", &err) : 0;
}

/* What the two processes share. */
struct shared {
    int memory_fd;
    int link[2];
    int result[2];
};

static int share(struct shared *s)
{
    s->memory_fd = memfd_create("demo", MFD_CLOEXEC);
    if (s->memory_fd < 0 || ftruncate(s->memory_fd, VM_MEMORY_SIZE) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->link) < 0 ||
        pipe(s->result) < 0) {
        perror("demo");
        return -1;
    }
    return 0;
}

static pid_t fork_side(const struct shared *s, const struct program *device,
                       enum vfm_role role)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid != 0)
        return pid;
    setlinebuf(stdout);
    if (role == VFM_ROLE_SOURCE) {
        close(s->link[1]);
        exit(source(device->socket, s->memory_fd, s->link[0], s->result[1]));
    }
    close(s->link[0]);
    close(s->result[1]);
    exit(target(device->socket, s->memory_fd, s->link[1], s->result[0]));
}

static int run(const struct program *a, const struct program *b)
{
    struct shared s;
    pid_t pids[2];
    int worst = 0;

    if (share(&s) < 0)
        return 1;
    pids[0] = fork_side(&s, b, VFM_ROLE_TARGET);
    pids[1] = fork_side(&s, a, VFM_ROLE_SOURCE);
    close(s.link[0]);
    close(s.link[1]);
    close(s.result[0]);
    close(s.result[1]);
    for (int i = 0; i < 2; i++) {
        int status = 1;

        if (pids[i] < 0 || waitpid(pids[i], &status, 0) < 0 || status != 0)
            worst = 1;
    }
    return worst;
}

int main(int argc, char **argv)
{
    struct program a, b;
    int ret = 1;

    if (argc != 3) {
        fprintf(stderr, "usage: demo DEVICE-PROGRAM SIZE\n");
        return 2;
    }
    printf("a device with %s of memory, counting and writing guest memory\n",
           argv[2]);
    if (program_start(&a, argv[1], argv[2], "a") == 0) {
        if (program_start(&b, argv[1], argv[2], "b") == 0) {
            ret = run(&a, &b);
            program_stop(&b);
        }
        program_stop(&a);
    }
    printf("%s\n", ret == 0 ? "the device moved" : "the demo FAILED");
    return ret;
}
