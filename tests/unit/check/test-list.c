/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables of checks, and which of them a command line means.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "check/run.h"

typedef void each_fn(const struct check_group *group,
                     const struct check *check);

static size_t each_check(each_fn *each)
{
    size_t count = 0;

    for (const struct check_group *g = check_groups; g->name != NULL; g++)
        for (const struct check *c = g->checks; c->name != NULL; c++) {
            if (each != NULL)
                each(g, c);
            count++;
        }
    return count;
}

static void there_are_at_least_120_checks(void **state)
{
    (void)state;
    assert_true(each_check(NULL) >= 120);
}

static void is_itself(const struct check_group *group,
                      const struct check *check)
{
    const struct check_group *found_in;

    assert_ptr_equal(check_find(check->name, &found_in), check);
    assert_ptr_equal(found_in, group);
}

static void every_name_stands_for_one_check(void **state)
{
    const struct check_group *group;

    (void)state;
    each_check(is_itself);
    assert_null(check_find("no-such-check", &group));
    assert_null(group);
}

static void is_complete(const struct check_group *group,
                        const struct check *check)
{
    const uint32_t known = (UINT32_C(1) << NEEDS_COUNT) - 1;

    assert_non_null(group->about);
    assert_non_null(check->run);
    assert_non_null(check->look);
    assert_non_null(check->rule);
    /* A sentence, and where it is from, in parentheses; or what a figure is
     * for. */
    assert_true(check->severity == CHECK_QUIRK ||
                check->rule[strlen(check->rule) - 1] == ')');
    assert_true((check->needs & ~known) == 0);
}

static void every_check_has_a_rule_and_where_to_look(void **state)
{
    (void)state;
    each_check(is_complete);
}

/* Words joined by '-': lower case and digits, or what the uAPI spells in upper
 * case. */
static void is_spelled_well(const struct check_group *group,
                            const struct check *check)
{
    (void)group;
    assert_true(strlen(check->name) < 64);
    assert_true(islower((unsigned char)check->name[0]));
    for (const char *c = check->name; *c != '\0'; c++)
        assert_true(isalnum((unsigned char)*c) || *c == '_' ||
                    (*c == '-' && c[1] != '-' && c[1] != '\0'));
}

static void names_can_be_used_in_scripts(void **state)
{
    (void)state;
    each_check(is_spelled_well);
}

static void without_globs_all_are_selected(void **state)
{
    const struct check_selection all = { .only = NULL };

    (void)state;
    assert_true(check_is_selected(&all, "state-STOP-to-RUNNING", "states"));
}

static void globs_match_names_and_groups(void **state)
{
    static const char *const globs[] = { "state-STOP-*", "timing" };
    const struct check_selection s = { .only = globs, .num_only = 2 };

    (void)state;
    assert_true(check_is_selected(&s, "state-STOP-to-RUNNING", "states"));
    assert_true(check_is_selected(&s, "time-reset", "timing"));
    assert_false(check_is_selected(&s, "state-RUNNING-to-STOP", "states"));
}

static void what_is_skipped_is_skipped(void **state)
{
    static const char *const only[] = { "states" };
    static const char *const skip[] = { "*P2P*", "timing" };
    const struct check_selection s = {
        .only = only, .num_only = 1, .skip = skip, .num_skip = 2
    };
    const struct check_selection rest = { .skip = skip, .num_skip = 2 };

    (void)state;
    assert_true(check_is_selected(&s, "state-STOP-to-RUNNING", "states"));
    assert_false(check_is_selected(&s, "state-STOP-to-RUNNING_P2P", "states"));
    assert_false(check_is_selected(&rest, "time-reset", "timing"));
    assert_true(check_is_selected(&rest, "piece-reads-of-4K", "pieces"));
}

static void severities_and_outcomes_have_names(void **state)
{
    (void)state;
    for (int s = CHECK_MUST; s <= CHECK_QUIRK; s++)
        assert_string_not_equal(check_severity_name((enum check_severity)s),
                                "?");
    for (int o = 0; o < CHECK_OUTCOMES; o++)
        assert_string_not_equal(check_outcome_name((enum check_outcome)o), "?");
}

/* What a check says of itself. */
static void the_first_word_counts(void **state)
{
    const struct check check = { .severity = CHECK_MUST };
    struct check_result result = { .check = &check };
    struct run r = { .now = &result };

    (void)state;
    assert_int_equal(check_fail(&r, "byte %d", 7), CHECK_OVER);
    assert_int_equal(check_skip(&r, "later"), CHECK_OVER);
    assert_int_equal(result.outcome, CHECK_FAILED);
    assert_string_equal(result.reason, "byte 7");
}

static void a_quirk_never_fails(void **state)
{
    const struct check check = { .severity = CHECK_QUIRK };
    struct check_result result = { .check = &check };
    struct run r = { .now = &result };

    (void)state;
    check_fail(&r, "slow");
    assert_int_equal(result.outcome, CHECK_FOUND);
}

static void figures_too_many_are_dropped(void **state)
{
    struct check_result result = { .num_figures = 0 };
    struct run r = { .now = &result };

    (void)state;
    for (uint64_t i = 0; i < CHECK_FIGURES + 3; i++)
        check_add_figure(&r, "a-name-that-is-longer-than-there-is-room-for", i);
    assert_int_equal(result.num_figures, CHECK_FIGURES);
    assert_int_equal(result.figures[CHECK_FIGURES - 1].ns, CHECK_FIGURES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_at_least_120_checks),
        cmocka_unit_test(every_name_stands_for_one_check),
        cmocka_unit_test(every_check_has_a_rule_and_where_to_look),
        cmocka_unit_test(names_can_be_used_in_scripts),
        cmocka_unit_test(without_globs_all_are_selected),
        cmocka_unit_test(globs_match_names_and_groups),
        cmocka_unit_test(what_is_skipped_is_skipped),
        cmocka_unit_test(severities_and_outcomes_have_names),
        cmocka_unit_test(the_first_word_counts),
        cmocka_unit_test(a_quirk_never_fails),
        cmocka_unit_test(figures_too_many_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
