/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * exec: a command on the other end of a socket pair.
 *
 * The command leads a session, and so a process group, of its own: Ctrl-C in
 * the caller's terminal does not reach it before the caller has ended the
 * migration, and everything that it started can be told to end.  A socket pair
 * rather than two pipes: one descriptor, both ways, no SIGPIPE.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/channel.h"
#include "channel/wait.h"
#include "util/clock.h"
#include "util/error.h"

/* How long an aborted command has after SIGTERM, and how long it may take the
 * kernel to end it after SIGKILL. */
#define TERM_MS    2000
#define KILL_MS    2000

/* How long a command that closed its end may take to say why. */
#define EXPLAIN_MS 100

extern char **environ;

struct command {
    pid_t pid; /* also its process group */
    bool ended;
    int code; /* what it means, once ended: 0 or a negative errno value */
    struct vfm_error why;
};

/* Puts how the command ended into words. */
static void judge(struct vfm_channel *ch, const siginfo_t *info)
{
    struct command *cmd = ch->transport;

    cmd->ended = true;
    if (info->si_code == CLD_EXITED && info->si_status == 0)
        return;
    if (info->si_code == CLD_EXITED)
        cmd->code = error_set(&cmd->why, -ECHILD,
                              "%s: the command failed with exit status %d",
                              ch->name, info->si_status);
    else
        cmd->code = error_set(
            &cmd->why, -ECHILD, "%s: the command was killed by signal %d (%s)",
            ch->name, info->si_status, strsignal(info->si_status));
}

/* Somebody else reaped the command. */
static void lose_status(struct vfm_channel *ch, int code)
{
    struct command *cmd = ch->transport;

    cmd->ended = true;
    cmd->code = error_set(&cmd->why, -ECHILD,
                          "%s: the command's exit status is unknown: %s",
                          ch->name, strerror(-code));
}

/* Reaps the command if it has ended. */
static void reap(struct vfm_channel *ch)
{
    struct command *cmd = ch->transport;
    siginfo_t info = { 0 };
    int ret;

    if (cmd->ended)
        return;
    do
        ret = waitid(P_PIDFD, (id_t)ch->end_fd, &info, WEXITED | WNOHANG);
    while (ret < 0 && errno == EINTR);
    if (ret < 0)
        lose_status(ch, -errno);
    else if (info.si_pid != 0)
        judge(ch, &info);
}

static int exec_finish(struct vfm_channel *ch, struct vfm_error *err)
{
    struct command *cmd = ch->transport;

    /* A command that ended first has taken its end with it. */
    if (shutdown(ch->fd, SHUT_WR) < 0 && errno != ENOTCONN)
        return error_set(err, -errno, "%s: cannot end the stream: %s", ch->name,
                         strerror(errno));
    reap(ch);
    if (!cmd->ended && clock_now() >= ch->finish_deadline)
        return error_set(err, -ETIMEDOUT,
                         "%s: the command did not end within %u ms", ch->name,
                         ch->finish_timeout_ms);
    if (!cmd->ended)
        return error_set(err, -EAGAIN, "%s: the command has not ended yet",
                         ch->name);
    if (cmd->code < 0 && err != NULL)
        *err = cmd->why;
    return cmd->code;
}

/* A broken pipe is seldom the reason, only how we notice. */
static int exec_explain(struct vfm_channel *ch, int code, struct vfm_error *err)
{
    struct command *cmd = ch->transport;

    wait_fd(ch->end_fd, POLLIN, clock_deadline(EXPLAIN_MS), -1);
    reap(ch);
    if (cmd->code == 0)
        return 0;
    /* The caller gets the code of what it did. */
    return error_set(err, code, "%s", cmd->why.message);
}

/*
 * Ends what is left of the command.  Its process id, and so its group's, is
 * not given to another process before it is reaped.
 */
static void end_command(struct vfm_channel *ch)
{
    struct command *cmd = ch->transport;
    int64_t deadline = clock_deadline(TERM_MS);

    kill(-cmd->pid, SIGTERM);
    wait_fd(ch->end_fd, POLLIN, deadline, -1);
    /* The shell is gone; the socket hangs up when what it started is, too. */
    wait_fd(ch->fd, 0, deadline, -1);
    kill(-cmd->pid, SIGKILL);
    wait_fd(ch->end_fd, POLLIN, clock_deadline(KILL_MS), -1);
    reap(ch);
}

static void exec_close(struct vfm_channel *ch)
{
    struct command *cmd = ch->transport;

    if (!cmd->ended)
        end_command(ch);
    if (ch->end_fd >= 0)
        close(ch->end_fd);
    free(cmd);
}

static const struct channel_ops exec_ops = {
    .send = socket_send,
    .recv = socket_recv,
    .finish = exec_finish,
    .close = exec_close,
    .explain = exec_explain,
};

/* The signals that the command finds as a program expects them, whatever the
 * host does with them. */
static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none;
    sigset_t all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setsigdefault(attr, &all);
    return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID |
                                              POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
}

/* Starts @command on @fd.  Returns 0 or a negative errno value. */
static int spawn(const char *command, int fd, pid_t *pid)
{
    /* posix_spawn() only reads what it takes without const. */
    const char *argv[] = { "sh", "-c", command, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int ret;

    ret = posix_spawn_file_actions_init(&actions);
    if (ret != 0)
        return -ret;
    posix_spawnattr_init(&attr);

    ret = set_attributes(&attr);
    if (ret == 0)
        ret = posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
    if (ret == 0)
        ret = posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
    if (ret == 0)
        ret = posix_spawn_file_actions_addclosefrom_np(&actions,
                                                       STDERR_FILENO + 1);
    if (ret == 0)
        ret = posix_spawn(pid, "/bin/sh", &actions, &attr, (char **)argv,
                          environ);

    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return -ret;
}

/* A command without the means to wait for it is of no use. */
static int start_command(struct vfm_channel *ch, const char *command, int fd)
{
    struct command *cmd = ch->transport;
    int ret = spawn(command, fd, &cmd->pid);

    if (ret < 0)
        return ret;
    ch->end_fd = pidfd_open(cmd->pid, 0);
    if (ch->end_fd >= 0)
        return 0;
    ret = -errno;
    if (ret == -ESRCH) {
        lose_status(ch, ret);
        return 0;
    }
    kill(-cmd->pid, SIGKILL);
    waitpid(cmd->pid, NULL, 0);
    return ret;
}

static int open_command(struct vfm_channel *ch, const char *command, int fd,
                        struct vfm_error *err)
{
    int ret = -ENOMEM;

    ch->transport = calloc(1, sizeof(struct command));
    if (ch->transport != NULL)
        ret = start_command(ch, command, fd);
    if (ret == 0) {
        ch->can_send = true;
        ch->can_recv = true;
        ch->duplex = true;
        return 0;
    }
    free(ch->transport);
    return error_set(err, ret, "%s: cannot start the command: %s", ch->name,
                     strerror(-ret));
}

static int exec_connect(const struct address *addr, const char *uri,
                        const struct vfm_channel_options *opts,
                        struct vfm_channel **chp, struct vfm_error *err)
{
    struct vfm_channel *ch = NULL;
    int pair[2];
    int ret;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(err, -errno, "%.*s: cannot make a socket: %s",
                         ADDRESS_SHOWN, uri, strerror(errno));

    socket_make_room(pair[0]);
    ret = channel_new(&exec_ops, pair[0], uri, opts, &ch, err);
    if (ret == 0)
        ret = open_command(ch, addr->text, pair[1], err);
    close(pair[1]);
    if (ret == 0) {
        *chp = ch;
        return 0;
    }
    close(pair[0]);
    if (ch != NULL)
        channel_free(ch);
    return ret;
}

static int exec_listen(struct vfm_listener *lis, struct vfm_error *err)
{
    (void)lis;
    (void)err;
    return 0;
}

static int exec_accept(struct vfm_listener *lis, struct vfm_channel **chp,
                       struct vfm_error *err)
{
    return exec_connect(&lis->addr, lis->uri, &lis->opts, chp, err);
}

const struct transport exec_transport = {
    .connect = exec_connect,
    .listen = exec_listen,
    .accept = exec_accept,
};
