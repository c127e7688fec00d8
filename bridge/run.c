/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfmig-run: makes the folder that shows the devices, runs a program that sees
 * it, and removes the folder when the program has ended.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bridge/device.h"
#include "bridge/tree.h"

#define EXIT_USAGE   2
#define EXIT_FAILED  125 /* as env(1) and others have it */
#define EXIT_CANNOT  126
#define EXIT_MISSING 127

static const char usage[] =
    "usage: vfmig-run --device SOCKET [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
    "\n"
    "Runs PROGRAM with the devices of vfio-user servers as if they were the\n"
    "kernel's: the first is "
    "5646:00:01.0, in group 5646.\n"
    "\n"
    "  -d, --device SOCKET   a server's socket; once for each device\n"
    "      --keep            leaves a device as it is when it is opened\n"
    "      --library FILE    libvfmig-uapi.so\n"
    "      --tree FOLDER     makes the folder there, and leaves it; without\n"
    "                        PROGRAM, prints the environment that it takes\n"
    "      --help, --version\n";

struct options {
    const char *devices[PLACE_MAX];
    int num_devices;
    bool keep;
    const char *library;
    const char *tree;
    char **program; /* NULL: none */
};

__attribute__((format(printf, 2, 3))) static int fail(int code,
                                                      const char *format, ...)
{
    va_list list;

    fputs("vfmig-run: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    return code;
}

/* ------------------------------------------------------------- options */

enum {
    OPTION_KEEP = 256,
    OPTION_LIBRARY,
    OPTION_TREE,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option long_options[] = {
    { "device", required_argument, NULL, 'd' },
    { "keep", no_argument, NULL, OPTION_KEEP },
    { "library", required_argument, NULL, OPTION_LIBRARY },
    { "tree", required_argument, NULL, OPTION_TREE },
    { "help", no_argument, NULL, OPTION_HELP },
    { "version", no_argument, NULL, OPTION_VERSION },
    { NULL, 0, NULL, 0 },
};

/* Returns an exit status, or -1: go on. */
static int take_option(struct options *o, int option)
{
    switch (option) {
    case 'd':
        if (o->num_devices == PLACE_MAX)
            return fail(EXIT_USAGE, "%d devices at most", PLACE_MAX);
        o->devices[o->num_devices++] = optarg;
        return -1;
    case OPTION_KEEP:
        o->keep = true;
        return -1;
    case OPTION_LIBRARY:
        o->library = optarg;
        return -1;
    case OPTION_TREE:
        o->tree = optarg;
        return -1;
    case OPTION_HELP:
        fputs(usage, stdout);
        return 0;
    case OPTION_VERSION:
        puts("vfmig-run " VFMIG_VERSION);
        return 0;
    }
    return fail(EXIT_USAGE, "try --help");
}

static int parse(struct options *o, int argc, char **argv)
{
    int option;

    while ((option = getopt_long(argc, argv, "+d:", long_options, NULL)) >= 0) {
        int status = take_option(o, option);

        if (status >= 0)
            return status;
    }
    if (o->num_devices == 0)
        return fail(EXIT_USAGE, "no device: --device SOCKET, or try --help");
    if (optind < argc)
        o->program = argv + optind;
    else if (o->tree == NULL)
        return fail(EXIT_USAGE, "no program: try --help");
    return -1;
}

/* --------------------------------------------------- the environment */

/* The library beside this program, as it is built, or where it is installed
 * to. */
static int find_library(const char *given, char path[PATH_MAX])
{
    char self[PATH_MAX] = "";
    char *slash;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 64);

    if (given != NULL)
        return realpath(given, path) != NULL ? 0 : -errno;
    slash = n > 0 ? strrchr(self, '/') : NULL;
    if (slash != NULL) {
        strcpy(slash + 1, "libvfmig-uapi.so");
        if (realpath(self, path) != NULL)
            return 0;
    }
    return realpath(VFMIG_LIBDIR "/libvfmig-uapi.so", path) != NULL ? 0
                                                                    : -errno;
}

/* Whether @path is one of @list, which has colons in between. */
static bool is_among(const char *list, const char *path)
{
    const size_t len = strlen(path);

    for (; *list != '\0'; list += strcspn(list, ":")) {
        list += *list == ':';
        if (strcspn(list, ":") == len && memcmp(list, path, len) == 0)
            return true;
    }
    return false;
}

/* The sockets, absolute, with colons in between. */
static int join_sockets(const struct options *o, char *text, size_t room)
{
    size_t n = 0;

    for (int i = 0; i < o->num_devices; i++) {
        char path[PATH_MAX];

        if (realpath(o->devices[i], path) == NULL)
            return fail(EXIT_FAILED, "%s: %s", o->devices[i], strerror(errno));
        if (strchr(path, ':') != NULL || strlen(path) >= 108)
            return fail(EXIT_FAILED,
                        "%s: a path of at most 107 characters, none of them "
                        "a colon",
                        path);
        if (is_among(text, path))
            return fail(EXIT_USAGE, "%s: given twice; a server has one device",
                        path);
        n += (size_t)snprintf(text + n, room - n, "%s%s", i > 0 ? ":" : "",
                              path);
    }
    return -1;
}

static int set_preload(const char *library)
{
    const char *before = getenv("LD_PRELOAD");
    char text[2 * PATH_MAX];

    if (before == NULL || before[0] == '\0')
        return setenv("LD_PRELOAD", library, 1);
    if (snprintf(text, sizeof(text), "%s:%s", library, before) >=
        (int)sizeof(text))
        return -1;
    return setenv("LD_PRELOAD", text, 1);
}

/* --------------------------------------------------------------- the tree */

static int show_device(const char *root, int n)
{
    struct place place = { .group = -1 };
    struct device *d = NULL;
    int ret = device_place(n, &place);

    if (ret == 0)
        ret = device_open(&place, false, true, &d);
    if (ret < 0)
        return fail(EXIT_FAILED, "%s: %s", place.socket,
                    ret == -ENODEV  ? "nobody listens there"
                    : ret == -EBUSY ? "its server does not answer, or has "
                                      "another client"
                                    : strerror(-ret));
    ret = tree_add(root, n, d);
    device_close(d);
    if (ret < 0)
        return fail(EXIT_FAILED, "%s: %s", place.socket,
                    ret == -EINVAL ? "its device is not on a PCI bus"
                                   : strerror(-ret));
    return -1;
}

static int make_tree(const struct options *o, const char *root)
{
    int ret = tree_begin(root);
    int status = -1;

    for (int i = 0; i < o->num_devices && ret == 0 && status < 0; i++)
        status = show_device(root, i);
    if (ret == 0 && status < 0)
        ret = tree_finish(root);
    if (ret < 0)
        status = fail(EXIT_FAILED, "%s: %s", root, strerror(-ret));
    return status;
}

/* ------------------------------------------------------------ the program */

static int run_child(char **program, pid_t parent, const sigset_t *mask)
{
    int saved;

    /* Who kills us means the program. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        return EXIT_FAILED;
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(program[0], program);
    saved = errno;
    return fail(saved == ENOENT ? EXIT_MISSING : EXIT_CANNOT, "%s: %s",
                program[0], strerror(saved));
}

/* Signals that somebody sends us are for the program; those of a terminal it
 * has already. */
static int wait_for(pid_t child, const sigset_t *set)
{
    siginfo_t info;
    int status;

    for (;;) {
        int number = sigwaitinfo(set, &info);

        if (number < 0 && errno != EINTR)
            return EXIT_FAILED;
        if (number > 0 && number != SIGCHLD && info.si_code <= 0)
            kill(child, number);
        if (waitpid(child, &status, WNOHANG) == child)
            break;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(char **program)
{
    static const int passed_on[] = { SIGTERM, SIGINT,  SIGHUP,
                                     SIGQUIT, SIGUSR1, SIGUSR2 };
    pid_t self = getpid();
    sigset_t set;
    sigset_t old;
    pid_t child;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        sigaddset(&set, passed_on[i]);
    sigprocmask(SIG_BLOCK, &set, &old);
    child = fork();
    if (child < 0)
        return fail(EXIT_FAILED, "cannot fork: %s", strerror(errno));
    if (child == 0)
        _exit(run_child(program, self, &old));
    return wait_for(child, &set);
}

static int run_with_tree(const struct options *o, const char *root,
                         const char *library, const char *sockets)
{
    int status;

    if (setenv(PLACE_ENV_SOCKET, sockets, 1) < 0)
        return fail(EXIT_FAILED, "%s", strerror(errno));
    status = make_tree(o, root);
    if (status >= 0)
        return status;
    if (o->program == NULL) {
        printf("LD_PRELOAD=%s\n%s=%s\n%s=%s\n", library, PLACE_ENV_TREE, root,
               PLACE_ENV_SOCKET, sockets);
        if (o->keep)
            puts(PLACE_ENV_KEEP "=1");
        return 0;
    }
    if (set_preload(library) < 0 || setenv(PLACE_ENV_TREE, root, 1) < 0 ||
        (o->keep && setenv(PLACE_ENV_KEEP, "1", 1) < 0))
        return fail(EXIT_FAILED, "cannot set the environment");
    return run(o->program);
}

/* The folder is ours to remove unless it was named. */
static int run_somewhere(const struct options *o, const char *library,
                         const char *sockets)
{
    const char *tmp = getenv("TMPDIR");
    char root[PATH_MAX];
    int status;

    if (o->tree != NULL) {
        if (realpath(o->tree, root) == NULL)
            return fail(EXIT_FAILED, "%s: %s", o->tree, strerror(errno));
        return run_with_tree(o, root, library, sockets);
    }
    snprintf(root, sizeof(root), "%.1024s/vfmig-run.XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(root) == NULL)
        return fail(EXIT_FAILED, "%s: %s", root, strerror(errno));
    status = run_with_tree(o, root, library, sockets);
    tree_remove(root);
    return status;
}

int main(int argc, char **argv)
{
    static char sockets[PLACE_MAX * 110];
    struct options o = { .num_devices = 0 };
    char library[PATH_MAX];
    int status = parse(&o, argc, argv);
    int ret;

    if (status >= 0)
        return status;
    ret = find_library(o.library, library);
    if (ret < 0 && o.library == NULL)
        return fail(EXIT_FAILED, "libvfmig-uapi.so is neither beside vfmig-run "
                                 "nor in " VFMIG_LIBDIR ": --library FILE");
    if (ret < 0)
        return fail(EXIT_FAILED, "%s: %s", o.library, strerror(-ret));
    status = join_sockets(&o, sockets, sizeof(sockets));
    return status >= 0 ? status : run_somewhere(&o, library, sockets);
}
