/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals that cancel.
 *
 * What a handler can reach is global by nature: the one structure below is all
 * of it.  Everything that the handler calls is async-signal-safe.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vfmig/migration.h>

#include "interrupt.h"
#include "util/error.h"

static struct {
    int pipe[2];
    volatile sig_atomic_t count;
    _Atomic(struct vfm_migration *) migration;

    /* What the first and every further signal say. */
    char first[128];
    char further[128];
} interrupt = { .pipe = { -1, -1 } };

/* The device may be in the middle of something that takes its time, so the
 * answer to the key comes from here rather than from the loop. */
static void handle_signal(int number)
{
    int saved_errno = errno;
    const char *text = interrupt.count ? interrupt.further : interrupt.first;
    struct vfm_migration *m = atomic_load(&interrupt.migration);

    (void)number;
    interrupt.count = 1;
    /* Neither can be helped if it fails: a full pipe is readable as well. */
    if (write(STDERR_FILENO, text, strlen(text)) < 0 ||
        write(interrupt.pipe[1], "", 1) < 0)
        interrupt.count = 1;
    if (m != NULL)
        vfm_migration_cancel(m);
    errno = saved_errno;
}

static void compose_texts(const char *command)
{
    /* Where a progress bar may stand, wipe it. */
    const char *start = isatty(STDERR_FILENO) ? "\r\033[K" : "";

    snprintf(interrupt.first, sizeof(interrupt.first),
             "%svfmig: %s: cancelling\n", start, command);
    snprintf(interrupt.further, sizeof(interrupt.further),
             "%svfmig: %s: still cancelling: bringing the devices back\n",
             start, command);
}

int interrupt_install(const char *command, struct vfm_error *err)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = handle_signal };

    if (pipe2(interrupt.pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set(err, -errno, "%s: cannot make a pipe: %s", command,
                         strerror(errno));
    compose_texts(command);

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction old;

        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    return interrupt.pipe[0];
}

bool interrupt_is_pending(void)
{
    return interrupt.count != 0;
}

void interrupt_watch(struct vfm_migration *m)
{
    atomic_store(&interrupt.migration, m);
    /* One that came before found nothing to cancel. */
    if (m != NULL && interrupt_is_pending())
        vfm_migration_cancel(m);
}
