/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig check: which checks there are, without a device.
 */
#include <string.h>

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
    const struct check_selection *selection;
    const struct check_group *group; /* whose heading was printed */
};

typedef bool alike_fn(const struct check *a, const struct check *b);

static bool has_rule_of(const struct check *a, const struct check *b)
{
    return strcmp(a->rule, b->rule) == 0;
}

static bool has_all_of(const struct check *a, const struct check *b)
{
    return has_rule_of(a, b) && strcmp(a->look, b->look) == 0 &&
           a->severity == b->severity;
}

/* The first selected check of @group, from @c on, that is like @check; @c is
 * one of the group's or its end. */
static const struct check *next_like(const struct markdown *m,
                                     const struct check *c,
                                     const struct check *check, alike_fn *alike)
{
    while (c->name != NULL &&
           !(alike(c, check) &&
             check_is_selected(m->selection, c->name, m->group->name)))
        c++;
    return c;
}

static bool is_first(const struct markdown *m, const struct check *check,
                     alike_fn *alike)
{
    return next_like(m, m->group->checks, check, alike) == check;
}

/* The checks of one rule that are as severe, and show the same place. */
static void list_line(const struct markdown *m, const struct check *check)
{
    const char *between = " ";

    fprintf(m->out, "  * **%s**", check_severity_name(check->severity));
    for (const struct check *c = check; c->name != NULL;
         c = next_like(m, c + 1, check, has_all_of)) {
        fprintf(m->out, "%s`%s`", between, c->name);
        between = ", ";
    }
    fprintf(m->out, "\n    -- %s\n", check->look);
}

/* A rule is told once in its group, at its first check. */
static void list_rule(void *opaque, const struct check_group *group,
                      const struct check *check)
{
    struct markdown *m = opaque;

    if (m->group != group)
        fprintf(m->out, "\n## %s: %s\n\n", group->name, group->about);
    m->group = group;
    if (!is_first(m, check, has_rule_of))
        return;
    fprintf(m->out, "* %s\n", check->rule);
    for (const struct check *c = check; c->name != NULL;
         c = next_like(m, c + 1, check, has_rule_of))
        if (is_first(m, c, has_all_of))
            list_line(m, c);
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
    struct markdown m = { .out = out, .selection = selection };
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
            "* **quirk**: worth knowing, and no failure\n\n"
            "Below each rule are the checks that hold a device against it, and "
            "after the dash\nwhat to look at when they fail.\n",
            count);
    each_selected(selection, list_rule, &m);
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
