/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsing a command line by its table, and printing the table as help.
 *
 * What the words mean is in the tables; numbers with units are quantity.c's.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "cmd.h"
#include "quantity.h"
#include "say.h"
#include "util/error.h"

/* What getopt_long() returns for the n-th long option: above every letter. */
#define OPTION_CODE 256
#define HELP_CODE   (OPTION_CODE + ARGS_MAX_OPTIONS)

/* The column where the help's explanations start, and where they end. */
#define HELP_INDENT 30
#define HELP_WIDTH  78

/* The table in the form that getopt_long() wants. */
struct getopt_table {
    struct option options[ARGS_MAX_OPTIONS + 2];
    char letters[2 * ARGS_MAX_OPTIONS + 3];
};

static void add_letter(struct getopt_table *table, char letter, bool has_value)
{
    size_t n = strlen(table->letters);

    assert(n + 2 < sizeof(table->letters));
    table->letters[n] = letter;
    if (has_value)
        table->letters[n + 1] = ':';
}

/* The leading ':' makes getopt tell a missing value from an unknown option. */
static void fill_getopt_table(struct getopt_table *table,
                              const struct args_option *const *options)
{
    int n = 0;

    *table = (struct getopt_table){ .letters = ":h" };
    for (; options[n] != NULL; n++) {
        const struct args_option *opt = options[n];
        bool has_value = opt->value != NULL;

        assert(n < ARGS_MAX_OPTIONS);
        table->options[n] = (struct option){
            .name = opt->name,
            .has_arg = has_value ? required_argument : no_argument,
            .val = OPTION_CODE + n,
        };
        if (opt->letter != '\0')
            add_letter(table, opt->letter, has_value);
    }
    table->options[n] = (struct option){ .name = "help", .val = HELP_CODE };
}

static const struct args_option *find_option(
    const struct args_option *const *options, int code)
{
    if (code >= OPTION_CODE)
        return options[code - OPTION_CODE];
    while (*options != NULL && (*options)->letter != code)
        options++;
    /* getopt_long() knows the letters of the table only. */
    assert(*options != NULL);
    return *options;
}

/* Prints @text from column @indent on, in lines of HELP_WIDTH. */
static void print_wrapped(const char *text, int indent)
{
    int room = HELP_WIDTH - indent;

    while ((int)strlen(text) > room) {
        int end = room;

        while (end > 0 && text[end] != ' ')
            end--;
        assert(end > 0);
        printf("%.*s\n%*s", end, text, indent, "");
        text += end + 1;
    }
    puts(text);
}

static void print_option(const struct args_option *opt)
{
    char letter[] = { '-', opt->letter, ',', '\0' };
    int column;

    column = printf("  %3s --%s%s%s", opt->letter != '\0' ? letter : "",
                    opt->name, opt->value != NULL ? " " : "",
                    opt->value != NULL ? opt->value : "");
    if (column >= HELP_INDENT)
        column = printf("\n") - 1;
    printf("%*s", HELP_INDENT - column, "");
    print_wrapped(opt->help, HELP_INDENT);
}

static int print_help(const struct args_syntax *syntax)
{
    static const struct args_option help = { .letter = 'h',
                                             .name = "help",
                                             .help = "print this and exit" };

    printf("usage: vfmig %s %s\n\n", syntax->command, syntax->words);
    print_wrapped(syntax->about, 0);
    putchar('\n');
    for (int n = 0; syntax->options[n] != NULL; n++)
        print_option(syntax->options[n]);
    print_option(&help);
    return EXIT_DONE;
}

/* Says what getopt_long() did not like.  Its optopt is 0 for a long option that
 * is unknown, the option's code for a long one, else the letter. */
static int refuse_option(const struct args_syntax *syntax, int code,
                         const char *last_word)
{
    const char *command = syntax->command;

    if (optopt == 0)
        return say_usage(command, "unknown option '%s'", last_word);
    if (optopt >= OPTION_CODE && code == ':')
        return say_usage(command, "option '%s' needs a value", last_word);
    if (optopt >= OPTION_CODE)
        return say_usage(command, "option '%s' takes no value", last_word);
    if (code == ':')
        return say_usage(command, "option '-%c' needs a value", optopt);
    return say_usage(command, "unknown option '-%c'", optopt);
}

static int take_option(const struct args_syntax *syntax,
                       const struct args_option *opt, void *into)
{
    struct vfm_error err = { 0 };
    int ret = opt->take(optarg, (char *)into + opt->offset, &err);

    if (ret == -ENOMEM) {
        say_error("%s: --%s: %s", syntax->command, opt->name, err.message);
        return EXIT_FAILED;
    }
    if (ret < 0)
        return say_usage(syntax->command, "--%s: %s", opt->name, err.message);
    return ARGS_GO_ON;
}

static int check_operands(const struct args_syntax *syntax, int argc,
                          char **argv)
{
    int count = argc - optind;

    if (count < syntax->min_operands)
        return say_usage(syntax->command, "%s is missing", syntax->operands);
    if (count > syntax->max_operands)
        return say_usage(syntax->command, "unexpected word '%s'",
                         argv[optind + syntax->max_operands]);
    return ARGS_GO_ON;
}

int args_parse(const struct args_syntax *syntax, int argc, char **argv,
               void *into, int *first)
{
    struct getopt_table table;
    int ret = ARGS_GO_ON;

    fill_getopt_table(&table, syntax->options);
    opterr = 0;
    optind = 0;
    while (ret == ARGS_GO_ON) {
        int code = getopt_long(argc, argv, table.letters, table.options, NULL);

        if (code == -1)
            break;
        if (code == HELP_CODE || code == 'h')
            return print_help(syntax);
        if (code == '?' || code == ':')
            return refuse_option(syntax, code, argv[optind - 1]);
        ret = take_option(syntax, find_option(syntax->options, code), into);
    }
    if (ret != ARGS_GO_ON)
        return ret;

    *first = optind;
    return check_operands(syntax, argc, argv);
}

int args_take_flag(const char *value, void *into, struct vfm_error *err)
{
    (void)value;
    (void)err;
    *(bool *)into = true;
    return 0;
}

int args_take_string(const char *value, void *into, struct vfm_error *err)
{
    if (value[0] == '\0')
        return error_set(err, -EINVAL, "it must not be empty");

    *(const char **)into = value;
    return 0;
}

int args_take_time_or0(const char *value, void *into, struct vfm_error *err)
{
    return quantity_parse_time(value, into, err);
}

int args_take_time(const char *value, void *into, struct vfm_error *err)
{
    uint32_t ms;
    int ret;

    ret = quantity_parse_time(value, &ms, err);
    if (ret < 0)
        return ret;
    if (ms == 0)
        return error_set(err, -EINVAL, "'%s' must be above 0", value);

    *(uint32_t *)into = ms;
    return 0;
}

int args_take_rate(const char *value, void *into, struct vfm_error *err)
{
    uint64_t rate;
    int ret;

    ret = quantity_parse_size(value, &rate, err);
    if (ret < 0)
        return ret;
    if (rate == 0)
        return error_set(err, -EINVAL, "'%s' must be above 0", value);

    *(uint64_t *)into = rate;
    return 0;
}
