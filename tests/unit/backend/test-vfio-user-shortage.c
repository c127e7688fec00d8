/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel that has no memory for a message: for a moment, and for good.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/vfio-user/wire.h"

static int64_t now = 1;
static int shortage; /* what sending and receiving fail with, or 0 */

int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    (void)clock;
    t->tv_sec = now / 1000000000;
    t->tv_nsec = now % 1000000000;
    return 0;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    errno = shortage;
    return shortage != 0 ? -1 : __real_sendmsg(fd, msg, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
    errno = shortage;
    return shortage != 0 ? -1 : __real_recvmsg(fd, msg, flags);
}

static struct wire ours;
static struct wire theirs;
static struct vfu_header header;
static const struct iovec message = { &header, sizeof(header) };

static int begin(void **state)
{
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    wire_init(&ours, pair[0]);
    wire_init(&theirs, pair[1]);
    header.size = sizeof(header);
    shortage = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    wire_close(&ours);
    wire_close(&theirs);
    return 0;
}

static void what_could_not_be_sent_is_sent_later(void **state)
{
    (void)state;
    shortage = ENOBUFS;
    assert_int_equal(wire_send(&ours, &message, 1, NULL, 0), 0);
    assert_int_equal(wire_flush(&ours), -EAGAIN);
    shortage = 0;
    assert_int_equal(wire_receive_header(&theirs), -EAGAIN);
    assert_int_equal(wire_flush(&ours), 0);
    assert_int_equal(wire_receive_header(&theirs), 0);
}

static void what_could_not_be_received_is_received_later(void **state)
{
    (void)state;
    assert_int_equal(wire_send(&ours, &message, 1, NULL, 0), 0);
    shortage = ENOMEM;
    assert_int_equal(wire_receive_header(&theirs), -EAGAIN);
    shortage = 0;
    assert_int_equal(wire_receive_header(&theirs), 0);
}

static void a_shortage_that_does_not_end_is_a_failure(void **state)
{
    (void)state;
    assert_int_equal(wire_send(&ours, &message, 1, NULL, 0), 0);
    shortage = ENOMEM;
    assert_int_equal(wire_receive_header(&theirs), -EAGAIN);
    assert_int_equal(wire_try_send(&ours, &message, 1), -EAGAIN);
    now += WIRE_SHORTAGE_NS - 1;
    assert_int_equal(wire_receive_header(&theirs), -EAGAIN);
    assert_int_equal(wire_try_send(&ours, &message, 1), -EAGAIN);
    now++;
    assert_int_equal(wire_receive_header(&theirs), -ENOMEM);
    assert_int_equal(wire_try_send(&ours, &message, 1), -ENOMEM);
}

static void each_shortage_has_its_own_time(void **state)
{
    (void)state;
    assert_int_equal(wire_send(&ours, &message, 1, NULL, 0), 0);
    shortage = ENOMEM;
    assert_int_equal(wire_receive_header(&theirs), -EAGAIN);
    now += WIRE_SHORTAGE_NS - 1;
    shortage = 0;
    assert_int_equal(wire_receive_header(&theirs), 0);
    wire_next_message(&theirs);
    now += WIRE_SHORTAGE_NS;
    shortage = ENOMEM;
    assert_int_equal(wire_receive_header(&theirs), -EAGAIN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_could_not_be_sent_is_sent_later),
        TEST(what_could_not_be_received_is_received_later),
        TEST(a_shortage_that_does_not_end_is_a_failure),
        TEST(each_shortage_has_its_own_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
