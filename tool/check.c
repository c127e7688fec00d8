/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig check: does a device keep the rules of migration?
 *
 * The checks are those of check/; this is their command line.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check-print.h"
#include "cmd.h"
#include "interrupt.h"
#include "one-device.h"
#include "say.h"
#include "util/error.h"

#define GLOBS_MAX 64

struct globs {
    const char *items[GLOBS_MAX];
    size_t count;
};

enum format {
    FORMAT_TABLE,
    FORMAT_TAP,
    FORMAT_JUNIT,
    FORMAT_JSON,
    FORMAT_MARKDOWN, /* of a list only */
};

struct check_options {
    struct device_list devices;
    bool list;
    struct globs only;
    struct globs skip;
    const char *explain;
    enum format format;
    bool json;
    const char *output;
};

static int take_glob(const char *value, void *into, struct vfm_error *err)
{
    struct globs *globs = into;

    if (globs->count == GLOBS_MAX)
        return error_set(err, -EINVAL, "more than %d of them", GLOBS_MAX);
    globs->items[globs->count++] = value;
    return 0;
}

static int take_format(const char *value, void *into, struct vfm_error *err)
{
    static const char *const names[] = { "table", "tap", "junit", "json",
                                         "markdown" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(value, names[i]) == 0) {
            *(enum format *)into = (enum format)i;
            return 0;
        }
    return error_set(err, -EINVAL,
                     "'%.60s' is not table, tap, junit, json or markdown",
                     value);
}

static const struct args_option list = {
    .name = "list",
    .take = args_take_flag,
    .offset = offsetof(struct check_options, list),
    .help = "print which checks there are, and use no device",
};

static const struct args_option only = {
    .name = "only",
    .value = "GLOB",
    .take = take_glob,
    .offset = offsetof(struct check_options, only),
    .help = "run those checks or groups; several times for more",
};

static const struct args_option skip = {
    .name = "skip",
    .value = "GLOB",
    .take = take_glob,
    .offset = offsetof(struct check_options, skip),
    .help = "leave those checks or groups out",
};

static const struct args_option explain = {
    .name = "explain",
    .value = "NAME",
    .take = args_take_string,
    .offset = offsetof(struct check_options, explain),
    .help = "print the rule of a check and what to look at when it fails",
};

static const struct args_option format = {
    .name = "format",
    .value = "FORMAT",
    .take = take_format,
    .offset = offsetof(struct check_options, format),
    .help = "table (the default), tap, junit or json; of --list also markdown",
};

static const struct args_option json = {
    .name = "json",
    .take = args_take_flag,
    .offset = offsetof(struct check_options, json),
    .help = "the same as --format json",
};

static const struct args_option output = {
    .letter = 'o',
    .name = "output",
    .value = "FILE",
    .take = args_take_string,
    .offset = offsetof(struct check_options, output),
    .help = "write the report there, not to standard output",
};

static const struct args_option *const options[] = {
    &one_device_option,
    &list,
    &only,
    &skip,
    &explain,
    &format,
    &json,
    &output,
    NULL,
};

static const struct args_syntax syntax = {
    .command = "check",
    .words = "-d DEVICE [--only GLOB]... [--skip GLOB]... [--format FORMAT]\n"
             "       vfmig check --list | --explain NAME",
    .about = "Holds a device against the rules of migration, one check per "
             "rule, and says which it breaks and where to look. The device "
             "must be in nobody's use: it is stopped, reset, loaded and fed "
             "with broken states.",
    .options = options,
};

/* What is shown while it runs: the groups of a table as they end, and a line at
 * the bottom of a terminal. */
struct progress {
    FILE *out;
    bool has_table;
    bool has_line;
    struct check_report report; /* so far */
    size_t printed;             /* results that stand in the table */
};

static void show_line(const struct progress *p, const struct check *check)
{
    if (!p->has_line)
        return;
    if (check != NULL)
        fprintf(stderr, "\r\033[K%zu done, %zu failed: %s", p->report.count,
                check_report_count(&p->report, CHECK_FAILED), check->name);
    else
        fputs("\r\033[K", stderr);
    fflush(stderr);
}

static void tell(void *opaque, const struct check *check,
                 const struct check_result *result)
{
    struct progress *p = opaque;

    show_line(p, result == NULL ? check : NULL);
    if (result == NULL)
        return;
    if (p->report.count == 0)
        p->report.results = result; /* the others follow it */
    p->report.count++;
    if (p->has_table)
        check_print_table(p->out, &p->report, false, &p->printed);
}

static int open_raw(const struct device_arg *arg, struct raw **raw,
                    struct vfm_error *err)
{
    const struct raw_limits limits = {
        .connect_ms = arg->options.connect_timeout_ms,
        .command_ms = arg->options.command_timeout_ms,
        .state_ms = arg->options.state_timeout_ms,
        .data_ms = arg->options.data_timeout_ms,
    };

    return arg->is_kernel ? raw_open_vfio(arg->address, raw, err)
                          : raw_open_vfio_user(arg->address, &limits, raw, err);
}

static struct check_selection selection_of(const struct check_options *opts)
{
    return (struct check_selection){
        .only = opts->only.items,
        .num_only = opts->only.count,
        .skip = opts->skip.items,
        .num_skip = opts->skip.count,
    };
}

/* @printed: of a table, what was shown already. */
static void print_report(FILE *out, const struct check_options *opts,
                         const struct check_report *report, size_t printed)
{
    switch (opts->format) {
    case FORMAT_TAP:
        check_print_tap(out, report);
        return;
    case FORMAT_JUNIT:
        check_print_junit(out, report);
        return;
    case FORMAT_JSON:
        check_print_json(out, report);
        return;
    default:
        check_print_table(out, report, true, &printed);
    }
}

static void print_list(FILE *out, const struct check_options *opts)
{
    struct check_selection selection = selection_of(opts);

    if (opts->format == FORMAT_MARKDOWN)
        check_list_markdown(out, &selection);
    else if (opts->format == FORMAT_JSON)
        check_list_json(out, &selection);
    else
        check_list_table(out, &selection);
}

static int verdict(const struct check_report *report)
{
    if (report->error != NULL || check_report_failed(report, CHECK_MUST))
        return EXIT_FAILED;
    return check_report_failed(report, CHECK_SHOULD) ? EXIT_ADVICE : EXIT_DONE;
}

static int run_on(struct raw *raw, FILE *out, const struct check_options *opts,
                  struct check_report *report, struct vfm_error *err)
{
    const struct device_arg *arg = &opts->devices.items[0];
    struct run_options run = { .selection = selection_of(opts),
                               .without = arg->without,
                               .is_cancelled = interrupt_is_pending };
    struct progress progress = {
        .out = out,
        .has_table = opts->format == FORMAT_TABLE,
        .has_line = isatty(STDERR_FILENO) == 1,
        .report.device = report->device,
    };
    struct run_results results;
    int code;

    if (run_checks(raw, &run, tell, &progress, &results, err) < 0)
        report->error = err->message;
    else if (interrupt_is_pending())
        report->error = "cancelled: not all checks were run";
    else if (results.is_lost)
        report->error = "the device was lost: what comes after that was not "
                        "checked";
    else if (results.is_given_up)
        report->error = "the device does not answer in time: the checks after "
                        "those that show it were left out";
    report->results = results.all;
    report->count = results.count;
    print_report(out, opts, report, progress.printed);
    code = verdict(report);
    if (report->error != NULL)
        say_error("%s: %s", report->device, report->error);
    report->results = NULL;
    free(results.all);
    return code;
}

static int run(FILE *out, const struct check_options *opts)
{
    const struct device_arg *arg = &opts->devices.items[0];
    struct check_report report = { .device = arg->word };
    struct vfm_error err = { 0 };
    struct raw *raw;
    int code;

    if (interrupt_install(syntax.command, &err) < 0 ||
        open_raw(arg, &raw, &err) < 0) {
        report.error = err.message;
        print_report(out, opts, &report, 0);
        say_error("%s", err.message);
        return EXIT_FAILED;
    }
    code = run_on(raw, out, opts, &report, &err);
    raw_close(raw);
    return code;
}

static bool is_group(const char *name)
{
    const struct check_group *g = check_groups;

    while (g->name != NULL && strcmp(g->name, name) != 0)
        g++;
    return g->name != NULL;
}

static int show(FILE *out, const struct check_options *opts)
{
    const struct check_group *group;
    const struct check *check;

    if (opts->list) {
        print_list(out, opts);
        return EXIT_DONE;
    }
    if (opts->explain == NULL)
        return run(out, opts);
    check = check_find(opts->explain, &group);
    if (check == NULL)
        return say_usage(syntax.command,
                         is_group(opts->explain)
                             ? "'%s' is a group: --list --only shows its checks"
                             : "'%s' is no check: --list shows all that there "
                               "are",
                         opts->explain);
    check_explain(out, check, group);
    return EXIT_DONE;
}

static bool matches_any(const char *glob)
{
    struct check_selection selection = { .only = &glob, .num_only = 1 };

    for (const struct check_group *g = check_groups; g->name != NULL; g++)
        for (const struct check *c = g->checks; c->name != NULL; c++)
            if (check_is_selected(&selection, c->name, g->name))
                return true;
    return false;
}

/* A name that is misspelt, or was another once, must not leave a check out of
 * somebody's CI, or in it, without a word. */
static int check_globs(const char *option, const struct globs *globs)
{
    for (size_t i = 0; i < globs->count; i++)
        if (!matches_any(globs->items[i]))
            return say_usage(syntax.command,
                             "%s: no check and no group is called '%s': --list "
                             "shows all that there are",
                             option, globs->items[i]);
    return EXIT_DONE;
}

static int check_formats(const struct check_options *opts)
{
    if (!opts->list && opts->format == FORMAT_MARKDOWN)
        return say_usage(syntax.command, "markdown is a format of --list");
    if (opts->list &&
        (opts->format == FORMAT_TAP || opts->format == FORMAT_JUNIT))
        return say_usage(syntax.command, "a list is a table, json or markdown");
    if (opts->explain != NULL && opts->format != FORMAT_TABLE)
        return say_usage(syntax.command, "--explain has no other format");
    return EXIT_DONE;
}

/* What cannot be meant. */
static int check_options(const struct check_options *opts)
{
    struct check_selection selection = selection_of(opts);
    bool any = false;

    if (opts->list && opts->explain != NULL)
        return say_usage(syntax.command, "--list and --explain: only one");
    if (check_formats(opts) != EXIT_DONE ||
        check_globs("--only", &opts->only) != EXIT_DONE ||
        check_globs("--skip", &opts->skip) != EXIT_DONE)
        return EXIT_USAGE;
    if (opts->explain != NULL)
        return EXIT_DONE;
    for (const struct check_group *g = check_groups; g->name != NULL; g++)
        for (const struct check *c = g->checks; c->name != NULL; c++)
            any = any || check_is_selected(&selection, c->name, g->name);
    if (!any)
        return say_usage(syntax.command,
                         "no check is left by --only and --skip");
    if (opts->list)
        return EXIT_DONE;
    if (opts->devices.count != 1)
        return say_usage(syntax.command, opts->devices.count == 0
                                             ? "-d DEVICE is missing"
                                             : "one device at a time");
    return EXIT_DONE;
}

/* A report that did not arrive is none. */
static int show_in_file(const struct check_options *opts)
{
    FILE *out = fopen(opts->output, "we");
    bool failed;
    int code;

    if (out == NULL) {
        say_error("%s: cannot open it: %s", opts->output, strerror(errno));
        return EXIT_FAILED;
    }
    code = show(out, opts);
    failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return code;
    say_error("%s: cannot write all of it: %s", opts->output, strerror(errno));
    return EXIT_FAILED;
}

int cmd_check(int argc, char **argv)
{
    struct check_options opts = { .list = false };
    int first;
    int code;

    code = args_parse(&syntax, argc, argv, &opts, &first);
    if (code != ARGS_GO_ON)
        goto out;
    if (opts.json && opts.format != FORMAT_TABLE &&
        opts.format != FORMAT_JSON) {
        code = say_usage(syntax.command, "--json and --format: only one");
        goto out;
    }
    if (opts.json)
        opts.format = FORMAT_JSON;
    code = check_options(&opts);
    if (code == EXIT_DONE)
        code = opts.output != NULL ? show_in_file(&opts) : show(stdout, &opts);
out:
    device_list_free(&opts.devices);
    return code;
}
