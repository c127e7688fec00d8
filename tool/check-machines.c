/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig check: TAP 14 and JUnit.
 */
#include <inttypes.h>
#include <string.h>

#include "check-print.h"

/* The length of the UTF-8 character at @s, and 0 if there is none that both XML
 * and YAML can hold as it is. */
static size_t good_length(const unsigned char *s)
{
    size_t more = s[0] < 0x80   ? 0
                  : s[0] < 0xc2 ? 4
                  : s[0] < 0xe0 ? 1
                  : s[0] < 0xf0 ? 2
                  : s[0] < 0xf5 ? 3
                                : 4;

    if (s[0] < ' ' || s[0] == 0x7f || more > 3)
        return 0;
    for (size_t i = 1; i <= more; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    /* The two that Unicode has for nobody. */
    if (s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe)
        return 0;
    return more + 1;
}

typedef const char *escape_fn(char c);

static const char *escape_xml(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    default:
        return NULL;
    }
}

static const char *escape_yaml(char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    default:
        return NULL;
    }
}

static void put_escaped(FILE *out, const char *text, escape_fn *escape)
{
    while (*text != '\0') {
        size_t n = good_length((const unsigned char *)text);
        const char *instead = escape(*text);

        if (instead != NULL)
            fputs(instead, out);
        else if (n == 0)
            fputc('?', out);
        else
            fwrite(text, 1, n, out);
        text += n == 0 ? 1 : n;
    }
}

static void put_yaml(FILE *out, const char *key, const char *value)
{
    fprintf(out, "  %s: \"", key);
    put_escaped(out, value, escape_yaml);
    fputs("\"\n", out);
}

static void put_diagnostics(FILE *out, const struct check_result *result)
{
    bool is_bad =
        result->outcome == CHECK_FAILED || result->outcome == CHECK_FOUND;

    fputs("  ---\n", out);
    put_yaml(out, "group", result->group->name);
    put_yaml(out, "severity", check_severity_name(result->check->severity));
    put_yaml(out, "outcome", check_outcome_name(result->outcome));
    fprintf(out, "  duration_ms: %.3f\n", (double)result->ns / 1e6);
    if (is_bad) {
        put_yaml(out, "reason", result->reason);
        put_yaml(out, "rule", result->check->rule);
        put_yaml(out, "look", result->check->look);
    }
    for (size_t i = 0; i < result->num_figures; i++)
        fprintf(out, "  %s_ns: %" PRIu64 "\n", result->figures[i].name,
                result->figures[i].ns);
    fputs("  ...\n", out);
}

/* A '#' would begin a directive. */
static void put_tap_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        size_t n = good_length((const unsigned char *)text);

        if (*text == '#' || *text == '\\')
            fputc('\\', out);
        if (n == 0) {
            fputc('?', out);
            continue;
        }
        fwrite(text, 1, n, out);
        text += n - 1;
    }
}

/* A should that failed is a failure that the harness may let pass: "TODO". */
void check_print_tap(FILE *out, const struct check_report *report)
{
    fputs("TAP version 14\n", out);
    if (report->count > 0)
        fprintf(out, "1..%zu\n", report->count);
    for (size_t i = 0; i < report->count; i++) {
        const struct check_result *result = &report->results[i];

        fprintf(out, "%s %zu - %s",
                result->outcome == CHECK_FAILED ? "not ok" : "ok", i + 1,
                result->check->name);
        if (result->outcome == CHECK_SKIPPED) {
            fputs(" # SKIP ", out);
            put_tap_text(out, result->reason);
        } else if (result->outcome == CHECK_FAILED &&
                   result->check->severity == CHECK_SHOULD) {
            fputs(" # TODO a should", out);
        }
        fputc('\n', out);
        put_diagnostics(out, result);
    }
    if (report->error != NULL) {
        fputs("Bail out! ", out);
        put_tap_text(out, report->error);
        fputc('\n', out);
    }
}

static void put_attribute(FILE *out, const char *name, const char *value)
{
    fprintf(out, " %s=\"", name);
    put_escaped(out, value, escape_xml);
    fputc('"', out);
}

static void put_case(FILE *out, const struct check_result *result)
{
    fputs("    <testcase", out);
    put_attribute(out, "classname", result->group->name);
    put_attribute(out, "name", result->check->name);
    fprintf(out, " time=\"%.6f\">\n", (double)result->ns / 1e9);
    if (result->outcome == CHECK_FAILED) {
        fputs("      <failure", out);
        put_attribute(out, "type",
                      check_severity_name(result->check->severity));
        put_attribute(out, "message", result->reason);
        fputs(">rule: ", out);
        put_escaped(out, result->check->rule, escape_xml);
        fputs("\nlook at: ", out);
        put_escaped(out, result->check->look, escape_xml);
        fputs("</failure>\n", out);
    } else if (result->outcome == CHECK_SKIPPED) {
        fputs("      <skipped", out);
        put_attribute(out, "message", result->reason);
        fputs("/>\n", out);
    } else if (result->outcome == CHECK_FOUND) {
        fputs("      <system-out>quirk: ", out);
        put_escaped(out, result->reason, escape_xml);
        fputs("</system-out>\n", out);
    }
    fputs("    </testcase>\n", out);
}

static double seconds_of(const struct check_report *report)
{
    int64_t ns = 0;

    for (size_t i = 0; i < report->count; i++)
        ns += report->results[i].ns;
    return (double)ns / 1e9;
}

/* Some readers add nothing up, so the whole has its sums too; how many were
 * skipped the format has of a suite only. */
static void put_sums(FILE *out, const char *name,
                     const struct check_report *part)
{
    put_attribute(out, "name", name);
    fprintf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"%d\" time=\"%.6f\"",
            part->count, check_report_count(part, CHECK_FAILED),
            part->error != NULL, seconds_of(part));
}

/* A suite of its own: of no check can it be said. */
static void put_error(FILE *out, const struct check_report *report)
{
    const struct check_report none = { .error = report->error };

    fputs("  <testsuite", out);
    put_sums(out, "device", &none);
    fputs(" skipped=\"0\">\n    <testcase classname=\"device\"", out);
    put_attribute(out, "name", report->device);
    fputs(" time=\"0\">\n      <error", out);
    put_attribute(out, "message", report->error);
    fputs("/>\n    </testcase>\n  </testsuite>\n", out);
}

void check_print_junit(FILE *out, const struct check_report *report)
{
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites", out);
    put_sums(out, report->device, report);
    fputs(">\n", out);
    for (size_t i = 0, end; i < report->count; i = end) {
        const struct check_group *group = report->results[i].group;
        struct check_report part = { .results = report->results + i };

        for (end = i;
             end < report->count && report->results[end].group == group;)
            end++;
        part.count = end - i;
        fputs("  <testsuite", out);
        put_sums(out, group->name, &part);
        fprintf(out, " skipped=\"%zu\">\n",
                check_report_count(&part, CHECK_SKIPPED));
        for (size_t j = i; j < end; j++)
            put_case(out, &report->results[j]);
        fputs("  </testsuite>\n", out);
    }
    if (report->error != NULL)
        put_error(out, report);
    fputs("</testsuites>\n", out);
}
