/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig check: the results, for people and for machines.
 *
 * Reasons may hold what a device said; every format makes them harmless in its
 * own way.
 */
#include <inttypes.h>
#include <string.h>

#include "check-print.h"
#include "json.h"
#include "say.h"

size_t check_report_count(const struct check_report *report,
                          enum check_outcome outcome)
{
    size_t count = 0;

    for (size_t i = 0; i < report->count; i++)
        count += report->results[i].outcome == outcome;
    return count;
}

/* In a quirk's check only what every device must can fail. */
bool check_report_failed(const struct check_report *report,
                         enum check_severity severity)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct check_result *result = &report->results[i];
        bool is_should = result->check->severity == CHECK_SHOULD;

        if (result->outcome == CHECK_FAILED &&
            is_should == (severity == CHECK_SHOULD))
            return true;
    }
    return false;
}

/* One line of whatever text: control characters would drive a terminal. */
static void put_line(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, out);
}

/* A group's results stand together: run_checks() goes by groups. */
static size_t group_end(const struct check_report *report, size_t first)
{
    size_t i = first;

    while (i < report->count &&
           report->results[i].group == report->results[first].group)
        i++;
    return i;
}

static void print_group_line(FILE *out, const struct check_report *report,
                             size_t first, size_t end)
{
    struct check_report part = { .results = report->results + first,
                                 .count = end - first };
    size_t failed = check_report_count(&part, CHECK_FAILED);

    fprintf(out, "%-12s %4zu passed  %4zu failed  %4zu quirks  %4zu skipped\n",
            report->results[first].group->name,
            check_report_count(&part, CHECK_PASSED), failed,
            check_report_count(&part, CHECK_FOUND),
            check_report_count(&part, CHECK_SKIPPED));
}

/* An earlier one that failed for the same reason: it is likely to be the one
 * to look at. */
static const struct check_result *first_alike(const struct check_report *report,
                                              const struct check_result *result)
{
    const struct check_result *first = report->results;

    while (first->outcome != result->outcome ||
           strcmp(first->reason, result->reason) != 0)
        first++;
    return first != result ? first : NULL;
}

static void print_finding(FILE *out, const struct check_report *report,
                          const struct check_result *result)
{
    const struct check_result *first = first_alike(report, result);
    bool failed = result->outcome == CHECK_FAILED;

    if (first != NULL) {
        fprintf(out, "  %s %s (%s): the same as %s\n",
                failed ? "FAILED" : "quirk ", result->check->name,
                check_severity_name(result->check->severity),
                first->check->name);
        return;
    }
    fprintf(out, "  %s %s (%s)\n      ", failed ? "FAILED" : "quirk ",
            result->check->name, check_severity_name(result->check->severity));
    put_line(out, result->reason);
    fprintf(out, "\n      rule: %s\n", result->check->rule);
    if (failed)
        fprintf(out, "      look at: %s\n", result->check->look);
}

static void print_figures(FILE *out, const struct check_result *result)
{
    char text[QUANTITY_MAX];

    if (result->num_figures == 0)
        return;
    fprintf(out, "  %s:", result->check->name);
    for (size_t i = 0; i < result->num_figures; i++)
        fprintf(out, "%s %s %s", i > 0 ? "," : "", result->figures[i].name,
                say_duration(text, result->figures[i].ns));
    fputc('\n', out);
}

/* Skipped ones have few reasons; each is told once, with how many there
 * are. */
static void print_skipped(FILE *out, const struct check_report *report,
                          size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        const struct check_result *result = &report->results[i];
        size_t same = 0;
        bool told = false;

        if (result->outcome != CHECK_SKIPPED)
            continue;
        for (size_t j = first; j < end; j++) {
            bool equal = report->results[j].outcome == CHECK_SKIPPED &&
                         strcmp(report->results[j].reason, result->reason) == 0;

            same += equal;
            told = told || (equal && j < i);
        }
        if (told)
            continue;
        fprintf(out, "  skipped %zu: ", same);
        put_line(out, result->reason);
        fputc('\n', out);
    }
}

static void print_group(FILE *out, const struct check_report *report,
                        size_t first, size_t end)
{
    print_group_line(out, report, first, end);
    for (size_t i = first; i < end; i++) {
        if (report->results[i].outcome == CHECK_FAILED ||
            report->results[i].outcome == CHECK_FOUND)
            print_finding(out, report, &report->results[i]);
        print_figures(out, &report->results[i]);
    }
    print_skipped(out, report, first, end);
}

static void print_sums(FILE *out, const struct check_report *report)
{
    fprintf(out,
            "\n%zu checks: %zu passed, %zu failed, %zu quirks, %zu "
            "skipped\n",
            report->count, check_report_count(report, CHECK_PASSED),
            check_report_count(report, CHECK_FAILED),
            check_report_count(report, CHECK_FOUND),
            check_report_count(report, CHECK_SKIPPED));
}

void check_print_table(FILE *out, const struct check_report *report,
                       bool is_over, size_t *next)
{
    while (*next < report->count) {
        size_t end = group_end(report, *next);

        if (end == report->count && !is_over)
            break;
        if (*next == 0)
            fprintf(out, "%s\n\n", report->device);
        print_group(out, report, *next, end);
        *next = end;
    }
    if (is_over && report->count > 0)
        print_sums(out, report);
    fflush(out);
}

static struct json_tree *figures_object(const struct check_result *result)
{
    struct json_tree *object = json_object_make();

    for (size_t i = 0; i < result->num_figures; i++)
        json_add_number(object, result->figures[i].name, result->figures[i].ns);
    return object;
}

static struct json_tree *result_object(const struct check_result *result)
{
    struct json_tree *object = json_object_make();

    json_add_string(object, "name", result->check->name);
    json_add_string(object, "group", result->group->name);
    json_add_string(object, "severity",
                    check_severity_name(result->check->severity));
    json_add_string(object, "outcome", check_outcome_name(result->outcome));
    json_add_string(object, "reason",
                    result->reason[0] != '\0' ? result->reason : NULL);
    json_add_string(object, "rule", result->check->rule);
    json_add_string(object, "look", result->check->look);
    json_add_number(object, "duration_ns", (uint64_t)result->ns);
    if (result->num_figures > 0)
        json_add(object, "figures_ns", figures_object(result));
    return object;
}

void check_print_json(FILE *out, const struct check_report *report)
{
    struct json_tree *object = json_object_make();
    struct json_tree *array = json_array_make();

    json_add_string(object, "device", report->device);
    json_add_string(object, "error", report->error);
    for (int o = 0; o < CHECK_OUTCOMES; o++)
        json_add_number(object, check_outcome_name((enum check_outcome)o),
                        check_report_count(report, (enum check_outcome)o));
    for (size_t i = 0; i < report->count; i++)
        json_append(array, result_object(&report->results[i]));
    json_add(object, "checks", array);
    json_print_to(object, out);
}
