/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands: bytes both ways, success and failure told apart, and nothing of
 * them left when the channel is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

#define SHORT_MS 50
#define URI_LEN  512

/* "exec:" and the three parts in a row; static storage. */
static const char *command(const char *before, const char *path,
                           const char *after)
{
    static char uri[URI_LEN];

    snprintf(uri, sizeof(uri), "exec:%s%s%s", before, path, after);
    return uri;
}

static void expect_no_children(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void close_command(struct vfm_channel *ch)
{
    vfm_channel_close(ch);
    expect_no_children();
}

static void a_command_gets_every_byte(void **state)
{
    struct vfm_channel *ch = connect_to(command("cat > ", path_of("out"), ""));

    (void)state;
    assert_int_equal(send_text(ch, "state"), 0);
    assert_int_equal(finish(ch, NULL), 0);
    assert_int_equal(finish(ch, NULL), 0);
    expect_file(path_of("out"), "state");
    close_command(ch);
}

static void a_command_answers(void **state)
{
    struct vfm_channel *ch = connect_to("exec:read line; echo got $line");
    char answer[10];

    (void)state;
    assert_true(vfm_channel_is_duplex(ch));
    assert_int_equal(send_text(ch, "state\n"), 0);
    assert_int_equal(recv_all(ch, answer, sizeof(answer)), sizeof(answer));
    assert_memory_equal(answer, "got state\n", sizeof(answer));
    assert_int_equal(finish(ch, NULL), 0);
    close_command(ch);
}

static void a_receivers_command_is_read_to_its_end(void **state)
{
    struct vfm_channel *ch = accept_at("exec:printf saved");

    (void)state;
    expect_text(ch, "saved");
    assert_int_equal(finish(ch, NULL), 0);
    close_command(ch);
}

static void a_receivers_command_that_failed_is_noticed(void **state)
{
    struct vfm_channel *ch = accept_at("exec:printf half; exit 5");
    struct vfm_error err;

    (void)state;
    expect_text(ch, "half");
    assert_int_equal(finish(ch, &err), -ECHILD);
    expect_message(&err, "exit 5: the command failed with exit status 5");
    assert_int_equal(vfm_channel_finish(ch, &err), -ECHILD);
    expect_message(&err, "exit status 5");
    close_command(ch);
}

static void a_signal_that_killed_the_command_is_named(void **state)
{
    struct vfm_channel *ch = connect_to("exec:kill -KILL $$");
    struct vfm_error err;

    (void)state;
    assert_int_equal(finish(ch, &err), -ECHILD);
    expect_message(&err, "killed by signal 9 (Killed)");
    close_command(ch);
}

/* Sends until it fails. */
static int send_until_failure(struct vfm_channel *ch, struct vfm_error *err)
{
    static char buf[65536];
    struct iovec iov = { buf, sizeof(buf) };
    ssize_t ret;

    for (;;) {
        ret = vfm_channel_send(ch, &iov, 1, err);
        if (ret == -EAGAIN)
            ret = vfm_channel_wait(ch, POLLOUT, soon(), err);
        if (ret < 0)
            return (int)ret;
    }
}

static void a_broken_pipe_says_what_became_of_the_command(void **state)
{
    struct vfm_channel *ch = connect_to("exec:exec 2>&-; no-such-program-here");
    struct vfm_error err;

    (void)state;
    assert_int_equal(send_until_failure(ch, &err), -EPIPE);
    expect_message(&err, "the command failed with exit status 127");
    close_command(ch);

    /* One that is content has broken the pipe all the same. */
    ch = connect_to("exec:exit 0");
    assert_int_equal(send_until_failure(ch, &err), -EPIPE);
    expect_message(&err, "Broken pipe");
    assert_int_equal(finish(ch, &err), -EPIPE);
    close_command(ch);
}

static void a_command_that_does_not_end_is_given_up(void **state)
{
    struct vfm_channel_options opts = options(SHORT_MS);
    struct vfm_channel *ch;
    struct vfm_error err;
    struct pollfd fds[2];
    int64_t at;

    (void)state;
    assert_int_equal(vfm_channel_connect("exec:sleep 1000", &opts, &ch, NULL),
                     0);
    assert_int_equal(vfm_channel_finish(ch, &err), -EAGAIN);
    assert_int_equal(vfm_channel_poll_fds(ch, false, false, fds, &at), 1);
    assert_int_equal(fds[0].events, POLLIN);
    assert_true(at > 0 && at != VFM_CHANNEL_NEVER);
    assert_int_equal(finish(ch, &err), -ETIMEDOUT);
    expect_message(&err, "did not end within 50 ms");
    close_command(ch);
}

static void finishing_can_be_cancelled(void **state)
{
    struct vfm_channel_options opts = options(0);
    struct vfm_channel *ch;

    (void)state;
    opts.cancel_fd = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(vfm_channel_connect("exec:sleep 1000", &opts, &ch, NULL),
                     0);
    assert_int_equal(vfm_channel_finish(ch, NULL), -EAGAIN);
    assert_int_equal(vfm_channel_wait(ch, 0, VFM_CHANNEL_NEVER, NULL),
                     -ECANCELED);
    close_command(ch);
    close(opts.cancel_fd);
}

/* Opens a FIFO whose writers are the processes to be watched. */
static int watch_processes(void)
{
    int fd;

    assert_int_equal(mkfifo(path_of("alive"), 0600), 0);
    fd = open(path_of("alive"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Waits for "ready", which says that all of them are there. */
static void expect_ready(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char ready[6];

    assert_int_equal(poll(&pfd, 1, LIMIT_MS), 1);
    assert_int_equal(read(fd, ready, sizeof(ready)), sizeof(ready));
}

/* None of them is left: the end of the FIFO comes without anybody's help. */
static void expect_none_left(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char byte;

    assert_int_equal(poll(&pfd, 1, LIMIT_MS), 1);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
}

static void closing_ends_everything_that_the_command_started(void **state)
{
    int fd = watch_processes();
    struct vfm_channel *ch =
        connect_to(command("exec 9>", path_of("alive"),
                           "; sleep 1000 & sleep 1000 & echo ready >&9; wait"));

    (void)state;
    expect_ready(fd);
    close_command(ch);
    expect_none_left(fd);
}

static void a_command_that_ignores_the_request_is_killed(void **state)
{
    int fd = watch_processes();
    struct vfm_channel *ch =
        connect_to(command("trap '' TERM; exec 9>", path_of("alive"),
                           "; echo ready >&9; sleep 1000; wait"));

    (void)state;
    expect_ready(fd);
    close_command(ch);
    expect_none_left(fd);
}

static void a_command_has_time_to_clean_up(void **state)
{
    int fd = watch_processes();
    char text[URI_LEN / 2];
    struct vfm_channel *ch;

    (void)state;
    snprintf(text, sizeof(text), "trap 'echo bye > %s; exit 0' TERM; exec 9>",
             path_of("out"));
    ch = connect_to(command(text, path_of("alive"),
                            "; echo ready >&9; while :; do read line; done"));
    expect_ready(fd);
    close_command(ch);
    expect_none_left(fd);
    expect_file(path_of("out"), "bye\n");
}

/* The shell is the first to go; what it started is not killed with it. */
static void what_the_command_started_has_time_to_clean_up(void **state)
{
    int fd = watch_processes();
    char text[URI_LEN / 2];
    struct vfm_channel *ch;

    (void)state;
    snprintf(text, sizeof(text),
             "(trap 'until grep -q \") Z \" /proc/$$/stat; do :; done; "
             "echo bye > %s; exit 0' TERM; exec 9>",
             path_of("out"));
    ch = connect_to(command(text, path_of("alive"),
                            "; echo ready >&9; while :; do read line; done)"
                            " | cat"));
    expect_ready(fd);
    close_command(ch);
    expect_none_left(fd);
    expect_file(path_of("out"), "bye\n");
}

static void a_command_leads_a_session_of_its_own(void **state)
{
    struct vfm_channel *ch = accept_at(
        "exec:set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 = $6 ]");

    (void)state;
    assert_int_equal(finish(ch, NULL), 0);
    close_command(ch);
}

static void a_command_inherits_no_descriptor_of_the_host(void **state)
{
    /* Not close-on-exec, as a host's may be. */
    int stray = fcntl(STDIN_FILENO, F_DUPFD, 200);
    struct vfm_channel *ch;
    char text[URI_LEN / 2];

    (void)state;
    assert_true(stray >= 200);
    snprintf(text, sizeof(text),
             "exec:[ -e /proc/$$/fd/2 ] && "
             "[ ! -e /proc/$$/fd/%d ]",
             stray);
    ch = accept_at(text);
    assert_int_equal(finish(ch, NULL), 0);
    close_command(ch);
    close(stray);
}

static void a_command_finds_signals_as_usual(void **state)
{
    struct vfm_channel *ch;
    struct vfm_error err;
    sigset_t set;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    ch = connect_to("exec:kill -PIPE $$");
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGPIPE, SIG_DFL);

    assert_int_equal(finish(ch, &err), -ECHILD);
    expect_message(&err, "killed by signal 13");
    close_command(ch);
}

static void a_status_that_somebody_else_took_is_a_failure(void **state)
{
    struct vfm_channel *ch;
    struct vfm_error err;

    (void)state;
    signal(SIGCHLD, SIG_IGN);
    ch = connect_to("exec:exit 0");
    assert_int_equal(finish(ch, &err), -ECHILD);
    expect_message(&err, "exit status is unknown");
    vfm_channel_close(ch);
    signal(SIGCHLD, SIG_DFL);
}

static void a_long_command_does_not_hide_the_reason(void **state)
{
    static char uri[65536];
    struct vfm_channel *ch;
    struct vfm_error err;

    (void)state;
    memset(uri, ' ', sizeof(uri) - 1);
    memcpy(uri, "exec:exit 3;", 12);
    assert_int_equal(vfm_channel_connect(uri, NULL, &ch, &err), 0);
    assert_int_equal(finish(ch, &err), -ECHILD);
    expect_message(&err, "exit status 3");
    close_command(ch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANNEL_TEST(a_command_gets_every_byte),
        CHANNEL_TEST(a_command_answers),
        CHANNEL_TEST(a_receivers_command_is_read_to_its_end),
        CHANNEL_TEST(a_receivers_command_that_failed_is_noticed),
        CHANNEL_TEST(a_signal_that_killed_the_command_is_named),
        CHANNEL_TEST(a_broken_pipe_says_what_became_of_the_command),
        CHANNEL_TEST(a_command_that_does_not_end_is_given_up),
        CHANNEL_TEST(finishing_can_be_cancelled),
        CHANNEL_TEST(closing_ends_everything_that_the_command_started),
        CHANNEL_TEST(a_command_that_ignores_the_request_is_killed),
        CHANNEL_TEST(a_command_has_time_to_clean_up),
        CHANNEL_TEST(what_the_command_started_has_time_to_clean_up),
        CHANNEL_TEST(a_command_leads_a_session_of_its_own),
        CHANNEL_TEST(a_command_inherits_no_descriptor_of_the_host),
        CHANNEL_TEST(a_command_finds_signals_as_usual),
        CHANNEL_TEST(a_status_that_somebody_else_took_is_a_failure),
        CHANNEL_TEST(a_long_command_does_not_hide_the_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
