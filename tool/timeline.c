/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trace: an array of spans, each with when it began and how long it took.
 * A stage lasts until the next begins, a state until the device's next; what
 * the library knows of is its spans, the other side's too.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "timeline.h"
#include "util/clock.h"
#include "util/error.h"

/* Rows of the trace; those of devices follow, some for each, and those of
 * several channels. */
enum { ROW_STAGES = 1, ROW_DOWNTIME, ROW_WAITS, ROW_DEVICES };
enum { DEVICE_STATES, DEVICE_ARCS, DEVICE_DATA, DEVICE_ROWS };

/* Processes of the trace: ours, and the other side's. */
enum { HERE = 1, THERE };

struct trace {
    const struct timeline *timeline;
    const struct vfm_migration *m;
    struct json_tree *events;
    struct vfm_spent spent;
    struct vfm_clock clock;
    int64_t wall; /* ns from the monotonic clock to the wall's */
    int64_t end;
    int pid; /* whose events are added */
};

int timeline_open(struct timeline *timeline, const char *name,
                  struct vfm_error *err)
{
    if (name == NULL)
        return 0;
    timeline->events = calloc(TIMELINE_MAX, sizeof(*timeline->events));
    if (timeline->events == NULL)
        return error_set(err, -ENOMEM, "timeline: out of memory");
    timeline->name = name;
    timeline->file = fopen(name, "we");
    if (timeline->file == NULL)
        return error_set(err, -errno, "%s: cannot write a timeline: %s", name,
                         strerror(errno));
    return 0;
}

void timeline_close(struct timeline *timeline)
{
    if (timeline->file != NULL)
        fclose(timeline->file);
    free(timeline->events);
    *timeline = (struct timeline){ 0 };
}

void timeline_add(struct timeline *timeline, const struct vfm_event *event)
{
    struct timeline_event *kept;

    if (timeline->file == NULL || timeline->count == TIMELINE_MAX)
        return;
    kept = &timeline->events[timeline->count++];
    kept->at = clock_now();
    kept->event = *event;
    kept->event.text = NULL;
}

static int64_t wall_offset(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * NS_PER_SEC + now.tv_nsec - clock_now();
}

static struct json_tree *add(struct trace *trace, const char *phase, int row,
                             const char *name)
{
    struct json_tree *event = json_object_make();

    json_add_string(event, "ph", phase);
    json_add_number(event, "pid", (uint64_t)trace->pid);
    json_add_number(event, "tid", (uint64_t)row);
    json_add_string(event, "name", name);
    json_append(trace->events, event);
    return event;
}

static void name_row(struct trace *trace, const char *what, int row,
                     const char *name)
{
    struct json_tree *event = add(trace, "M", row, what);
    struct json_tree *args = json_object_make();

    json_add_string(args, "name", name);
    json_add(event, "args", args);
}

/* Microseconds, as the format has them. */
static void add_time(struct json_tree *event, const char *name, int64_t ns)
{
    json_add(event, name, json_thousandths_make((uint64_t)ns));
}

static struct json_tree *add_span(struct trace *trace, int row,
                                  const char *name, int64_t from, int64_t to)
{
    struct json_tree *event = add(trace, "X", row, name);

    add_time(event, "ts", from + trace->wall);
    add_time(event, "dur", to - from);
    return event;
}

static struct json_tree *causes_object(const uint64_t ns[VFM_CAUSES_MAX])
{
    struct json_tree *causes = json_object_make();
    char name[32];

    for (int cause = 0; cause <= VFM_CAUSE_LOOP; cause++) {
        snprintf(name, sizeof(name), "%s_us",
                 vfm_cause_name((enum vfm_cause)cause));
        add_time(causes, name, (int64_t)ns[cause]);
    }
    return causes;
}

/* Whether @a and @b are of one row. */
static bool is_same_row(const struct vfm_event *a, const struct vfm_event *b)
{
    if (a->kind != b->kind || a->kind == VFM_EVENT_WARNING)
        return false;
    return a->kind == VFM_EVENT_STAGE || strcmp(a->device, b->device) == 0;
}

/* When what began with event @i was over. */
static int64_t end_of(const struct trace *trace, size_t i)
{
    const struct timeline *t = trace->timeline;

    for (size_t next = i + 1; next < t->count; next++)
        if (is_same_row(&t->events[i].event, &t->events[next].event))
            return t->events[next].at;
    return trace->end;
}

static const struct timeline_event *find_stage(const struct timeline *t,
                                               enum vfm_stage stage)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->events[i].event.kind == VFM_EVENT_STAGE &&
            t->events[i].event.stage == stage)
            return &t->events[i];
    return NULL;
}

static int64_t stage_ns(const struct trace *trace, enum vfm_stage stage)
{
    int64_t ns = 0;

    for (int cause = 0; cause < VFM_CAUSES_MAX; cause++)
        ns += (int64_t)trace->spent.stage_ns[stage][cause];
    return ns;
}

/* A source is in `check` for as long as its target says that it was, though all
 * that it has heard of it is the end.  *@at is when `loaded` began. */
static bool is_told_of_check(const struct trace *trace, int64_t *at)
{
    const struct timeline_event *check =
        find_stage(trace->timeline, VFM_STAGE_CHECK);
    const struct timeline_event *loaded =
        find_stage(trace->timeline, VFM_STAGE_LOADED);

    if (check == NULL || loaded == NULL)
        return false;
    *at = check->at + stage_ns(trace, VFM_STAGE_CHECK);
    return true;
}

static void add_stage(struct trace *trace, size_t i)
{
    const struct timeline_event *kept = &trace->timeline->events[i];
    enum vfm_stage stage = kept->event.stage;
    int64_t began = kept->at;
    int64_t ended = end_of(trace, i);
    struct json_tree *event;
    int64_t loaded;

    if (stage == VFM_STAGE_DONE)
        return;
    if (is_told_of_check(trace, &loaded)) {
        began = stage == VFM_STAGE_LOADED ? loaded : began;
        ended = stage == VFM_STAGE_CHECK ? loaded : ended;
    }
    event = add_span(trace, ROW_STAGES, vfm_stage_name(stage), began, ended);
    json_add_string(event, "cat", vfm_span_kind_name(VFM_SPAN_STAGE));
    json_add(event, "args", causes_object(trace->spent.stage_ns[stage]));
}

static int row_of(const struct trace *trace, const char *id)
{
    struct vfm_device_stats stats = { .size = sizeof(stats) };
    unsigned int i = 0;

    while (vfm_migration_get_device_stats(trace->m, i, &stats) == 0 &&
           strcmp(stats.id, id) != 0)
        i++;
    return ROW_DEVICES + DEVICE_ROWS * (int)i;
}

static int channel_row(const struct trace *trace, uint32_t channel)
{
    return row_of(trace, "") + (int)channel;
}

static void add_events(struct trace *trace)
{
    const struct timeline *t = trace->timeline;

    for (size_t i = 0; i < t->count; i++) {
        const struct timeline_event *kept = &t->events[i];

        if (kept->event.kind == VFM_EVENT_STAGE)
            add_stage(trace, i);
        else if (kept->event.kind == VFM_EVENT_STATE)
            add_span(trace, row_of(trace, kept->event.device),
                     vfm_state_name(kept->event.state), kept->at,
                     end_of(trace, i));
    }
}

/* It began with stage `stop`. */
static void add_downtime(struct trace *trace)
{
    struct vfm_progress progress = { .size = sizeof(progress) };
    const struct timeline_event *began =
        find_stage(trace->timeline, VFM_STAGE_STOP);
    struct json_tree *event;

    vfm_migration_get_progress(trace->m, &progress);
    if (began == NULL || progress.downtime_ns == 0)
        return;
    event = add_span(trace, ROW_DOWNTIME, "stopped", began->at,
                     began->at + (int64_t)progress.downtime_ns);
    json_add(event, "args", causes_object(trace->spent.downtime_ns));
}

/* What a span is, beside its name: what the probes say, too. */
static struct json_tree *span_args(const struct vfm_span *span)
{
    struct json_tree *args = json_object_make();

    json_add_string(args, "stage", vfm_stage_name(span->stage));
    if (span->device != NULL)
        json_add_string(args, "device", span->device);
    if (span->kind == VFM_SPAN_STAGE || span->kind == VFM_SPAN_DATA ||
        span->kind == VFM_SPAN_CHANNEL)
        json_add_number(args, "bytes", span->bytes);
    if (span->kind == VFM_SPAN_CHANNEL)
        add_time(args, "blocked_us", (int64_t)span->blocked_ns);
    return args;
}

static void span_name(const struct vfm_span *span, char name[64])
{
    switch (span->kind) {
    case VFM_SPAN_ARC:
        snprintf(name, 64, "%s>%s", vfm_state_name(span->from),
                 vfm_state_name(span->to));
        break;
    case VFM_SPAN_WAIT:
        snprintf(name, 64, "%s", vfm_cause_name(span->cause));
        break;
    case VFM_SPAN_STAGE:
    case VFM_SPAN_DATA:
    case VFM_SPAN_CHANNEL:
    default:
        snprintf(name, 64, "%s", vfm_stage_name(span->stage));
        break;
    }
}

static int span_row(const struct trace *trace, const struct vfm_span *span)
{
    switch (span->kind) {
    case VFM_SPAN_ARC:
        return row_of(trace, span->device) + DEVICE_ARCS;
    case VFM_SPAN_DATA:
        return row_of(trace, span->device) + DEVICE_DATA;
    case VFM_SPAN_WAIT:
        return ROW_WAITS;
    case VFM_SPAN_CHANNEL:
        return channel_row(trace, span->channel);
    case VFM_SPAN_STAGE:
    default:
        return ROW_STAGES;
    }
}

/* Our own stages are there already, with causes. */
static bool is_shown(const struct vfm_span *span)
{
    if (span->kind == VFM_SPAN_ARC || span->kind == VFM_SPAN_DATA)
        return span->device != NULL;
    return span->there || span->kind != VFM_SPAN_STAGE;
}

/* Returns whether there are any of the other side. */
static bool add_spans(struct trace *trace)
{
    struct vfm_span span = { .size = sizeof(span) };
    bool any = false;
    char name[64];

    for (unsigned int i = 0; vfm_migration_get_span(trace->m, i, &span) == 0;
         i++) {
        struct json_tree *event;

        if (!is_shown(&span))
            continue;
        any = any || span.there;
        trace->pid = span.there ? THERE : HERE;
        span_name(&span, name);
        event = add_span(trace, span_row(trace, &span), name, span.began_ns,
                         span.ended_ns);
        json_add_string(event, "cat", vfm_span_kind_name(span.kind));
        json_add(event, "args", span_args(&span));
    }
    return any;
}

static void name_device_rows(struct trace *trace, int row, const char *id)
{
    static const char *const what[DEVICE_ROWS] = { "", " arcs", " data" };
    char name[280];

    for (int i = trace->pid == THERE; i < DEVICE_ROWS; i++) {
        snprintf(name, sizeof(name), "%s%s", id, what[i]);
        name_row(trace, "thread_name", row + i, name);
    }
}

/* Those that anything is shown of. */
static void name_channel_rows(struct trace *trace)
{
    struct vfm_span span = { .size = sizeof(span) };
    char name[32];

    for (unsigned int i = 0; vfm_migration_get_span(trace->m, i, &span) == 0;
         i++) {
        if (span.kind != VFM_SPAN_CHANNEL ||
            span.there != (trace->pid == THERE))
            continue;
        snprintf(name, sizeof(name), "channel %" PRIu32, span.channel);
        name_row(trace, "thread_name", channel_row(trace, span.channel), name);
    }
}

/* Of the process whose events are added. */
static void name_rows(struct trace *trace, const char *process)
{
    struct vfm_device_stats stats = { .size = sizeof(stats) };

    name_row(trace, "process_name", 0, process);
    name_row(trace, "thread_name", ROW_STAGES, "stages");
    if (trace->pid == HERE)
        name_row(trace, "thread_name", ROW_DOWNTIME, "downtime");
    name_row(trace, "thread_name", ROW_WAITS, "waits");
    for (int i = 0;
         vfm_migration_get_device_stats(trace->m, (unsigned int)i, &stats) == 0;
         i++)
        name_device_rows(trace, ROW_DEVICES + DEVICE_ROWS * i, stats.id);
    name_channel_rows(trace);
}

static void name_processes(struct trace *trace, const char *who, bool there)
{
    char name[96];

    trace->pid = HERE;
    snprintf(name, sizeof(name), "vfmig %s", who);
    name_rows(trace, name);
    if (!there)
        return;
    trace->pid = THERE;
    snprintf(name, sizeof(name),
             "the other side, by our clock +- %" PRIu64 " us",
             trace->clock.error_ns / 1000 + 1);
    name_rows(trace, name);
}

/* How far what is shown may be wrong. */
static struct json_tree *facts_object(const struct trace *trace)
{
    struct json_tree *facts = json_object_make();

    json_add_string(facts, "version", VFMIG_VERSION);
    if (trace->clock.known)
        json_add_number(facts, "clock_error_ns", trace->clock.error_ns);
    return facts;
}

static int write_object(const struct timeline *timeline,
                        struct json_tree *object, struct vfm_error *err)
{
    if (!json_write(object, timeline->file))
        return error_set(err, -ENOMEM, "%s: out of memory", timeline->name);
    if (ferror(timeline->file) || fflush(timeline->file) != 0)
        return error_set(err, -errno, "%s: %s", timeline->name,
                         strerror(errno));
    return 0;
}

int timeline_write(struct timeline *timeline, const char *who,
                   const struct vfm_migration *m, struct vfm_error *err)
{
    struct trace trace = {
        .timeline = timeline,
        .m = m,
        .spent.size = sizeof(trace.spent),
        .clock.size = sizeof(trace.clock),
        .wall = wall_offset(),
        .end = clock_now(),
        .pid = HERE,
    };
    struct json_tree *object;

    if (timeline->file == NULL)
        return 0;
    vfm_migration_get_spent(m, &trace.spent);
    vfm_migration_get_clock(m, &trace.clock);
    object = json_object_make();
    trace.events = json_array_make();
    add_events(&trace);
    add_downtime(&trace);
    name_processes(&trace, who, add_spans(&trace));
    json_add(object, "traceEvents", trace.events);
    json_add_string(object, "displayTimeUnit", "ms");
    json_add(object, "otherData", facts_object(&trace));
    return write_object(timeline, object, err);
}
