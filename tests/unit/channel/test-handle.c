/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a handle promises whatever carries its bytes: order, counts, no waiting,
 * no signals, failures that last, one direction ending without the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"

static char letter = 'x';
static const struct iovec one_byte = { &letter, 1 };

static void close_pair(struct vfm_channel *end[2])
{
    vfm_channel_close(end[0]);
    vfm_channel_close(end[1]);
}

/* Sends until nothing more fits; returns how much did. */
static size_t fill(struct vfm_channel *ch)
{
    static char buf[65536];
    struct iovec iov = { buf, sizeof(buf) };
    size_t sent = 0;
    ssize_t ret;

    while ((ret = vfm_channel_send(ch, &iov, 1, NULL)) > 0)
        sent += (size_t)ret;
    assert_int_equal(ret, -EAGAIN);
    return sent;
}

static void drain(struct vfm_channel *ch, size_t len)
{
    char *buf = malloc(len);

    assert_non_null(buf);
    assert_int_equal(recv_all(ch, buf, len), len);
    free(buf);
}

static void bytes_arrive_in_order(void **state)
{
    struct vfm_channel *end[2];
    uint32_t out[1024];
    uint32_t in[1024];

    (void)state;
    channel_pair(end);
    for (uint32_t round = 0; round < 64; round++) {
        for (uint32_t i = 0; i < 1024; i++)
            out[i] = round * 1024 + i;
        assert_int_equal(send_all(end[0], out, sizeof(out)), 0);
        assert_int_equal(recv_all(end[1], in, sizeof(in)), sizeof(in));
        assert_memory_equal(in, out, sizeof(in));
    }
    assert_int_equal(vfm_channel_bytes_sent(end[0]), 64 * sizeof(out));
    assert_int_equal(vfm_channel_bytes_received(end[1]), 64 * sizeof(out));
    assert_int_equal(vfm_channel_bytes_received(end[0]), 0);
    close_pair(end);
}

static void a_slow_peer_is_counted_as_blocked_time(void **state)
{
    struct vfm_channel *end[2];
    size_t sent;

    (void)state;
    channel_pair(end);
    sent = fill(end[0]);
    assert_int_equal(vfm_channel_bytes_sent(end[0]), sent);
    assert_int_equal(vfm_channel_wait(end[0], POLLOUT, 0, NULL), -ETIMEDOUT);
    drain(end[1], sent);
    assert_int_equal(vfm_channel_wait(end[0], POLLOUT, soon(), NULL), POLLOUT);
    assert_int_equal(send_text(end[0], "x"), 0);
    assert_true(vfm_channel_blocked_ns(end[0]) > 0);
    assert_int_equal(vfm_channel_limited_ns(end[0]), 0);
    close_pair(end);
}

static void many_buffers_are_sent_in_several_calls(void **state)
{
    struct vfm_channel *end[2];
    struct iovec iov[200];
    char out[200];
    char in[200];
    ssize_t sent;

    (void)state;
    channel_pair(end);
    for (int i = 0; i < 200; i++) {
        out[i] = (char)i;
        /* Every other one is empty. */
        iov[i] = (struct iovec){ &out[i / 2], (size_t)(i % 2) };
    }
    sent = vfm_channel_send(end[0], iov, 200, NULL);
    assert_in_range(sent, 1, 100);
    assert_int_equal(recv_all(end[1], in, (size_t)sent), sent);
    assert_memory_equal(in, out, (size_t)sent);

    assert_int_equal(vfm_channel_send(end[0], iov, 1, NULL), 0);
    assert_int_equal(vfm_channel_send(end[0], NULL, 0, NULL), 0);
    close_pair(end);
}

static void finishing_ends_one_direction_only(void **state)
{
    struct vfm_channel *end[2];

    (void)state;
    channel_pair(end);
    assert_true(vfm_channel_is_duplex(end[0]));
    assert_int_equal(send_text(end[0], "state"), 0);
    assert_int_equal(vfm_channel_finish(end[0], NULL), 0);
    assert_int_equal(vfm_channel_finish(end[0], NULL), 0);
    expect_text(end[1], "state");
    assert_int_equal(vfm_channel_send(end[0], &one_byte, 1, NULL), -EPIPE);

    assert_int_equal(send_text(end[1], "loaded"), 0);
    assert_int_equal(vfm_channel_finish(end[1], NULL), 0);
    expect_text(end[0], "loaded");
    close_pair(end);
}

static void a_peer_that_hung_up_fails_sending_for_good(void **state)
{
    struct vfm_channel *end[2];
    struct vfm_error first;
    struct vfm_error second;

    (void)state;
    channel_pair(end);
    assert_int_equal(send_text(end[1], "no room"), 0);
    vfm_channel_close(end[1]);

    /* SIGPIPE would end this program here. */
    assert_int_equal(vfm_channel_send(end[0], &one_byte, 1, &first), -EPIPE);
    expect_message(&first, "test: cannot send: Broken pipe");
    assert_int_equal(vfm_channel_send(end[0], &one_byte, 1, &second), -EPIPE);
    assert_string_equal(first.message, second.message);
    assert_int_equal(vfm_channel_finish(end[0], &second), -EPIPE);

    /* What it said before can still be read. */
    expect_text(end[0], "no room");
    vfm_channel_close(end[0]);
}

static void a_pipe_without_reader_raises_no_signal(void **state)
{
    struct vfm_channel *ch;
    int fd[2];

    (void)state;
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    close(fd[0]);
    ch = channel_of(fd[1]);
    assert_int_equal(vfm_channel_send(ch, &one_byte, 1, NULL), -EPIPE);
    vfm_channel_close(ch);
}

static void a_signal_that_the_host_holds_back_stays(void **state)
{
    struct vfm_channel *ch;
    sigset_t set;
    int signal;
    int fd[2];

    (void)state;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);

    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    close(fd[0]);
    ch = channel_of(fd[1]);
    assert_int_equal(vfm_channel_send(ch, &one_byte, 1, NULL), -EPIPE);
    vfm_channel_close(ch);

    sigpending(&set);
    assert_true(sigismember(&set, SIGPIPE));
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    assert_int_equal(sigwait(&set, &signal), 0);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void a_pipe_goes_one_way_and_ends_when_finished(void **state)
{
    struct vfm_channel *out;
    struct vfm_channel *in;
    char byte;
    int fd[2];

    (void)state;
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    in = channel_of(fd[0]);
    out = channel_of(fd[1]);
    assert_false(vfm_channel_is_duplex(in));
    assert_int_equal(vfm_channel_send(in, &one_byte, 1, NULL), -EBADF);
    assert_int_equal(vfm_channel_recv(out, &byte, 1, NULL), -EBADF);

    assert_int_equal(vfm_channel_recv(in, &byte, 1, NULL), -EAGAIN);
    assert_true(fill(out) > 0);
    vfm_channel_close(in);
    vfm_channel_close(out);

    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    in = channel_of(fd[0]);
    out = channel_of(fd[1]);
    assert_int_equal(send_text(out, "all"), 0);
    assert_int_equal(vfm_channel_finish(out, NULL), 0);
    expect_text(in, "all");
    vfm_channel_close(in);
    vfm_channel_close(out);
}

static void a_descriptor_is_blocking_again_afterwards(void **state)
{
    int fd[2];
    int copy;

    (void)state;
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    copy = fcntl(fd[1], F_DUPFD_CLOEXEC, 0);
    for (int finished = 0; finished < 2; finished++) {
        struct vfm_channel *ch =
            channel_of(finished ? fd[1] : fcntl(fd[1], F_DUPFD_CLOEXEC, 0));

        assert_true(fcntl(copy, F_GETFL) & O_NONBLOCK);
        if (finished)
            assert_int_equal(vfm_channel_finish(ch, NULL), 0);
        else
            vfm_channel_close(ch);
        assert_false(fcntl(copy, F_GETFL) & O_NONBLOCK);
        if (finished)
            vfm_channel_close(ch);
    }
    close(copy);
    close(fd[0]);
}

static void a_descriptor_becomes_close_on_exec(void **state)
{
    struct vfm_channel *ch;
    int fd[2];

    (void)state;
    assert_int_equal(pipe(fd), 0);
    ch = channel_of(fd[0]);
    assert_int_equal(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
    vfm_channel_close(ch);
    close(fd[1]);
}

static void a_device_that_cannot_be_polled_is_always_ready(void **state)
{
    struct vfm_channel *ch = channel_of(open("/dev/null", O_RDWR | O_CLOEXEC));
    struct pollfd fds[2];
    int64_t ready_at;
    char byte;

    (void)state;
    assert_int_equal(vfm_channel_poll_fds(ch, true, true, fds, &ready_at), 0);
    assert_int_equal(ready_at, 0);
    assert_int_equal(vfm_channel_wait(ch, POLLOUT, 0, NULL), POLLOUT);
    assert_int_equal(send_text(ch, "gone"), 0);
    assert_int_equal(vfm_channel_recv(ch, &byte, 1, NULL), 0);
    assert_int_equal(vfm_channel_finish(ch, NULL), 0);
    vfm_channel_close(ch);
}

static void poll_entries_are_what_was_asked_for(void **state)
{
    struct vfm_channel *end[2];
    struct pollfd fds[2];
    int64_t at;

    (void)state;
    channel_pair(end);
    assert_int_equal(vfm_channel_poll_fds(end[0], false, false, fds, &at), 0);
    assert_int_equal(at, 0);
    assert_int_equal(vfm_channel_poll_fds(end[0], true, false, fds, &at), 1);
    assert_int_equal(fds[0].events, POLLOUT);
    assert_true(at == VFM_CHANNEL_NEVER);
    assert_int_equal(vfm_channel_poll_fds(end[0], false, true, fds, &at), 1);
    assert_int_equal(fds[0].events, POLLIN);
    assert_int_equal(vfm_channel_poll_fds(end[0], true, true, fds, &at), 1);
    assert_int_equal(fds[0].events, POLLIN | POLLOUT);

    /* Sending would fail at once: nothing to wait for. */
    assert_int_equal(vfm_channel_finish(end[0], NULL), 0);
    assert_int_equal(vfm_channel_poll_fds(end[0], true, false, fds, &at), 0);
    assert_int_equal(at, 0);
    close_pair(end);
}

static void waiting_ends_at_its_deadline_or_when_cancelled(void **state)
{
    struct vfm_channel_options opts = options(0);
    struct vfm_channel *ch;
    struct vfm_error err;
    int data[2];
    int cancel[2];

    (void)state;
    assert_int_equal(pipe2(data, O_CLOEXEC), 0);
    assert_int_equal(pipe2(cancel, O_CLOEXEC), 0);
    opts.cancel_fd = cancel[0];
    assert_int_equal(vfm_channel_from_fd(data[0], "slow", &opts, &ch, NULL), 0);
    assert_int_equal(vfm_channel_wait(ch, POLLIN, 1, &err), -ETIMEDOUT);
    expect_message(&err, "slow: the peer took too long");

    assert_int_equal(write(data[1], "x", 1), 1);
    assert_int_equal(vfm_channel_wait(ch, POLLIN, 1, &err), POLLIN);
    assert_int_equal(write(cancel[1], "x", 1), 1);
    assert_int_equal(vfm_channel_wait(ch, POLLIN, VFM_CHANNEL_NEVER, &err),
                     -ECANCELED);
    expect_message(&err, "slow: cancelled");
    vfm_channel_close(ch);
    close(data[1]);
    close(cancel[0]);
    close(cancel[1]);
}

static void the_limit_holds_until_its_time_or_until_lifted(void **state)
{
    static char buf[65536];
    struct iovec iov = { buf, sizeof(buf) };
    struct vfm_channel *end[2];
    struct pollfd fds[2];
    struct vfm_error err;
    int64_t at;

    (void)state;
    channel_pair(end);
    vfm_channel_set_max_bandwidth(end[0], 1000);
    assert_int_equal(vfm_channel_send(end[0], &iov, 1, NULL), 4096);
    assert_int_equal(vfm_channel_send(end[0], &iov, 1, &err), -EAGAIN);
    expect_message(&err, "bandwidth limit");
    /* Two seconds' worth. */
    assert_int_equal(vfm_channel_poll_fds(end[0], true, false, fds, &at), 0);
    assert_in_range(at, soon() - LIMIT_MS * INT64_C(1000000),
                    soon() - (LIMIT_MS - 2100) * INT64_C(1000000));
    assert_int_equal(vfm_channel_wait(end[0], POLLOUT, 1, NULL), -ETIMEDOUT);
    /* It does not hold the other direction. */
    assert_int_equal(vfm_channel_poll_fds(end[0], true, true, fds, &at), 1);
    assert_int_equal(fds[0].events, POLLIN);

    vfm_channel_set_max_bandwidth(end[0], 0);
    assert_int_equal(vfm_channel_wait(end[0], POLLOUT, 1, NULL), POLLOUT);
    assert_int_equal(vfm_channel_send(end[0], &iov, 1, NULL), sizeof(buf));
    assert_true(vfm_channel_limited_ns(end[0]) > 0);
    assert_int_equal(vfm_channel_blocked_ns(end[0]), 0);
    close_pair(end);
}

static void a_limited_transfer_takes_its_time(void **state)
{
    static char buf[100000];
    struct vfm_channel *end[2];
    int64_t begin = soon();

    (void)state;
    channel_pair(end);
    /* A burst of 20,000 at once, 80,000 more in 80 ms. */
    vfm_channel_set_max_bandwidth(end[0], 1000000);
    assert_int_equal(send_all(end[0], buf, sizeof(buf)), 0);
    assert_true(soon() - begin >= 75 * INT64_C(1000000));
    close_pair(end);
}

static void what_is_no_stream_is_refused_and_left_alone(void **state)
{
    struct vfm_channel *ch;
    struct vfm_error err;
    int fd;

    (void)state;
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(vfm_channel_from_fd(fd, "d", NULL, &ch, &err), -EINVAL);
    expect_message(&err, "carries no stream");
    assert_null(ch);
    assert_int_equal(fcntl(fd, F_GETFD), 0);
    close(fd);

    fd = open("/", O_RDONLY);
    assert_int_equal(vfm_channel_from_fd(fd, "d", NULL, &ch, &err), -EINVAL);
    expect_message(&err, "is a directory");
    assert_int_equal(fcntl(fd, F_GETFD), 0);
    close(fd);

    fd = open("/", O_PATH | O_CLOEXEC);
    assert_int_equal(vfm_channel_from_fd(fd, "d", NULL, &ch, &err), -EBADF);
    close(fd);

    assert_int_equal(vfm_channel_from_fd(fd, "d", NULL, &ch, &err), -EBADF);
    expect_message(&err, "Bad file descriptor");
    assert_int_equal(vfm_channel_from_fd(-1, "d", NULL, &ch, NULL), -EBADF);
}

static void a_long_name_is_cut_so_that_the_reason_is_seen(void **state)
{
    char name[4000];
    struct vfm_channel *ch;
    struct vfm_error err;

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(vfm_channel_from_fd(open("/dev/zero", O_CLOEXEC), name,
                                         NULL, &ch, NULL),
                     0);
    assert_true(strlen(vfm_channel_name(ch)) < 100);
    assert_int_equal(vfm_channel_send(ch, &one_byte, 1, &err), -EBADF);
    expect_message(&err, "can only be received from");
    vfm_channel_close(ch);
}

static void options_of_another_version_are_understood(void **state)
{
    struct {
        struct vfm_channel_options known;
        char later[16];
    } opts = { .known = options(1) };
    struct vfm_channel *ch;
    struct vfm_error err;

    (void)state;
    opts.known.size = sizeof(opts);
    assert_int_equal(
        vfm_channel_connect("file:/dev/null", &opts.known, &ch, &err), 0);
    vfm_channel_close(ch);

    opts.later[7] = 1;
    assert_int_equal(
        vfm_channel_connect("file:/dev/null", &opts.known, &ch, &err), -E2BIG);
    assert_null(ch);
    opts.known.size = SIZE_MAX;
    assert_int_equal(
        vfm_channel_connect("file:/dev/null", &opts.known, &ch, &err), -EINVAL);
    opts.known.size = sizeof(size_t);
    assert_int_equal(
        vfm_channel_connect("file:/dev/null", &opts.known, &ch, &err), -EINVAL);
    assert_int_equal(vfm_channel_from_fd(0, "x", &opts.known, &ch, &err),
                     -EINVAL);
}

static void closing_nothing_does_nothing(void **state)
{
    (void)state;
    vfm_channel_close(NULL);
    vfm_listener_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANNEL_TEST(bytes_arrive_in_order),
        CHANNEL_TEST(a_slow_peer_is_counted_as_blocked_time),
        CHANNEL_TEST(many_buffers_are_sent_in_several_calls),
        CHANNEL_TEST(finishing_ends_one_direction_only),
        CHANNEL_TEST(a_peer_that_hung_up_fails_sending_for_good),
        CHANNEL_TEST(a_pipe_without_reader_raises_no_signal),
        CHANNEL_TEST(a_signal_that_the_host_holds_back_stays),
        CHANNEL_TEST(a_pipe_goes_one_way_and_ends_when_finished),
        CHANNEL_TEST(a_descriptor_is_blocking_again_afterwards),
        CHANNEL_TEST(a_descriptor_becomes_close_on_exec),
        CHANNEL_TEST(a_device_that_cannot_be_polled_is_always_ready),
        CHANNEL_TEST(poll_entries_are_what_was_asked_for),
        CHANNEL_TEST(waiting_ends_at_its_deadline_or_when_cancelled),
        CHANNEL_TEST(the_limit_holds_until_its_time_or_until_lifted),
        CHANNEL_TEST(a_limited_transfer_takes_its_time),
        CHANNEL_TEST(what_is_no_stream_is_refused_and_left_alone),
        CHANNEL_TEST(a_long_name_is_cut_so_that_the_reason_is_seen),
        CHANNEL_TEST(options_of_another_version_are_understood),
        CHANNEL_TEST(closing_nothing_does_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
