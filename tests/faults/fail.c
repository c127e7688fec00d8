/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded: one call of a program fails, and what it leaves behind is told.
 *
 *   FAULT_PLAN  FUNCTION:N:ERRNO  the Nth call of FUNCTION fails with this
 *                                 number; for getaddrinfo() and posix_spawn(),
 *                                 which have their own ways, they return it
 *               FUNCTION:N:short  it moves one byte
 *   FAULT_WAITS it counts from when the program calls fail_begin(), rather than
 *               from main() on
 *   FAULT_SWITCH  a file of one byte: it counts while that is not 0, so that a
 *               program that stays can be asked in between
 *   FAULT_LOG   a file to which lines are appended:
 *               struck FUNCTION N PLACE
 *               count FUNCTION N
 *               leak KIND FUNCTION PLACE
 *
 * Counted are calls by the program, libvfmig, json-c and xxhash, from main()
 * on; of malloc() and its kin those by libc as well.  PLACE is a file and an
 * offset in it.  The C library's own calls do not come by here, which is why
 * functions that consist of some are here themselves.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail.h"

#define MODULES_MAX 64
#define POINTS_MAX  128

enum module_kind { MODULE_OTHER, MODULE_OURS, MODULE_LIBC };

struct module {
    uintptr_t base;
    uintptr_t first;
    uintptr_t end;
    enum module_kind kind;
    char name[64];
};

static struct {
    struct module modules[MODULES_MAX];
    int num_modules;
    struct fail_point *points[POINTS_MAX];
    int num_points;

    char function[64];
    unsigned long nth;
    int code;
    bool is_short;

    int log_fd;
    bool armed;              /* between the constructor and the destructor */
    const volatile char *on; /* what the switch says; NULL: there is none */
} fail = { .log_fd = -1 };

/* ------------------------------------------------ who calls */

static enum module_kind kind_of(const char *name)
{
    if (strncmp(name, "libvfmig", 8) == 0 ||
        strncmp(name, "libjson-c", 9) == 0 ||
        strncmp(name, "libxxhash", 9) == 0)
        return MODULE_OURS;
    return strncmp(name, "libc.so", 7) == 0 ? MODULE_LIBC : MODULE_OTHER;
}

static int add_module(struct dl_phdr_info *info, size_t size, void *opaque)
{
    struct module *m = &fail.modules[fail.num_modules];
    const char *slash = strrchr(info->dlpi_name, '/');

    (void)size;
    (void)opaque;
    if (fail.num_modules == MODULES_MAX)
        return 1;
    m->base = info->dlpi_addr;
    m->first = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t at = m->base + segment->p_vaddr;

        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0)
            continue;
        m->first = at < m->first ? at : m->first;
        m->end = at + segment->p_memsz;
    }
    snprintf(m->name, sizeof(m->name), "%s",
             slash == NULL ? info->dlpi_name : slash + 1);
    /* The first is the program, which has no name. */
    m->kind = fail.num_modules == 0 ? MODULE_OURS : kind_of(m->name);
    fail.num_modules++;
    return 0;
}

static const struct module *find_module(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;

    for (int i = 0; i < fail.num_modules; i++)
        if (at >= fail.modules[i].first && at < fail.modules[i].end)
            return &fail.modules[i];
    return NULL;
}

static _Thread_local bool paused;

void fail_pause(bool pause)
{
    paused = pause;
}

bool fail_is_ours(const void *caller)
{
    const struct module *m = find_module(caller);

    return fail.armed && m != NULL && m->kind == MODULE_OURS;
}

static bool is_counted(const struct fail_point *point, const void *caller)
{
    const struct module *m = find_module(caller);

    if (m == NULL || !fail.armed || paused ||
        (fail.on != NULL && *fail.on == 0))
        return false;
    return m->kind == MODULE_OURS || (point->by_libc && m->kind == MODULE_LIBC);
}

/* ------------------------------------------------ the log */

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
    char line[256];
    va_list ap;
    int n;

    if (fail.log_fd < 0)
        return;
    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    /* A line at a time: nobody else's is cut by it. */
    if (n > 0)
        syscall(SYS_write, fail.log_fd, line, (size_t)n);
}

static void say_place(const char *what, const char *function, unsigned long nth,
                      const void *caller)
{
    const struct module *m = find_module(caller);

    say("%s %s %lu %s+0x%lx\n", what, function, nth,
        m == NULL            ? "?"
        : m->name[0] == '\0' ? "program"
                             : m->name,
        (unsigned long)((uintptr_t)caller - (m == NULL ? 0 : m->base)));
}

void fail_say_leak(const char *kind, const char *function, const void *caller)
{
    char what[64];

    snprintf(what, sizeof(what), "leak %s", kind);
    say_place(what, function, 0, caller);
}

/* ------------------------------------------------ what fails */

static void add_point(struct fail_point *point)
{
    point->known = true;
    if (fail.num_points < POINTS_MAX)
        fail.points[fail.num_points++] = point;
}

enum fail_how fail_strike(struct fail_point *point, const void *caller)
{
    if (!is_counted(point, caller))
        return FAIL_NOT;
    if (!point->known)
        add_point(point);
    point->count++;
    if (point->count != fail.nth || strcmp(point->name, fail.function) != 0)
        return FAIL_NOT;
    say_place("struck", point->name, point->count, caller);
    errno = fail.code;
    return fail.is_short ? FAIL_SHORT : FAIL_NOW;
}

int fail_code(void)
{
    return fail.code;
}

void *fail_real(const char *name)
{
    void *real = dlsym(RTLD_NEXT, name);

    if (real == NULL)
        abort();
    return real;
}

static void read_plan(const char *plan)
{
    const char *colon = strchr(plan, ':');
    char *end;

    if (colon == NULL || (size_t)(colon - plan) >= sizeof(fail.function))
        abort();
    memcpy(fail.function, plan, (size_t)(colon - plan));
    fail.nth = strtoul(colon + 1, &end, 10);
    fail.is_short = strcmp(end, ":short") == 0;
    if (*end == ':' && !fail.is_short)
        fail.code = (int)strtol(end + 1, NULL, 10);
}

static void find_switch(const char *path)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    void *at = (void *)syscall(SYS_mmap, NULL, 1, PROT_READ, MAP_SHARED, fd, 0);

    if (at == MAP_FAILED)
        abort();
    fail.on = at;
    syscall(SYS_close, fd);
}

/* What the program starts is left alone. */
__attribute__((constructor)) static void arm(void)
{
    const char *plan = getenv("FAULT_PLAN");
    const char *log = getenv("FAULT_LOG");
    const char *on = getenv("FAULT_SWITCH");

    dl_iterate_phdr(add_module, NULL);
    if (log != NULL) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, log,
                              O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        /* Out of the way of what the program opens. */
        fail.log_fd = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
        syscall(SYS_close, fd);
    }
    if (plan != NULL)
        read_plan(plan);
    if (on != NULL)
        find_switch(on);
    unsetenv("LD_PRELOAD");
    unsetenv("FAULT_PLAN");
    unsetenv("FAULT_LOG");
    unsetenv("FAULT_SWITCH");
    fail_note_open_fds();
    fail.armed = getenv("FAULT_WAITS") == NULL;
    unsetenv("FAULT_WAITS");
}

void fail_begin(void)
{
    fail_note_open_fds();
    fail.armed = true;
}

void fail_end(void)
{
    fail.armed = false;
}

static void say_children(void)
{
    siginfo_t info;

    if (syscall(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT,
                NULL) == 0)
        say("leak child posix_spawn 0 ?+0x0\n");
}

__attribute__((destructor)) static void tell(void)
{
    fail.armed = false;
    for (int i = 0; i < fail.num_points; i++)
        say("count %s %lu\n", fail.points[i]->name, fail.points[i]->count);
    fail_say_kept();
    say_children();
    say("end\n");
}
