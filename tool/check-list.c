/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig check: which checks there are, without a device.
 */
#include "check-print.h"
#include "json.h"

/* Called for each that is selected. */
typedef void each_fn(void *opaque, const struct check_group *group,
                     const struct check *check);

static void each_selected(const struct check_selection *selection,
                          each_fn *each, void *opaque)
{
    for (const struct check_group *g = check_groups; g->name != NULL; g++)
        for (const struct check *c = g->checks; c->name != NULL; c++)
            if (check_is_selected(selection, c->name, g->name))
                each(opaque, g, c);
}

static void list_one(void *opaque, const struct check_group *group,
                     const struct check *check)
{
    fprintf(opaque, "%-12s %-7s %s\n", group->name,
            check_severity_name(check->severity), check->name);
}

void check_list_table(FILE *out, const struct check_selection *selection)
{
    each_selected(selection, list_one, out);
}

struct markdown {
    FILE *out;
    const struct check_group *group;
};

/* A cell must not end at a bar of its own. */
static void put_cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void list_row(void *opaque, const struct check_group *group,
                     const struct check *check)
{
    struct markdown *m = opaque;

    if (m->group != group)
        fprintf(m->out,
                "\n## %s: %s\n\n| check | severity | rule | when it fails, "
                "look at |\n|---|---|---|---|\n",
                group->name, group->about);
    m->group = group;
    fprintf(m->out, "| `%s` | %s | ", check->name,
            check_severity_name(check->severity));
    put_cell(m->out, check->rule);
    fputs(" | ", m->out);
    put_cell(m->out, check->look);
    fputs(" |\n", m->out);
}

static void count_one(void *opaque, const struct check_group *group,
                      const struct check *check)
{
    (void)group;
    (void)check;
    (*(size_t *)opaque)++;
}

void check_list_markdown(FILE *out, const struct check_selection *selection)
{
    struct markdown m = { .out = out };
    size_t count = 0;

    each_selected(selection, count_one, &count);
    fprintf(out,
            "# What `vfmig check` finds out\n\n"
            "%zu checks, each of which holds a device against one rule.  "
            "This page is\nprinted by `vfmig check --list --format markdown`; "
            "[testing-your-device.md](testing-your-device.md)\nsays how to "
            "use them.\n\n"
            "* **must**: who breaks it loses state, memory or the device\n"
            "* **should**: who breaks it makes migrations slower or harder\n"
            "* **quirk**: worth knowing, and no failure\n",
            count);
    each_selected(selection, list_row, &m);
}

static void list_object(void *opaque, const struct check_group *group,
                        const struct check *check)
{
    struct json_tree *object = json_object_make();

    json_add_string(object, "name", check->name);
    json_add_string(object, "group", group->name);
    json_add_string(object, "severity", check_severity_name(check->severity));
    json_add_string(object, "rule", check->rule);
    json_add_string(object, "look", check->look);
    json_append(opaque, object);
}

void check_list_json(FILE *out, const struct check_selection *selection)
{
    struct json_tree *array = json_array_make();

    each_selected(selection, list_object, array);
    json_print_to(array, out);
}

void check_explain(FILE *out, const struct check *check,
                   const struct check_group *group)
{
    fprintf(out,
            "%s\n\n  group     %s: %s\n  severity  %s\n  rule      %s\n"
            "  look at   %s\n",
            check->name, group->name, group->about,
            check_severity_name(check->severity), check->rule, check->look);
}
