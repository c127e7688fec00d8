/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a hostile server can do to the suite's client: nothing but be told of.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "check/wire.h"
#include "util/clock.h"

struct ends {
    struct wire wire;
    int server;
};

static int open_ends(void **state)
{
    struct ends *e = calloc(1, sizeof(*e));
    int fds[2];

    assert_non_null(e);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    e->wire = (struct wire){ .fd = fds[0], .next_id = 7, .in_room = 64 };
    e->wire.in = malloc(e->wire.in_room);
    assert_non_null(e->wire.in);
    e->server = fds[1];
    *state = e;
    return 0;
}

static int close_ends(void **state)
{
    struct ends *e = *state;

    wire_close(&e->wire);
    if (e->server >= 0)
        close(e->server);
    free(e);
    return 0;
}

static void put(struct ends *e, struct vfu_header h, const void *payload,
                size_t size)
{
    assert_int_equal(write(e->server, &h, sizeof(h)), sizeof(h));
    if (size > 0)
        assert_int_equal(write(e->server, payload, size), size);
}

static struct vfu_header answer(size_t payload)
{
    return (struct vfu_header){ .id = 7,
                                .command = VFU_DEVICE_RESET,
                                .size = (uint32_t)(16 + payload),
                                .flags = VFU_TYPE_REPLY };
}

/* Asks for a reset; what the server says to that is there already. */
static ssize_t ask(struct ends *e, int *broken)
{
    const struct wire_message m = { .command = VFU_DEVICE_RESET, .fd = -1 };

    *broken = 0;
    return wire_call(&e->wire, &m, clock_deadline(10000), broken);
}

static void an_answer_is_its_payload(void **state)
{
    struct ends *e = *state;
    int broken;

    put(e, answer(3), "abc", 3);
    assert_int_equal(ask(e, &broken), 3);
    assert_memory_equal(e->wire.in, "abc", 3);
    assert_int_equal(broken, 0);
}

static void a_refusal_is_its_errno_and_breaks_nothing(void **state)
{
    struct ends *e = *state;
    struct vfu_header h = answer(5);
    int broken;

    h.flags |= VFU_FLAG_ERROR;
    h.error = EBUSY;
    put(e, h, "hello", 5);
    assert_int_equal(ask(e, &broken), -EBUSY);
    assert_int_equal(broken, 0);
}

static void an_errno_that_is_none_is_eio(void **state)
{
    struct ends *e = *state;
    struct vfu_header h = answer(0);
    int broken;

    h.flags |= VFU_FLAG_ERROR;
    for (uint32_t i = 0; i < 2; i++) {
        h.error = i * UINT32_C(0x80000000);
        h.id = (uint16_t)(7 + i);
        put(e, h, NULL, 0);
        assert_int_equal(ask(e, &broken), -EIO);
    }
}

static void what_is_no_answer_breaks_the_connection(void **state)
{
    struct vfu_header wrong[5];

    for (int i = 0; i < 5; i++)
        wrong[i] = answer(0);
    wrong[0].id = 8;
    wrong[1].command = VFU_DMA_MAP;
    wrong[2].size = 15;
    wrong[3].size = 16 + 65;
    wrong[4].size = UINT32_MAX;
    for (int i = 0; i < 5; i++) {
        struct ends *e = *state;
        int broken;

        put(e, wrong[i], NULL, 0);
        assert_int_equal(ask(e, &broken), -EPROTO);
        assert_int_equal(broken, -EPROTO);
        close_ends(state);
        open_ends(state);
    }
}

static void a_hangup_is_told(void **state)
{
    struct ends *e = *state;
    struct vfu_header h = answer(10);
    int broken;

    put(e, h, "abc", 3);
    close(e->server);
    e->server = -1;
    /* The request cannot be sent, or its answer ends early. */
    assert_true(ask(e, &broken) < 0);
    assert_true(broken == -EPIPE || broken == -ECONNRESET);
}

static void silence_ends_at_the_deadline(void **state)
{
    const struct wire_message m = { .command = VFU_DEVICE_RESET, .fd = -1 };
    struct ends *e = *state;
    int broken = 0;

    assert_int_equal(wire_call(&e->wire, &m, clock_deadline(10), &broken),
                     -ETIMEDOUT);
    assert_int_equal(broken, -ETIMEDOUT);
}

static void commands_of_the_server_are_refused_and_the_answer_awaited(
    void **state)
{
    struct ends *e = *state;
    struct vfu_header command = { .id = 99,
                                  .command = VFU_DMA_READ,
                                  .size = 16 + 16 };
    struct vfu_header got[2];
    int broken;

    put(e, command, "0123456789abcdef", 16);
    put(e, answer(0), NULL, 0);
    assert_int_equal(ask(e, &broken), 0);
    assert_int_equal(read(e->server, got, sizeof(got)), sizeof(got));
    assert_int_equal(got[1].id, 99);
    assert_int_equal(got[1].flags, VFU_TYPE_REPLY | VFU_FLAG_ERROR);
    assert_int_equal(got[1].error, EINVAL);
}

static void a_server_that_never_answers_is_given_up(void **state)
{
    struct ends *e = *state;
    struct vfu_header command = { .command = VFU_DMA_READ,
                                  .size = 16,
                                  .flags = VFU_FLAG_NO_REPLY };
    int broken;

    for (int i = 0; i < 200; i++)
        put(e, command, NULL, 0);
    assert_int_equal(ask(e, &broken), -EPROTO);
    assert_int_equal(broken, -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_ends, close_ends)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_is_its_payload),
        TEST(a_refusal_is_its_errno_and_breaks_nothing),
        TEST(an_errno_that_is_none_is_eio),
        TEST(what_is_no_answer_breaks_the_connection),
        TEST(a_hangup_is_told),
        TEST(silence_ends_at_the_deadline),
        TEST(commands_of_the_server_are_refused_and_the_answer_awaited),
        TEST(a_server_that_never_answers_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
