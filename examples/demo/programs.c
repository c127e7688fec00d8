/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Starting a device and waiting for its "listening on".
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "programs.h"

#define START_TIMEOUT_MS 10000

static int fail(const char *path, const char *why)
{
    fprintf(stderr, "demo: %s: %s\n", path, why);
    return -1;
}

static void run(const struct program *p, const char *path, const char *size,
                int out)
{
    dup2(out, STDOUT_FILENO);
    execl(path, path, "--socket", p->socket, "--size", size, "--seed", "7",
          "--dirty-rate", "64M", (char *)NULL);
    fail(path, strerror(errno));
    _exit(127);
}

static int wait_for_line(const char *path, int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char line[256];
    ssize_t n = -1;

    if (poll(&pfd, 1, START_TIMEOUT_MS) == 1)
        n = read(fd, line, sizeof(line) - 1);
    if (n <= 0)
        return fail(path, "does not start");
    line[n] = '\0';
    return strncmp(line, "listening on", 12) == 0 ? 0 : fail(path, line);
}

int program_start(struct program *p, const char *path, const char *size,
                  const char *name)
{
    int out[2];
    int ret;

    snprintf(p->dir, sizeof(p->dir), "/tmp/vfmig-demo-XXXXXX");
    if (mkdtemp(p->dir) == NULL || pipe(out) < 0)
        return fail(path, strerror(errno));
    snprintf(p->socket, sizeof(p->socket), "%s/%s", p->dir, name);
    p->pid = fork();
    if (p->pid < 0)
        return fail(path, strerror(errno));
    if (p->pid == 0) {
        close(out[0]);
        run(p, path, size, out[1]);
    }
    close(out[1]);
    ret = wait_for_line(path, out[0]);
    close(out[0]);
    if (ret < 0)
        program_stop(p);
    return ret;
}

void program_stop(struct program *p)
{
    kill(p->pid, SIGTERM);
    waitpid(p->pid, NULL, 0);
    unlink(p->socket);
    rmdir(p->dir);
}
