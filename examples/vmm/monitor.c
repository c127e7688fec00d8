/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The monitor: one table of commands, and what is printed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor.h"

/* ------------------------------------------------------------ printing */

static void put_string(const char *s)
{
    putchar('"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            putchar('\\');
        putchar((unsigned char)*s < ' ' ? ' ' : *s);
    }
    putchar('"');
}

/* {"KEY": {"NAME": "TEXT"}} */
static void put_event(const char *event, const char *name, const char *text)
{
    printf("{\"event\": \"%s\", \"%s\": ", event, name);
    put_string(text);
    printf("}\n");
    fflush(stdout);
}

static void answer_done(void)
{
    printf("{\"return\": {}}\n");
}

static void answer_error(const struct vfm_error *err)
{
    printf("{\"error\": ");
    put_string(err->message);
    printf("}\n");
}

void monitor_ready(const struct vm *vm)
{
    printf("{\"event\": \"READY\", \"processors\": %u, \"kind\": \"%s\", "
           "\"devices\": %u, \"memory\": %" PRIu64 "}\n",
           vm->vcpus.count, vm->vcpus.ops->name, vm->bus.count,
           vm->memory_size);
    fflush(stdout);
}

void monitor_listening(const char *address)
{
    put_event("LISTENING", "address", address);
}

void monitor_warning(const char *text)
{
    put_event("WARNING", "text", text);
}

void monitor_failure(const char *text)
{
    put_event("FAILURE", "text", text);
}

void monitor_migration_event(const struct vfm_event *ev)
{
    if (ev->kind == VFM_EVENT_STAGE)
        put_event("MIGRATION_STAGE", "stage", vfm_stage_name(ev->stage));
    else if (ev->kind == VFM_EVENT_WARNING)
        monitor_warning(ev->text);
}

static const char *outcome_name(enum vfm_outcome outcome)
{
    static const char *const names[] = { "active", "completed", "failed",
                                         "lost", "handed-over" };

    return names[outcome];
}

static void put_stages(const struct vfm_progress *p)
{
    printf("\"stage_us\": {");
    for (int i = 0; i < VFM_STAGE_DONE; i++)
        printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "",
               vfm_stage_name((enum vfm_stage)i), p->stage_ns[i] / 1000);
    printf("}");
}

static void put_ram(const struct vfm_ram_stats *r)
{
    printf("\"ram\": {\"total\": %" PRIu64 ", \"rounds\": %" PRIu64
           ", \"normal\": %" PRIu64 ", \"zero\": %" PRIu64
           ", \"transferred\": %" PRIu64 ", \"stopped_pages\": %" PRIu64
           ", \"stopped_us\": %" PRIu64 ", \"remaining\": %" PRIu64
           ", \"dirty_bytes_per_sec\": %" PRIu64 ", \"untracked\": %" PRIu64
           ", \"sync_us\": %" PRIu64 ", \"last_sync_us\": %" PRIu64
           ", \"slow_percent\": %u, \"tracker_failures\": %u}",
           r->bytes, r->rounds, r->normal_pages, r->zero_pages, r->wire_bytes,
           r->stopped_pages, r->stopped_ns / 1000, r->remaining_bytes,
           r->dirty_bytes_per_sec, r->untracked_bytes, r->sync_ns / 1000,
           r->last_sync_ns / 1000, r->slow_percent, r->tracker_failures);
}

static void put_devices(const struct migrate *mg)
{
    struct vfm_device_stats s = { .size = sizeof(s) };

    printf("\"devices\": [");
    for (unsigned int i = 0; vfm_migration_get_device_stats(mg->m, i, &s) == 0;
         i++)
        printf("%s{\"id\": \"%s\", \"pre_copy\": %" PRIu64
               ", \"stop_copy\": %" PRIu64 ", \"stop_us\": %" PRIu64
               ", \"start_us\": %" PRIu64 "}",
               i > 0 ? ", " : "", s.id, s.pre_copy_bytes, s.stop_copy_bytes,
               s.stop_ns / 1000, s.start_ns / 1000);
    printf("]");
}

/* All there is to know of the migration, as the rest of an object. */
static void put_migration(const struct migrate *mg)
{
    struct vfm_progress p = { .size = sizeof(p) };
    struct vfm_ram_stats r = { .size = sizeof(r) };

    vfm_migration_get_progress(mg->m, &p);
    vfm_migration_get_ram_stats(mg->m, &r);
    printf("\"status\": \"%s\", \"role\": \"%s\", \"stage\": \"%s\", "
           "\"elapsed_us\": %" PRIu64 ", \"downtime_us\": %" PRIu64
           ", \"transferred\": %" PRIu64 ", \"device_bytes\": %" PRIu64
           ", \"bytes_per_sec\": %" PRIu64 ", ",
           outcome_name(vfm_migration_get_outcome(mg->m)),
           mg->is_source ? "source" : "target", vfm_stage_name(p.stage),
           p.elapsed_ns / 1000, p.downtime_ns / 1000, p.stream_bytes,
           p.device_bytes, p.bytes_per_sec);
    put_stages(&p);
    printf(", ");
    put_ram(&r);
    printf(", ");
    put_devices(mg);
    if (mg->failure.code != 0) {
        printf(", \"error\": ");
        put_string(mg->failure.message);
    }
}

void monitor_migration_over(const struct migrate *mg)
{
    printf("{\"event\": \"MIGRATION\", ");
    put_migration(mg);
    printf("}\n");
    fflush(stdout);
}

/* ------------------------------------------------------------ commands */

/* Each answers by itself if it returns 1; 0 is answered with an empty object,
 * an error with its sentence. */
typedef int command_fn(struct monitor *mon, char *args, struct vfm_error *err);

static int cmd_query_status(struct monitor *mon, char *args,
                            struct vfm_error *err)
{
    (void)args;
    (void)err;
    printf("{\"return\": {\"status\": \"%s\", \"ran_us\": %" PRIu64 "}}\n",
           mon->migrate->handed_over ? "handed-over"
           : mon->vm->runs           ? "running"
                                     : "paused",
           irqs_now_us(&mon->vm->irqs));
    return 1;
}

static int cmd_stop(struct monitor *mon, char *args, struct vfm_error *err)
{
    int ret = 0;

    (void)args;
    if (migrate_fd(mon->migrate) >= 0)
        return vm_fail(err, -EBUSY, "stop: the VM is being migrated");
    if (mon->vm->runs)
        ret = vm_stop(mon->vm, err);
    mon->vm->runs = mon->vm->runs && ret < 0;
    return ret;
}

static int cmd_cont(struct monitor *mon, char *args, struct vfm_error *err)
{
    (void)args;
    if (migrate_fd(mon->migrate) >= 0 || mon->migrate->handed_over)
        return vm_fail(err, -EBUSY, "cont: the VM is being migrated, or gone");
    mon->vm->runs = true;
    return vm_start(mon->vm, err);
}

/* The processors stand still for a moment: they must not be in the middle of
 * it. */
static int answer_chain(struct monitor *mon, bool all, struct vfm_error *err)
{
    struct vm *vm = mon->vm;
    uint64_t jobs = 0;
    uint64_t hash = 0;
    int ret = 0;

    if (vm->runs)
        ret = vm_stop(vm, err);
    if (ret == 0)
        ret = vm_check(vm, all, &jobs, &hash, err);
    if (vm->runs)
        vm_start(vm, NULL);
    if (ret < 0)
        return ret;
    printf("{\"return\": {\"chain\": \"unbroken\", \"jobs\": %" PRIu64
           ", \"hash\": \"%016" PRIx64 "\"}}\n",
           jobs, hash);
    return 1;
}

static int cmd_check_chain(struct monitor *mon, char *args,
                           struct vfm_error *err)
{
    (void)args;
    return answer_chain(mon, true, err);
}

static int cmd_query_chain(struct monitor *mon, char *args,
                           struct vfm_error *err)
{
    (void)args;
    return answer_chain(mon, false, err);
}

static int cmd_migrate(struct monitor *mon, char *args, struct vfm_error *err)
{
    return migrate_begin(mon->migrate, args, err);
}

static int cmd_migrate_incoming(struct monitor *mon, char *args,
                                struct vfm_error *err)
{
    if (mon->vm->runs || migrate_fd(mon->migrate) >= 0)
        return vm_fail(err, -EBUSY, "migrate-incoming: there is a VM here");
    return migrate_listen(mon->migrate, args, err);
}

static int cmd_migrate_cancel(struct monitor *mon, char *args,
                              struct vfm_error *err)
{
    (void)args;
    if (migrate_fd(mon->migrate) < 0)
        return vm_fail(err, -EINVAL, "migrate-cancel: nothing is under way");
    vfm_migration_cancel(mon->migrate->m);
    return 0;
}

static int cmd_migrate_continue(struct monitor *mon, char *args,
                                struct vfm_error *err)
{
    (void)args;
    if (migrate_fd(mon->migrate) < 0)
        return vm_fail(err, -EINVAL, "migrate-continue: nothing is under way");
    return vfm_migration_continue(mon->migrate->m, err);
}

static int set_parameter(struct migrate_parameters *p, const char *key,
                         const char *text, struct vfm_error *err)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);

    if (*text == '\0' || *end != '\0')
        return vm_fail(err, -EINVAL, "%s: \"%s\" is no number", key, text);
    if (strcmp(key, "downtime-limit") == 0)
        p->downtime_limit_ms = (uint32_t)value;
    else if (strcmp(key, "max-bandwidth") == 0)
        p->max_bandwidth = value;
    else if (strcmp(key, "pre-copy-timeout") == 0)
        p->pre_copy_timeout_ms = (uint32_t)value;
    else if (strcmp(key, "pause-before-switchover") == 0)
        p->pause_before_switchover = value != 0;
    else if (strcmp(key, "force-switchover") == 0)
        p->force_switchover = value != 0;
    else
        return vm_fail(err, -EINVAL, "\"%s\": no such parameter", key);
    return 0;
}

static int cmd_migrate_set_parameters(struct monitor *mon, char *args,
                                      struct vfm_error *err)
{
    struct migrate_parameters p = mon->migrate->parameters;
    char *rest;

    for (char *word = strtok_r(args, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        int ret;

        if (value == NULL)
            return vm_fail(err, -EINVAL, "\"%s\": not NAME=NUMBER", word);
        *value++ = '\0';
        ret = set_parameter(&p, word, value, err);
        if (ret < 0)
            return ret;
    }
    return migrate_set(mon->migrate, &p, err);
}

static int cmd_query_migrate(struct monitor *mon, char *args,
                             struct vfm_error *err)
{
    (void)args;
    if (mon->migrate->m == NULL)
        return vm_fail(err, -EINVAL, "query-migrate: there was none");
    printf("{\"return\": {");
    put_migration(mon->migrate);
    printf("}}\n");
    return 1;
}

static int cmd_take_back(struct monitor *mon, char *args, struct vfm_error *err)
{
    (void)args;
    return migrate_take_back(mon->migrate, err);
}

/* For tests: the chain must break. */
static int cmd_damage(struct monitor *mon, char *args, struct vfm_error *err)
{
    uint64_t at = strtoull(args, NULL, 0);

    if (at >= mon->vm->memory_size)
        return vm_fail(err, -EINVAL, "damage: no such address");
    mon->vm->memory[at] ^= 1;
    return 0;
}

static int cmd_quit(struct monitor *mon, char *args, struct vfm_error *err)
{
    (void)args;
    (void)err;
    mon->quit = true;
    return 0;
}

static const struct {
    const char *name;
    command_fn *run;
} commands[] = {
    { "check-chain", cmd_check_chain },
    { "cont", cmd_cont },
    { "damage", cmd_damage },
    { "migrate", cmd_migrate },
    { "migrate-cancel", cmd_migrate_cancel },
    { "migrate-continue", cmd_migrate_continue },
    { "migrate-incoming", cmd_migrate_incoming },
    { "migrate-set-parameters", cmd_migrate_set_parameters },
    { "query-chain", cmd_query_chain },
    { "query-migrate", cmd_query_migrate },
    { "query-status", cmd_query_status },
    { "quit", cmd_quit },
    { "stop", cmd_stop },
    { "take-back", cmd_take_back },
};

static void run_line(struct monitor *mon, char *line)
{
    char *args = line + strcspn(line, " ");
    struct vfm_error err = { 0 };
    int ret = vm_fail(&err, -EINVAL, "\"%.64s\": no such command", line);

    if (*args != '\0')
        *args++ = '\0';
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, line) == 0)
            ret = commands[i].run(mon, args, &err);
    if (ret == 0)
        answer_done();
    else if (ret < 0)
        answer_error(&err);
    fflush(stdout);
}

void monitor_read(struct monitor *mon)
{
    size_t room = sizeof(mon->line) - 1 - mon->used;
    ssize_t n = read(STDIN_FILENO, mon->line + mon->used, room);
    char *end;

    if (n <= 0) {
        mon->ended = n == 0 || errno != EINTR;
        return;
    }
    mon->used += (size_t)n;
    mon->line[mon->used] = '\0';
    while ((end = strchr(mon->line, '\n')) != NULL) {
        size_t len = (size_t)(end + 1 - mon->line);

        *end = '\0';
        if (mon->line[0] != '\0')
            run_line(mon, mon->line);
        mon->used -= len;
        memmove(mon->line, end + 1, mon->used + 1);
    }
    if (mon->used == sizeof(mon->line) - 1)
        mon->used = 0; /* no command is that long */
}
