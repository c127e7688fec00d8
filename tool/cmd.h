/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_CMD_H
#define VFM_TOOL_CMD_H

/*
 * The commands of vfmig.
 *
 * Each takes its own words, argv[0] being its name, and returns the exit code
 * of the program.  What it prints on standard output is flushed and checked by
 * main().
 */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1, /* and the device is where it was */
    EXIT_USAGE = 2,
    EXIT_TROUBLE = 2,     /* compare: it cannot be told whether they differ */
    EXIT_LOST = 3,        /* and the device had to be reset */
    EXIT_HANDED_OVER = 4, /* given away, not confirmed */
    EXIT_ADVICE = 5,      /* check: no must was broken, a should was */
};

int cmd_list(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_state(int argc, char **argv);
int cmd_save(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_receive(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_predict(int argc, char **argv);
int cmd_proxy(int argc, char **argv);
int cmd_splice(int argc, char **argv);

#endif
