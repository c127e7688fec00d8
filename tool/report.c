/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The report of a migration.
 *
 * The figures are the library's; here they are put into words and JSON.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "downtime.h"
#include "json.h"
#include "report.h"
#include "say.h"

/* Where none is given: vfm_migration_options.downtime_limit_ms. */
#define DOWNTIME_LIMIT_MS 300

/* The stages in which the devices stand still. */
#define DOWNTIME_FIRST    VFM_STAGE_STOP
#define DOWNTIME_LAST     VFM_STAGE_START

void report_add_warning(struct report *report, const char *text)
{
    char *copy;

    if (report->warning_count == REPORT_MAX_WARNINGS)
        return;
    copy = strdup(text);
    if (copy != NULL)
        report->warnings[report->warning_count++] = copy;
}

void report_finish(struct report *report)
{
    for (size_t i = 0; i < report->warning_count; i++)
        free(report->warnings[i]);
    report->warning_count = 0;
}

static const char *outcome_name(const struct vfm_migration *m)
{
    if (m == NULL)
        return "failed";

    switch (vfm_migration_get_outcome(m)) {
    case VFM_OUTCOME_DONE:
        return "done";
    case VFM_OUTCOME_LOST:
        return "lost";
    case VFM_OUTCOME_HANDED_OVER:
        return "handed-over";
    case VFM_OUTCOME_PENDING:
    case VFM_OUTCOME_FAILED:
        break;
    }
    return "failed";
}

static struct json_tree *stages_object(const struct vfm_progress *figures,
                                       int first, int last)
{
    struct json_tree *stages = json_object_make();

    for (int stage = first; stage <= last; stage++)
        json_add_number(stages, vfm_stage_name((enum vfm_stage)stage),
                        figures->stage_ns[stage]);
    return stages;
}

/* What the state that was left was expected to take when the devices were to
 * be stopped, and what a bench's file says of all of it; a source's. */
static void add_prediction(struct json_tree *downtime,
                           const struct report *report,
                           const struct vfm_progress *figures)
{
    const struct prediction *p = &report->prediction;

    if (report->move->role != VFM_ROLE_SOURCE)
        return;
    if (figures->expected_downtime_ns != UINT64_MAX)
        json_add_number(downtime, "expected_ns", figures->expected_downtime_ns);
    else
        json_add(downtime, "expected_ns", json_null_make());
    if (report->move->options.predict != NULL) {
        json_add_number(downtime, "predicted_ns", p->ns);
        json_add_number(downtime, "predicted_low_ns", p->low_ns);
        json_add_number(downtime, "predicted_high_ns", p->high_ns);
    }
}

static struct json_tree *downtime_object(const struct report *report,
                                         const struct vfm_progress *figures,
                                         const struct vfm_spent *spent)
{
    struct json_tree *downtime = json_object_make();

    json_add_number(downtime, "total_ns", figures->downtime_ns);
    json_add(downtime, "stages_ns",
             stages_object(figures, DOWNTIME_FIRST, DOWNTIME_LAST));
    json_add(downtime, "causes_ns", downtime_causes(spent->downtime_ns));
    downtime_add(downtime, spent);
    add_prediction(downtime, report, figures);
    return downtime;
}

static struct json_tree *device_object(const struct device_arg *arg,
                                       const struct vfm_device_stats *stats)
{
    struct json_tree *device = json_object_make();

    json_add_string(device, "id", stats->id);
    json_add_string(device, "device", arg->word);
    json_add_string(device, "state", vfm_state_name(stats->state));
    json_add_number(device, "pre_copy_bytes", stats->pre_copy_bytes);
    json_add_number(device, "stop_copy_bytes", stats->stop_copy_bytes);
    json_add_number(device, "config_bytes", stats->config_bytes);
    json_add_number(device, "stop_ns", stats->stop_ns);
    json_add_number(device, "check_ns", stats->check_ns);
    json_add_number(device, "start_ns", stats->start_ns);
    json_add_string(device, "xxh3_128",
                    stats->digest[0] != '\0' ? stats->digest : NULL);
    return device;
}

static struct json_tree *devices_array(const struct report *report)
{
    const struct device_list *list = &report->move->options.devices;
    struct json_tree *devices = json_array_make();

    for (unsigned int i = 0; i < list->count; i++) {
        struct vfm_device_stats stats = { .size = sizeof(stats) };

        if (vfm_migration_get_device_stats(report->migration, i, &stats) == 0)
            json_append(devices, device_object(&list->items[i], &stats));
    }
    return devices;
}

static void add_figures(struct json_tree *object, const struct report *report)
{
    const struct vfm_migration *m = report->migration;
    struct vfm_progress figures = { .size = sizeof(figures) };
    struct vfm_spent spent = { .size = sizeof(spent) };

    vfm_migration_get_progress(m, &figures);
    vfm_migration_get_spent(m, &spent);
    json_add_string(object, "stage", vfm_stage_name(figures.stage));
    json_add_bool(object, "vm_runs", vfm_migration_vm_runs(m));
    json_add_number(object, "stream_bytes", figures.stream_bytes);
    json_add_number(object, "device_bytes", figures.device_bytes);
    json_add_number(object, "iterations", figures.iterations);
    json_add_number(object, "elapsed_ns", figures.elapsed_ns);
    json_add(object, "stages_ns",
             stages_object(&figures, VFM_STAGE_HELLO, VFM_STAGE_CLEANUP));
    json_add(object, "causes_ns", downtime_causes(spent.total_ns));
    json_add(object, "downtime", downtime_object(report, &figures, &spent));
    json_add(object, "devices", devices_array(report));
}

void report_print_json(const struct report *report)
{
    struct json_tree *object = json_object_make();
    struct json_tree *warnings = json_array_make();

    json_add_string(object, "command", move_name(report->move));
    json_add_string(object, "where", report->move->options.where);
    json_add_string(object, "outcome", outcome_name(report->migration));
    json_add_string(object, "error", report->error);
    if (report->migration != NULL)
        add_figures(object, report);

    for (size_t i = 0; i < report->warning_count; i++)
        json_append(warnings, json_string_make(report->warnings[i]));
    json_add(object, "warnings", warnings);
    json_print(object);
}

static void print_totals(const struct report *report,
                         const struct vfm_progress *figures, FILE *out)
{
    bool is_source = report->move->role == VFM_ROLE_SOURCE;
    char state[QUANTITY_MAX];
    char stream[QUANTITY_MAX];
    char time[QUANTITY_MAX];

    fprintf(out, "%s %s of device state (%s of stream) %s %s in %s\n",
            is_source ? "sent" : "received",
            say_bytes(state, figures->device_bytes),
            say_bytes(stream, figures->stream_bytes), is_source ? "to" : "from",
            report->move->options.where,
            say_duration(time, figures->elapsed_ns));
}

/* Where the downtime went: the stages that took a hundredth of it. */
static void print_downtime(const struct vfm_progress *figures, FILE *out)
{
    const char *before = ": ";
    char time[QUANTITY_MAX];

    if (figures->downtime_ns == 0)
        return;

    fprintf(out, "stopped for %s", say_duration(time, figures->downtime_ns));
    for (int stage = DOWNTIME_FIRST; stage <= DOWNTIME_LAST; stage++) {
        uint64_t ns = figures->stage_ns[stage];

        if (ns < figures->downtime_ns / 100 || ns == 0)
            continue;
        fprintf(out, "%s%s %s", before, vfm_stage_name((enum vfm_stage)stage),
                say_duration(time, ns));
        before = ", ";
    }
    fputc('\n', out);
}

static void print_limit(const struct report *report,
                        const struct vfm_progress *figures, FILE *out)
{
    uint32_t ms = report->move->options.downtime_limit_ms;
    uint64_t limit = (uint64_t)(ms > 0 ? ms : DOWNTIME_LIMIT_MS) * 1000000;
    char text[QUANTITY_MAX];

    if (report->move->role == VFM_ROLE_SOURCE && figures->downtime_ns > limit)
        fprintf(out, "which is more than the downtime limit of %s\n",
                say_duration(text, limit));
}

static void print_prediction(const struct report *report,
                             const struct vfm_progress *figures, FILE *out)
{
    const struct prediction *p = &report->prediction;
    char expected[QUANTITY_MAX];
    char low[QUANTITY_MAX];
    char high[QUANTITY_MAX];
    char actual[QUANTITY_MAX];

    if (figures->downtime_ns == 0 || report->move->role != VFM_ROLE_SOURCE)
        return;
    say_duration(actual, figures->downtime_ns);
    if (report->move->options.predict != NULL)
        fprintf(out, "predicted: %s (%s to %s); it was %s\n",
                say_duration(expected, p->ns), say_duration(low, p->low_ns),
                say_duration(high, p->high_ns), actual);
    else if (figures->expected_downtime_ns != UINT64_MAX)
        fprintf(out,
                "when they were stopped the state that was left was expected "
                "to take %s; it was %s in all\n",
                say_duration(expected, figures->expected_downtime_ns), actual);
}

static void print_device(const struct vfm_device_stats *stats, FILE *out)
{
    char running[QUANTITY_MAX];
    char stopped[QUANTITY_MAX];

    fprintf(out, "%s: %s while it ran, %s while it was stopped; %s here",
            stats->id, say_bytes(running, stats->pre_copy_bytes),
            say_bytes(stopped, stats->stop_copy_bytes),
            vfm_state_name(stats->state));
    if (stats->digest[0] != '\0')
        fprintf(out, "; XXH3 %s", stats->digest);
    fputc('\n', out);
}

void report_print_summary(const struct report *report, FILE *out)
{
    const struct vfm_migration *m = report->migration;
    struct vfm_progress figures = { .size = sizeof(figures) };
    struct vfm_device_stats stats = { .size = sizeof(stats) };

    vfm_migration_get_progress(m, &figures);
    print_totals(report, &figures, out);
    print_downtime(&figures, out);
    print_limit(report, &figures, out);
    downtime_print(m, out);
    print_prediction(report, &figures, out);
    for (unsigned int i = 0; vfm_migration_get_device_stats(m, i, &stats) == 0;
         i++)
        print_device(&stats, out);
}
