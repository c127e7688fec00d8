/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frames of a bench: a side that trickles does not hold the other.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench-wire.h"
#include "util/clock.h"

#define SOON_MS 20

static struct vfm_channel *ch;
static int peer;

static int connect_both(void **state)
{
    struct vfm_channel_options opts = VFM_CHANNEL_OPTIONS_INIT;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(vfm_channel_from_fd(fds[0], "peer", &opts, &ch, NULL), 0);
    peer = fds[1];
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    vfm_channel_close(ch);
    close(peer);
    return 0;
}

static void what_is_sent_is_received(void **state)
{
    struct wire wire = { .type = WIRE_RESULT, .a = 1, .b = UINT64_MAX, .c = 3 };
    struct wire got;
    char frame[64];
    ssize_t n;

    (void)state;
    assert_int_equal(wire_send(ch, &wire, NULL), 0);
    n = read(peer, frame, sizeof(frame));
    assert_int_equal(n, 32);
    assert_int_equal(write(peer, frame, (size_t)n), n);
    assert_int_equal(
        wire_recv(ch, WIRE_RESULT, &got, clock_deadline(WIRE_TIMEOUT_MS), NULL),
        0);
    assert_int_equal(got.type, wire.type);
    assert_int_equal(got.a, wire.a);
    assert_int_equal(got.b, wire.b);
    assert_int_equal(got.c, wire.c);
}

static void half_a_frame_is_not_waited_for_for_ever(void **state)
{
    struct vfm_error err = { 0 };
    struct wire wire;

    (void)state;
    assert_int_equal(write(peer, "vfmB", 4), 4);
    assert_int_equal(wire_recv(ch, 0, &wire, clock_deadline(SOON_MS), &err),
                     -ETIMEDOUT);
}

/* Takes all that is sent, until it is closed. */
static void *drain(void *arg)
{
    static char piece[1 << 16];

    (void)arg;
    while (read(peer, piece, sizeof(piece)) > 0)
        continue;
    return NULL;
}

/* It goes on all the time, and is too much. */
static void bulk_has_one_deadline_in_all(void **state)
{
    struct vfm_error err = { 0 };
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, drain, NULL), 0);
    assert_int_equal(
        wire_send_bulk(ch, WIRE_BULK_MAX, clock_deadline(SOON_MS), &err),
        -ETIMEDOUT);
    vfm_channel_close(ch);
    ch = NULL;
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_sent_is_received, connect_both,
                                        close_both),
        cmocka_unit_test_setup_teardown(half_a_frame_is_not_waited_for_for_ever,
                                        connect_both, close_both),
        cmocka_unit_test_setup_teardown(bulk_has_one_deadline_in_all,
                                        connect_both, close_both),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
