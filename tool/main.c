/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig: finds the command and runs it.
 *
 * Also sees to it that what was printed has arrived: a report that ends in a
 * full file is a failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "json.h"
#include "say.h"

struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
    int failed; /* its exit status of an error, if it has its own */
};

static const struct command commands[] = {
    { "list", "show the VFIO devices of this machine", cmd_list, 0 },
    { "probe", "say what a device can do and whether it can be migrated",
      cmd_probe, 0 },
    { "save", "write the state of devices to a file", cmd_save, 0 },
    { "load", "load the state of devices from a file", cmd_load, 0 },
    { "send", "move devices to another vfmig or a QEMU", cmd_send, 0 },
    { "receive", "take devices from another vfmig or a QEMU", cmd_receive, 0 },
    { "inspect", "show what is in a migration stream", cmd_inspect, 0 },
    { "compare", "find the first difference of two streams or states",
      cmd_compare, EXIT_TROUBLE },
    { "check", "find out whether a device keeps the rules", cmd_check, 0 },
    { "bench", "measure what moving a device takes", cmd_bench, 0 },
    { "predict", "say how long devices will be stopped for", cmd_predict, 0 },
    { "proxy", "stand between two QEMUs, and watch", cmd_proxy, 0 },
    { "splice", "replace the state of a device in a stream", cmd_splice, 0 },
    { "state", "show or set the state a device is in", cmd_state, 0 },
    { NULL, NULL, NULL, 0 },
};

static const struct command *find_command(const char *name)
{
    for (const struct command *cmd = commands; cmd->name != NULL; cmd++)
        if (strcmp(cmd->name, name) == 0)
            return cmd;
    return NULL;
}

static int print_help(void)
{
    puts("usage: vfmig COMMAND [WORD]...\n"
         "\n"
         "Moves the state of VFIO devices, live, from one place to another.\n"
         "\n"
         "commands:");
    for (const struct command *cmd = commands; cmd->name != NULL; cmd++)
        printf("  %-10s%s\n", cmd->name, cmd->summary);
    puts("\n"
         "'vfmig COMMAND --help' explains a command, vfmig(1) all of it.");
    return EXIT_DONE;
}

static int print_version(void)
{
    puts("vfmig " VFMIG_VERSION);
    return EXIT_DONE;
}

/* A word that is no command.  The line has no command to point to. */
static int refuse_command(const char *name)
{
    say_error("%s: no such command: see 'vfmig --help'", name);
    return EXIT_USAGE;
}

static int run_command(int argc, char **argv)
{
    const struct command *cmd = find_command(argv[0]);

    return cmd != NULL ? cmd->run(argc, argv) : refuse_command(argv[0]);
}

/* `vfmig help` and `vfmig help COMMAND`. */
static int run_help(int argc, char **argv)
{
    static char help[] = "--help";
    char *words[] = { argc > 1 ? argv[1] : NULL, help, NULL };

    return argc > 1 ? run_command(2, words) : print_help();
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        say_error("no command given: see 'vfmig --help'");
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help();
    if (strcmp(argv[1], "--version") == 0)
        return print_version();
    if (strcmp(argv[1], "help") == 0)
        return run_help(argc - 1, argv + 1);
    return run_command(argc - 1, argv + 1);
}

/*
 * Occupies the standard descriptors that are closed, lest a socket gets their
 * number and a report goes to a peer.  The mode makes their use an error.
 */
static void occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static void ignore_signal(int number)
{
    (void)number;
}

/* A handler that does nothing, rather than SIG_IGN, which the commands of
 * exec: would inherit. */
static void ignore_sigpipe(void)
{
    struct sigaction action = { .sa_handler = ignore_signal,
                                .sa_flags = SA_RESTART };

    sigaction(SIGPIPE, &action, NULL);
}

/* What a report that is not whole makes of @code.  A command with statuses of
 * its own answers by them, and nobody must take half an answer for one. */
static int spoil(int code, const char *name)
{
    const struct command *cmd = name != NULL ? find_command(name) : NULL;

    if (cmd != NULL && cmd->failed != 0)
        return cmd->failed;
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

static int close_stdout(int code, const char *name)
{
    int failed = ferror(stdout);
    const char *why;

    errno = 0;
    if (fclose(stdout) == 0 && !failed && !json_is_missing())
        return code;

    why = errno != 0          ? strerror(errno)
          : json_is_missing() ? "out of memory"
                              : "an earlier write failed";
    say_error("standard output: cannot write all of it: %s", why);
    return spoil(code, name);
}

int main(int argc, char **argv)
{
    occupy_standard_descriptors();
    ignore_sigpipe();
    return close_stdout(run(argc, argv), argc > 1 ? argv[1] : NULL);
}
