/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The figures of a bench: their names, medians, and how they are shown.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "json.h"
#include "say.h"

const struct bench_name bench_names[BENCH_FIGURES] = {
    [BENCH_PRE_COPY_NS] = { "save", "pre_copy_ns", BENCH_UNIT_NS,
                            "RUNNING to PRE_COPY" },
    [BENCH_STOP_NS] = { "save", "stop_ns", BENCH_UNIT_NS, "to STOP_COPY" },
    [BENCH_END_NS] = { "save", "end_ns", BENCH_UNIT_NS, "STOP_COPY to STOP" },
    [BENCH_RUN_NS] = { "save", "run_ns", BENCH_UNIT_NS, "STOP to RUNNING" },
    [BENCH_PRE_COPY_BYTES] = { "save", "pre_copy_bytes", BENCH_UNIT_BYTES,
                               "state, running" },
    [BENCH_STOP_COPY_BYTES] = { "save", "stop_copy_bytes", BENCH_UNIT_BYTES,
                                "state, stopped" },
    [BENCH_SAVE_RATE] = { "save", "bytes_per_sec", BENCH_UNIT_RATE, "saving" },
    [BENCH_RESUME_NS] = { "load", "resume_ns", BENCH_UNIT_NS,
                          "STOP to RESUMING" },
    [BENCH_CHECK_NS] = { "load", "check_ns", BENCH_UNIT_NS,
                         "RESUMING to STOP" },
    [BENCH_LOAD_RATE] = { "load", "bytes_per_sec", BENCH_UNIT_RATE, "loading" },
    [BENCH_RTT_NS] = { "link", "rtt_ns", BENCH_UNIT_NS,
                       "there and back again" },
    [BENCH_LINK_RATE] = { "link", "bytes_per_sec", BENCH_UNIT_RATE,
                          "the link alone" },
    [BENCH_TRIAL_STOPPED_NS] = { "trial", "stopped_ns", BENCH_UNIT_NS,
                                 "stop until loaded" },
    [BENCH_TRIAL_STOP_NS] = { "trial", "stop_ns", BENCH_UNIT_NS,
                              "of that, stopping" },
    [BENCH_TRIAL_CHECK_NS] = { "trial", "check_ns", BENCH_UNIT_NS,
                               "of that, checking" },
    [BENCH_TRIAL_START_NS] = { "trial", "start_ns", BENCH_UNIT_NS,
                               "and starting there" },
    [BENCH_TRIAL_BYTES] = { "trial", "stop_copy_bytes", BENCH_UNIT_BYTES,
                            "state, stopped" },
    [BENCH_TRIAL_BUSY] = { "trial", "busy_permille", BENCH_UNIT_PERMILLE,
                           "processors busy" },
};

void bench_add(struct bench *bench, enum bench_figure figure, uint64_t sample)
{
    if (bench->count[figure] < BENCH_ROUNDS_MAX)
        bench->samples[figure][bench->count[figure]++] = sample;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return (*x > *y) - (*x < *y);
}

struct bench_value bench_value(const struct bench *bench,
                               enum bench_figure figure)
{
    unsigned int n = bench->count[figure];
    uint64_t sorted[BENCH_ROUNDS_MAX];

    if (n == 0)
        return (struct bench_value){ .is_known = false };
    memcpy(sorted, bench->samples[figure], n * sizeof(sorted[0]));
    qsort(sorted, n, sizeof(sorted[0]), compare);
    return (struct bench_value){
        .is_known = true,
        .median = sorted[n / 2],
        .min = sorted[0],
        .max = sorted[n - 1],
    };
}

static const char *say_value(char buf[QUANTITY_MAX], enum bench_unit unit,
                             uint64_t value)
{
    char bytes[QUANTITY_MAX];

    switch (unit) {
    case BENCH_UNIT_NS:
        return say_duration(buf, value);
    case BENCH_UNIT_BYTES:
        return say_bytes(buf, value);
    case BENCH_UNIT_RATE:
        snprintf(buf, QUANTITY_MAX, "%.28s/s", say_bytes(bytes, value));
        return buf;
    case BENCH_UNIT_PERMILLE:
        snprintf(buf, QUANTITY_MAX, "%u %%", (unsigned int)(value / 10));
        return buf;
    }
    return "?";
}

static void print_figure(const struct bench_name *name,
                         const struct bench_value *value)
{
    char median[QUANTITY_MAX];
    char min[QUANTITY_MAX];
    char max[QUANTITY_MAX];

    printf("  %-7s%-24s%14s", name->section, name->words,
           say_value(median, name->unit, value->median));
    if (value->min != value->max)
        printf("   %s to %s", say_value(min, name->unit, value->min),
               say_value(max, name->unit, value->max));
    putchar('\n');
}

void bench_print(const struct bench *bench, const char *device,
                 const char *link)
{
    if (device != NULL)
        printf("%s\n", device);
    if (link != NULL)
        printf("%s\n", link);
    for (int i = 0; i < BENCH_FIGURES; i++) {
        struct bench_value value = bench_value(bench, (enum bench_figure)i);

        if (value.is_known)
            print_figure(&bench_names[i], &value);
    }
}

static struct json_tree *value_object(const struct bench_value *value)
{
    struct json_tree *object = json_object_make();

    json_add_number(object, "median", value->median);
    json_add_number(object, "min", value->min);
    json_add_number(object, "max", value->max);
    return object;
}

static bool is_figure_of(const struct bench *bench, int figure,
                         const char *section)
{
    return bench_value(bench, (enum bench_figure)figure).is_known &&
           strcmp(bench_names[figure].section, section) == 0;
}

static bool has_section(const struct bench *bench, const char *section)
{
    int i = 0;

    while (i < BENCH_FIGURES && !is_figure_of(bench, i, section))
        i++;
    return i < BENCH_FIGURES;
}

/* The figures of a section, which stand together. */
static struct json_tree *section_object(const struct bench *bench,
                                        const char *section)
{
    struct json_tree *object = json_object_make();

    for (int i = 0; i < BENCH_FIGURES; i++) {
        struct bench_value value = bench_value(bench, (enum bench_figure)i);

        if (is_figure_of(bench, i, section))
            json_add(object, bench_names[i].name, value_object(&value));
    }
    return object;
}

void bench_print_json(const struct bench *bench, const char *device,
                      const char *link, FILE *out)
{
    static const char *const sections[] = { "save", "load", "link", "trial" };
    struct json_tree *object = json_object_make();

    json_add_number(object, "vfmig_bench", BENCH_VERSION);
    json_add_string(object, "device", device);
    json_add_string(object, "link_uri", link);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        if (has_section(bench, sections[i]))
            json_add(object, sections[i], section_object(bench, sections[i]));
    json_print_to(object, out);
}

/* The kernel looks at what each processor does once in a tick: fewer looks than
 * these, at all of them together, say nothing. */
#define BUSY_TICKS_MIN 32

uint64_t bench_busy(struct bench_busy *busy)
{
    unsigned long long v[8] = { 0 };
    struct bench_busy now = { 0 };
    struct bench_busy old = *busy;
    uint64_t permille;
    FILE *file = fopen("/proc/stat", "re");
    int n = 0;

    if (file != NULL) {
        n = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0],
                   &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
        fclose(file);
    }
    if (n < 5)
        return 0;
    now.idle = v[3] + v[4];
    for (int i = 0; i < n; i++)
        now.total += v[i];
    *busy = now;
    if (now.total < old.total + BUSY_TICKS_MIN || now.idle < old.idle)
        return 0;
    permille = 1000 - (now.idle - old.idle) * 1000 / (now.total - old.total);
    return permille > 0 ? permille : 1;
}
