/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_ARGS_H
#define VFM_TOOL_ARGS_H

/*
 * The words of a command line, from one table per command.
 *
 * The same table is parsed by and printed as the command's help, so the two
 * cannot disagree.
 */

#include <stddef.h>

#include <vfmig/error.h>

/* Stores what @value means in *@into; @value is NULL for an option without
 * one.  Returns 0, or -EINVAL and why not in @err. */
typedef int args_take(const char *value, void *into, struct vfm_error *err);

struct args_option {
    char letter;       /* '\0': none */
    const char *name;  /* without the dashes */
    const char *value; /* what the help calls its value; NULL: it has none */
    args_take *take;
    size_t offset; /* of what @take fills in, in the command's options */
    const char *help;
};

/* The most options that a command has. */
#define ARGS_MAX_OPTIONS 24

/* More operands than any command wants. */
#define ARGS_ANY         1000000

struct args_syntax {
    const char *command;
    const char *words; /* what follows the name in the usage line */
    const char *about; /* what the command does: sentences */
    /* Ends with NULL; -h, --help is added. */
    const struct args_option *const *options;
    int min_operands;
    int max_operands;
    const char *operands; /* what is missing if there are too few */
};

/* args_parse(): the command can go on. */
#define ARGS_GO_ON (-1)

/*
 * Parses @argv into the structure at @into.
 *
 * Operands are argv[*@first] and what follows, in order.  Returns ARGS_GO_ON,
 * or the exit code to leave with: the help was asked for and printed, or a
 * word is wrong and that was said.
 */
int args_parse(const struct args_syntax *syntax, int argc, char **argv,
               void *into, int *first);

args_take args_take_flag;     /* bool */
args_take args_take_string;   /* const char *: borrowed from the argv */
args_take args_take_time;     /* uint32_t: ms; above 0 */
args_take args_take_time_or0; /* uint32_t: ms */
args_take args_take_rate;     /* uint64_t: bytes per second, above 0 */

#endif
