/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The progress line.
 *
 * The figures are the migration's; a device's estimate of what is left may be
 * garbage, so it is shown only where it adds up.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "progress.h"
#include "say.h"
#include "util/clock.h"

#define REDRAW_NS       (100 * NS_PER_MS)
#define BAR_CELLS       20
#define DEFAULT_COLUMNS 80

/* More than this is left: that is no estimate. */
#define CREDIBLE_BYTES  (UINT64_C(1) << 50)

void progress_init(struct progress *bar, bool quiet)
{
    const char *term = getenv("TERM");

    *bar = (struct progress){
        .is_enabled = !quiet && isatty(STDERR_FILENO) && term != NULL &&
                      strcmp(term, "dumb") != 0,
    };
}

static int terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return DEFAULT_COLUMNS;
    return size.ws_col;
}

__attribute__((format(printf, 2, 3))) static void append(char *line,
                                                         const char *fmt, ...)
{
    size_t used = strlen(line);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line + used, PROGRESS_LINE_MAX - used, fmt, ap);
    va_end(ap);
}

/* How much of the state is through, and of how much. */
static void append_amount(char *line, const struct vfm_progress *now)
{
    uint64_t total = now->device_bytes + now->remaining_bytes;
    char done_text[QUANTITY_MAX];
    char total_text[QUANTITY_MAX];
    char cells[BAR_CELLS + 1];
    double part;
    int filled;

    say_bytes(done_text, now->device_bytes);
    if (now->remaining_bytes > CREDIBLE_BYTES || total == 0) {
        append(line, " %s", done_text);
        return;
    }

    part = (double)now->device_bytes / (double)total;
    filled = (int)(part * BAR_CELLS);
    memset(cells, '-', BAR_CELLS);
    memset(cells, '#', (size_t)filled);
    cells[BAR_CELLS] = '\0';
    append(line, " [%s] %3.0f%% %s of %s", cells, part * 100, done_text,
           say_bytes(total_text, total));
}

static void append_time_left(char *line, const struct vfm_progress *now)
{
    uint64_t seconds;

    if (now->remaining_bytes > CREDIBLE_BYTES || now->bytes_per_sec == 0)
        return;

    seconds = now->remaining_bytes / now->bytes_per_sec;
    append(line, ", %llu:%02llu left", (unsigned long long)seconds / 60,
           (unsigned long long)seconds % 60);
}

void progress_format(const struct vfm_progress *now, int columns,
                     char line[PROGRESS_LINE_MAX])
{
    char text[QUANTITY_MAX];

    snprintf(line, PROGRESS_LINE_MAX, "%-9s", vfm_stage_name(now->stage));
    append_amount(line, now);
    if (now->bytes_per_sec != 0)
        append(line, ", %s/s", say_bytes(text, now->bytes_per_sec));
    if (now->expected_downtime_ns != UINT64_MAX)
        append(line, ", downtime ~%s",
               say_duration(text, now->expected_downtime_ns));
    append_time_left(line, now);
    if (columns >= 0 && columns < PROGRESS_LINE_MAX)
        line[columns] = '\0';
}

static void draw(struct progress *bar, const char *line)
{
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    bar->is_drawn = true;
}

void progress_show_connecting(struct progress *bar, const char *where)
{
    char line[PROGRESS_LINE_MAX];
    int columns;

    if (!bar->is_enabled)
        return;
    columns = terminal_columns();
    snprintf(line, sizeof(line), "connecting to %s", where);
    say_make_harmless(line);
    if (columns < PROGRESS_LINE_MAX)
        line[columns - 1] = '\0';
    draw(bar, line);
}

void progress_show(struct progress *bar, const struct vfm_migration *m)
{
    struct vfm_progress now = { .size = sizeof(now) };
    char line[PROGRESS_LINE_MAX];

    if (!bar->is_enabled || clock_now() < bar->next_ns ||
        vfm_migration_get_progress(m, &now) < 0)
        return;

    /* A line that fills the last column would wrap. */
    progress_format(&now, terminal_columns() - 1, line);
    draw(bar, line);
    bar->next_ns = clock_now() + REDRAW_NS;
}

int progress_poll_timeout(const struct progress *bar)
{
    return bar->is_enabled ? clock_poll_timeout(bar->next_ns) : -1;
}

void progress_clear(struct progress *bar)
{
    if (!bar->is_drawn)
        return;

    fputs("\r\033[K", stderr);
    fflush(stderr);
    bar->is_drawn = false;
}
