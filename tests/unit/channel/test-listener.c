/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * unix:, tcp: and fd: finding each other: who listens, who may take over, who
 * gives up when.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fixture.h"

/* Time enough to fail in. */
/* More than any listener lets wait. */
#define MANY     256
#define SHORT_MS 50

static struct vfm_listener *listen_at(const char *uri, uint32_t timeout_ms)
{
    struct vfm_channel_options opts = options(timeout_ms);
    struct vfm_listener *lis;
    struct vfm_error err;

    if (vfm_listener_open(uri, &opts, &lis, &err) < 0)
        fail_msg("%s", err.message);
    return lis;
}

static struct vfm_channel *accept_from(struct vfm_listener *lis)
{
    struct vfm_channel *ch;
    struct vfm_error err;

    if (vfm_listener_accept(lis, &ch, &err) < 0)
        fail_msg("%s", err.message);
    return ch;
}

/* A byte there and a byte back between @source and @target. */
static void expect_connected(struct vfm_channel *source,
                             struct vfm_channel *target)
{
    char byte;

    assert_int_equal(send_text(source, "a"), 0);
    assert_int_equal(recv_all(target, &byte, 1), 1);
    assert_int_equal(byte, 'a');
    assert_int_equal(send_text(target, "b"), 0);
    assert_int_equal(recv_all(source, &byte, 1), 1);
    assert_int_equal(byte, 'b');
}

/* Connects to @lis at @uri and checks that bytes go both ways. */
static void meet(struct vfm_listener *lis, const char *uri)
{
    struct vfm_channel *source = connect_to(uri);
    struct vfm_channel *target = accept_from(lis);

    assert_true(vfm_channel_is_duplex(source));
    assert_true(vfm_channel_is_duplex(target));
    assert_string_equal(vfm_channel_name(source), uri);
    expect_connected(source, target);
    vfm_channel_close(source);
    vfm_channel_close(target);
}

static void expect_refused(const char *uri, int code, const char *why)
{
    struct vfm_channel_options opts = options(SHORT_MS);
    struct vfm_channel *ch;
    struct vfm_error err;

    assert_int_equal(vfm_channel_connect(uri, &opts, &ch, &err), code);
    assert_null(ch);
    expect_message(&err, why);
}

static void expect_no_listener(const char *uri, int code, const char *why)
{
    struct vfm_listener *lis;
    struct vfm_error err;

    assert_int_equal(vfm_listener_open(uri, NULL, &lis, &err), code);
    assert_null(lis);
    expect_message(&err, why);
}

static bool have_ipv6(void)
{
    struct vfm_listener *lis;
    bool have = vfm_listener_open("tcp:[::1]:0", NULL, &lis, NULL) == 0;

    vfm_listener_close(lis);
    return have;
}

static void unix_peers_meet(void **state)
{
    const char *uri = uri_of("unix:", "sock");
    struct vfm_listener *lis = listen_at(uri, LIMIT_MS);

    (void)state;
    assert_string_equal(vfm_listener_address(lis), uri);
    meet(lis, uri);
    /* And again: it goes on listening. */
    meet(lis, uri);
    vfm_listener_close(lis);
    assert_int_equal(count_entries(), 0);
}

static void tcp_peers_meet_at_the_port_that_was_free(void **state)
{
    struct vfm_listener *lis = listen_at("tcp:127.0.0.1:0", LIMIT_MS);
    const char *address = vfm_listener_address(lis);
    struct vfm_channel *source;
    struct vfm_channel *target;

    (void)state;
    assert_memory_equal(address, "tcp:127.0.0.1:", 14);
    assert_true(atoi(address + 14) > 0);
    meet(lis, address);

    source = connect_to(address);
    target = accept_from(lis);
    assert_memory_equal(vfm_channel_name(target), "tcp:127.0.0.1:", 14);
    assert_string_not_equal(vfm_channel_name(target), address);
    vfm_channel_close(source);
    vfm_channel_close(target);
    vfm_listener_close(lis);
}

static void ipv6_peers_meet(void **state)
{
    struct vfm_listener *lis;

    (void)state;
    if (!have_ipv6())
        skip();
    lis = listen_at("tcp:[::1]:0", LIMIT_MS);
    assert_memory_equal(vfm_listener_address(lis), "tcp:[::1]:", 10);
    meet(lis, vfm_listener_address(lis));
    vfm_listener_close(lis);
}

static void any_address_is_reached_by_every_family(void **state)
{
    struct vfm_listener *lis = listen_at("tcp::0", LIMIT_MS);
    const char *port = strrchr(vfm_listener_address(lis), ':');
    char uri[64];

    (void)state;
    snprintf(uri, sizeof(uri), "tcp:127.0.0.1%s", port);
    meet(lis, uri);
    snprintf(uri, sizeof(uri), "tcp:localhost%s", port);
    meet(lis, uri);
    if (have_ipv6()) {
        snprintf(uri, sizeof(uri), "tcp:[::1]%s", port);
        meet(lis, uri);
    }
    vfm_listener_close(lis);
}

static void a_listener_can_be_polled_for_a_peer(void **state)
{
    struct vfm_listener *lis = listen_at("tcp:127.0.0.1:0", 1);
    struct pollfd pfd = { .fd = vfm_listener_fd(lis), .events = POLLIN };
    struct vfm_channel *source;
    struct vfm_channel *target;

    (void)state;
    assert_int_equal(poll(&pfd, 1, 0), 0);
    source = connect_to(vfm_listener_address(lis));
    assert_int_equal(poll(&pfd, 1, LIMIT_MS), 1);
    target = accept_from(lis);
    vfm_channel_close(source);
    vfm_channel_close(target);
    vfm_listener_close(lis);
}

static void nobody_there_within_the_time_is_a_timeout(void **state)
{
    struct vfm_listener *lis = listen_at("tcp:127.0.0.1:0", LIMIT_MS);
    char gone[64];

    (void)state;
    snprintf(gone, sizeof(gone), "%s", vfm_listener_address(lis));
    vfm_listener_close(lis);

    expect_refused(gone, -ETIMEDOUT, "within 50 ms: Connection refused");
    expect_refused(uri_of("unix:", "sock"), -ETIMEDOUT,
                   "within 50 ms: No such file or directory");
}

static void what_waiting_does_not_cure_fails_at_once(void **state)
{
    struct vfm_channel_options opts = options(0);
    struct vfm_channel *ch;
    struct vfm_error err;

    (void)state;
    write_file(path_of("file"), "");
    assert_int_equal(
        vfm_channel_connect(uri_of("unix:", "file/sock"), &opts, &ch, &err),
        -ENOTDIR);
    expect_message(&err, "Not a directory");
    assert_int_equal(
        vfm_channel_connect("tcp:[::1%nowhere]:1", &opts, &ch, &err), -ENXIO);
    expect_message(&err, "no address for host ::1%nowhere");
}

static void a_full_backlog_is_waited_for(void **state)
{
    const char *uri = uri_of("unix:", "sock");
    struct vfm_listener *lis = listen_at(uri, LIMIT_MS);
    struct vfm_channel_options opts = options(SHORT_MS);
    struct vfm_channel *ch[MANY];
    struct vfm_error err;
    int n = 0;

    (void)state;
    while (vfm_channel_connect(uri, &opts, &ch[n], &err) == 0)
        assert_true(++n < MANY);
    assert_int_equal(err.code, -ETIMEDOUT);
    while (n > 0)
        vfm_channel_close(ch[--n]);
    vfm_listener_close(lis);
}

static void a_receiver_gives_up_after_its_time(void **state)
{
    struct vfm_listener *lis = listen_at("tcp:127.0.0.1:0", SHORT_MS);
    struct vfm_channel *ch;
    struct vfm_error err;

    (void)state;
    assert_int_equal(vfm_listener_accept(lis, &ch, &err), -ETIMEDOUT);
    assert_null(ch);
    expect_message(&err, "nobody connected within 50 ms");
    /* It still listens. */
    meet(lis, vfm_listener_address(lis));
    vfm_listener_close(lis);
}

static void both_sides_give_up_when_cancelled(void **state)
{
    struct vfm_channel_options opts = options(0);
    struct vfm_listener *lis;
    struct vfm_channel *ch;
    struct vfm_error err;

    (void)state;
    opts.cancel_fd = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(
        vfm_channel_connect(uri_of("unix:", "sock"), &opts, &ch, &err),
        -ECANCELED);
    expect_message(&err, "cancelled");
    assert_int_equal(vfm_listener_open("tcp:127.0.0.1:0", &opts, &lis, NULL),
                     0);
    assert_int_equal(vfm_listener_accept(lis, &ch, &err), -ECANCELED);
    expect_message(&err, "cancelled");
    vfm_listener_close(lis);
    close(opts.cancel_fd);
}

static void *connect_in_thread(void *uri)
{
    return connect_to(uri);
}

static void a_sender_that_is_early_waits_for_the_receiver(void **state)
{
    char uri[128];
    struct vfm_channel *target;
    pthread_t thread;
    void *source;

    (void)state;
    snprintf(uri, sizeof(uri), "%s", uri_of("unix:", "sock"));
    assert_int_equal(pthread_create(&thread, NULL, connect_in_thread, uri), 0);
    target = accept_at(uri);
    assert_int_equal(pthread_join(thread, &source), 0);
    expect_connected(source, target);
    vfm_channel_close(source);
    vfm_channel_close(target);
    assert_int_equal(count_entries(), 0);
}

/* Leaves a socket behind as a listener that was killed does. */
static int bind_socket(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static void a_dead_listeners_socket_is_taken_over(void **state)
{
    struct vfm_listener *lis;

    (void)state;
    close(bind_socket(path_of("sock")));
    lis = listen_at(uri_of("unix:", "sock"), LIMIT_MS);
    meet(lis, uri_of("unix:", "sock"));
    vfm_listener_close(lis);
    assert_int_equal(count_entries(), 0);
}

static void a_living_listener_is_neither_replaced_nor_disturbed(void **state)
{
    const char *uri = uri_of("unix:", "sock");
    struct vfm_listener *lis = listen_at(uri, SHORT_MS);
    struct vfm_channel *ch;

    (void)state;
    expect_no_listener(uri, -EADDRINUSE, "somebody else does");
    /* The attempt was no peer. */
    assert_int_equal(vfm_listener_accept(lis, &ch, NULL), -ETIMEDOUT);
    meet(lis, uri);
    vfm_listener_close(lis);
}

/* What getaddrinfo() returns next, instead of looking; 0: it looks. */
static int look_up_fails;

int __wrap_getaddrinfo(const char *host, const char *port,
                       const struct addrinfo *hints, struct addrinfo **list);
int __real_getaddrinfo(const char *host, const char *port,
                       const struct addrinfo *hints, struct addrinfo **list);

int __wrap_getaddrinfo(const char *host, const char *port,
                       const struct addrinfo *hints, struct addrinfo **list)
{
    int ret = look_up_fails;

    look_up_fails = 0;
    return ret != 0 ? ret : __real_getaddrinfo(host, port, hints, list);
}

static void a_look_up_that_fails_says_why(void **state)
{
    (void)state;
    look_up_fails = EAI_MEMORY;
    expect_refused("tcp:127.0.0.1:1", -ENOMEM,
                   "no address for host 127.0.0.1: Cannot allocate memory");
    look_up_fails = EAI_SYSTEM;
    errno = EMFILE;
    expect_refused("tcp:127.0.0.1:1", -ENXIO, "Too many open files");
    look_up_fails = EAI_NONAME;
    expect_refused("tcp:127.0.0.1:1", -ENXIO, "Name or service not known");
}

static void a_tcp_port_that_is_taken_is_refused(void **state)
{
    struct vfm_listener *lis = listen_at("tcp:127.0.0.1:0", LIMIT_MS);

    (void)state;
    expect_no_listener(vfm_listener_address(lis), -EADDRINUSE,
                       "cannot listen: Address already in use");
    vfm_listener_close(lis);
}

static void nothing_but_a_socket_is_removed(void **state)
{
    (void)state;
    write_file(path_of("precious"), "data");
    expect_no_listener(uri_of("unix:", "precious"), -EEXIST, "is no socket");
    expect_file(path_of("precious"), "data");

    assert_int_equal(symlink("nowhere", path_of("link")), 0);
    expect_no_listener(uri_of("unix:", "link"), -EEXIST, "is no socket");
    assert_int_equal(count_entries(), 2);

    expect_no_listener(uri_of("unix:", "no/such/dir"), -ENOENT,
                       "No such file or directory");
    expect_no_listener("tcp:192.0.2.1:0", -EADDRNOTAVAIL, "cannot listen");
}

static void a_path_that_somebody_took_over_stays(void **state)
{
    struct vfm_listener *lis = listen_at(uri_of("unix:", "sock"), LIMIT_MS);

    (void)state;
    assert_int_equal(unlink(path_of("sock")), 0);
    write_file(path_of("sock"), "somebody else's");
    vfm_listener_close(lis);
    expect_file(path_of("sock"), "somebody else's");
}

static void a_listening_descriptor_is_accepted_from(void **state)
{
    int fd = bind_socket(path_of("sock"));
    struct vfm_listener *lis;
    char uri[32];

    (void)state;
    assert_int_equal(listen(fd, 1), 0);
    snprintf(uri, sizeof(uri), "fd:%d", fd);
    lis = listen_at(uri, LIMIT_MS);
    assert_int_equal(vfm_listener_fd(lis), fd);
    meet(lis, uri_of("unix:", "sock"));
    meet(lis, uri_of("unix:", "sock"));
    vfm_listener_close(lis);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void a_connected_descriptor_is_accepted_once(void **state)
{
    struct vfm_listener *lis;
    struct vfm_channel *target;
    struct vfm_channel *again;
    struct vfm_channel *source;
    char uri[32];
    int fd[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    snprintf(uri, sizeof(uri), "fd:%d", fd[0]);
    lis = listen_at(uri, LIMIT_MS);
    assert_int_equal(vfm_listener_fd(lis), -1);
    target = accept_from(lis);
    assert_int_equal(vfm_listener_accept(lis, &again, NULL), -EALREADY);
    vfm_listener_close(lis);

    snprintf(uri, sizeof(uri), "fd:%d", fd[1]);
    source = connect_to(uri);
    expect_connected(source, target);
    vfm_channel_close(source);
    vfm_channel_close(target);
}

static void a_descriptor_of_the_wrong_direction_stays_as_it_was(void **state)
{
    struct vfm_channel *ch;
    struct vfm_error err;
    char uri[32];
    int fd[2];

    (void)state;
    assert_int_equal(pipe(fd), 0);
    snprintf(uri, sizeof(uri), "fd:%d", fd[0]);
    assert_int_equal(vfm_channel_connect(uri, NULL, &ch, &err), -EBADF);
    expect_message(&err, "is not open for writing");
    snprintf(uri, sizeof(uri), "fd:%d", fd[1]);
    assert_int_equal(vfm_channel_accept(uri, NULL, &ch, &err), -EBADF);
    expect_message(&err, "is not open for reading");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fcntl(fd[i], F_GETFD), 0);
        assert_false(fcntl(fd[i], F_GETFL) & O_NONBLOCK);
        close(fd[i]);
    }
    assert_int_equal(vfm_channel_connect(uri, NULL, &ch, &err), -EBADF);
    assert_int_equal(vfm_channel_accept(uri, NULL, &ch, &err), -EBADF);
}

static void a_broken_connection_fails_receiving_for_good(void **state)
{
    const struct linger at_once = { .l_onoff = 1 };
    struct vfm_listener *lis = listen_at("tcp:127.0.0.1:0", LIMIT_MS);
    struct vfm_channel *source = connect_to(vfm_listener_address(lis));
    struct vfm_channel *target = accept_from(lis);
    struct vfm_error err;
    struct pollfd fds[2];
    int64_t at;
    char byte;

    (void)state;
    assert_int_equal(vfm_channel_poll_fds(source, true, false, fds, &at), 1);
    setsockopt(fds[0].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    vfm_channel_close(source);

    assert_int_equal(vfm_channel_wait(target, POLLIN, soon(), NULL), POLLIN);
    assert_int_equal(vfm_channel_recv(target, &byte, 1, &err), -ECONNRESET);
    expect_message(&err, "cannot receive: Connection reset by peer");
    assert_int_equal(vfm_channel_recv(target, &byte, 1, NULL), -ECONNRESET);
    assert_int_equal(vfm_channel_wait(target, POLLIN, 1, NULL), POLLIN);
    vfm_channel_close(target);
    vfm_listener_close(lis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANNEL_TEST(unix_peers_meet),
        CHANNEL_TEST(tcp_peers_meet_at_the_port_that_was_free),
        CHANNEL_TEST(ipv6_peers_meet),
        CHANNEL_TEST(any_address_is_reached_by_every_family),
        CHANNEL_TEST(a_listener_can_be_polled_for_a_peer),
        CHANNEL_TEST(nobody_there_within_the_time_is_a_timeout),
        CHANNEL_TEST(what_waiting_does_not_cure_fails_at_once),
        CHANNEL_TEST(a_full_backlog_is_waited_for),
        CHANNEL_TEST(a_receiver_gives_up_after_its_time),
        CHANNEL_TEST(both_sides_give_up_when_cancelled),
        CHANNEL_TEST(a_sender_that_is_early_waits_for_the_receiver),
        CHANNEL_TEST(a_dead_listeners_socket_is_taken_over),
        CHANNEL_TEST(a_living_listener_is_neither_replaced_nor_disturbed),
        CHANNEL_TEST(a_look_up_that_fails_says_why),
        CHANNEL_TEST(a_tcp_port_that_is_taken_is_refused),
        CHANNEL_TEST(nothing_but_a_socket_is_removed),
        CHANNEL_TEST(a_path_that_somebody_took_over_stays),
        CHANNEL_TEST(a_listening_descriptor_is_accepted_from),
        CHANNEL_TEST(a_connected_descriptor_is_accepted_once),
        CHANNEL_TEST(a_descriptor_of_the_wrong_direction_stays_as_it_was),
        CHANNEL_TEST(a_broken_connection_fails_receiving_for_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
