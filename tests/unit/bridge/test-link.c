/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bridge's connection against servers that ask, pad, lie and hang up.
 */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bridge/link.h"
#include "server.h"
#include "util/clock.h"

/* ----------------------------------------------------------- the client */

static uint8_t memory[4096];

static int read_memory(void *opaque, uint64_t iova, void *buf, size_t len)
{
    (void)opaque;
    if (iova > sizeof(memory) || len > sizeof(memory) - iova)
        return -EFAULT;
    memcpy(buf, memory + iova, len);
    return 0;
}

static int write_memory(void *opaque, uint64_t iova, const void *buf,
                        size_t len)
{
    (void)opaque;
    if (iova > sizeof(memory) || len > sizeof(memory) - iova)
        return -EFAULT;
    memcpy(memory + iova, buf, len);
    return 0;
}

static const struct link_memory ops = { read_memory, write_memory };

/* Asks for four bytes. */
static int ask(struct link *l, uint32_t *answer)
{
    uint32_t question = 0;
    struct exchange x = {
        .command = VFU_DEVICE_GET_INFO,
        .head = &question,
        .head_len = sizeof(question),
        .reply = answer,
        .reply_room = sizeof(*answer),
    };

    return link_call(l, &x);
}

static void open_to(struct server *s, struct link *l, void (*script)(int fd))
{
    server_start(s, script);
    assert_int_equal(link_open(l, s->path, &ops, NULL), 0);
}

/* The script breaks the connection, for good. */
static void expect_broken(void (*script)(int fd))
{
    struct server s = { .json = "{}" };
    struct link l;
    uint32_t answer;

    open_to(&s, &l, script);
    assert_int_equal(ask(&l, &answer), -EIO);
    assert_int_equal(ask(&l, &answer), -EIO);
    link_close(&l);
    server_finish(&s);
}

static void expect_answer(void (*script)(int fd))
{
    struct server s = { .json = "{}" };
    struct link l;
    uint32_t answer = 0;

    open_to(&s, &l, script);
    assert_int_equal(ask(&l, &answer), 0);
    assert_int_equal(answer, 42);
    assert_int_equal(ask(&l, &answer), 0);
    link_close(&l);
    server_finish(&s);
}

/* ------------------------------------------------------------ the version */

static int open_with(uint16_t major, const char *json, struct link *l)
{
    struct server s = { .major = major, .json = json };
    int ret;

    server_start(&s, NULL);
    ret = link_open(l, s.path, &ops, NULL);
    if (ret == 0)
        link_close(l);
    server_finish(&s);
    return ret;
}

static void another_major_version_is_refused(void **state)
{
    struct link l;

    (void)state;
    assert_int_equal(open_with(1, "{}", &l), -EPROTONOSUPPORT);
}

static void nobody_at_the_socket_is_told(void **state)
{
    struct link l;

    (void)state;
    assert_int_equal(link_open(&l, "/nowhere/s", &ops, NULL), -ENOENT);
}

static void limits_are_kept_within_bounds(void **state)
{
    struct link l;

    (void)state;
    assert_int_equal(open_with(0, "", &l), 0);
    assert_int_equal(l.max_fds, 1);
    assert_int_equal(l.max_xfer, 1 << 20);
    assert_int_equal(
        open_with(0,
                  "{\"capabilities\": {\"max_msg_fds\" : 99999999999999,"
                  " \"max_data_xfer_size\":1}}",
                  &l),
        0);
    assert_int_equal(l.max_fds, WIRE_MAX_FDS);
    assert_int_equal(l.max_xfer, 512);
    assert_int_equal(
        open_with(0, "{\"max_msg_fds\":-1,\"max_data_xfer_size\":\"x\"", &l),
        0);
    assert_int_equal(l.max_fds, 1);
}

/* --------------------------------------------------------------- replies */

static const uint32_t right = 42;

static void pad(int fd)
{
    uint8_t padded[1024] = { 42 };

    server_reply(fd, server_next(fd), padded, sizeof(padded));
    server_reply(fd, server_next(fd), &right, sizeof(right));
}

static void a_padded_reply_is_drained(void **state)
{
    (void)state;
    expect_answer(pad);
}

static void refuse_in_several_ways(int fd)
{
    server_refuse(fd, server_next(fd), EBUSY);
    server_refuse(fd, server_next(fd), 0);
    server_refuse(fd, server_next(fd), UINT32_MAX);
}

static void a_refusal_is_the_servers_errno(void **state)
{
    struct server s = { .json = "{}" };
    struct link l;
    uint32_t answer;

    (void)state;
    open_to(&s, &l, refuse_in_several_ways);
    assert_int_equal(ask(&l, &answer), -EBUSY);
    assert_int_equal(ask(&l, &answer), -EIO);
    assert_int_equal(ask(&l, &answer), -EIO);
    assert_int_equal(l.broken, 0);
    link_close(&l);
    server_finish(&s);
}

static void answer_another(int fd)
{
    struct vfu_header head = server_next(fd);

    head.id++;
    server_reply(fd, head, &right, sizeof(right));
}

static void answer_with_size(int fd, uint32_t size)
{
    struct vfu_header head = server_next(fd);

    head.flags = VFU_TYPE_REPLY;
    head.size = size;
    server_put(fd, head, NULL, 0);
}

static void answer_too_small(int fd)
{
    answer_with_size(fd, sizeof(struct vfu_header) - 1);
}

static void answer_too_large(int fd)
{
    answer_with_size(fd, UINT32_MAX);
}

static void answer_of_no_type(int fd)
{
    struct vfu_header head = server_next(fd);

    head.flags = 7;
    server_put(fd, head, NULL, 0);
}

static void hang_up(int fd)
{
    server_next(fd);
}

static void hang_up_in_the_middle(int fd)
{
    answer_with_size(fd, sizeof(struct vfu_header) + 4);
}

static void what_makes_no_sense_ends_the_connection(void **state)
{
    (void)state;
    expect_broken(answer_another);
    expect_broken(answer_too_small);
    expect_broken(answer_too_large);
    expect_broken(answer_of_no_type);
    expect_broken(hang_up);
    expect_broken(hang_up_in_the_middle);
}

/* --------------------------------------------------- the server's commands */

/* Asks for @count bytes at @iova; returns the error, or -1 for a reply that is
 * not one. */
static int ask_memory(int fd, uint64_t iova, uint64_t count, uint8_t *data)
{
    struct vfu_header head = { .id = 9,
                               .command = VFU_DMA_READ,
                               .size = sizeof(head) + 16 };
    struct vfu_dma_access a = { iova, count };

    server_put(fd, head, &a, sizeof(a));
    if (!server_get(fd, &head, sizeof(head)) || head.id != 9 ||
        (head.flags & VFU_TYPE_MASK) != VFU_TYPE_REPLY)
        return -1;
    if ((head.flags & VFU_FLAG_ERROR) != 0)
        return (int)head.error;
    if (head.size != sizeof(head) + sizeof(a) + count ||
        !server_get(fd, &a, sizeof(a)) || !server_get(fd, data, count))
        return -1;
    return 0;
}

static void ask_before_answering(int fd)
{
    struct vfu_header head = server_next(fd);
    uint8_t data[8];
    bool ok = ask_memory(fd, 8, sizeof(data), data) == 0 &&
              memcmp(data, memory + 8, sizeof(data)) == 0 &&
              ask_memory(fd, 1 << 20, 8, data) == EFAULT &&
              ask_memory(fd, 0, UINT64_MAX, data) == EINVAL;

    if (ok)
        server_reply(fd, head, &right, sizeof(right));
    server_reply(fd, server_next(fd), &right, sizeof(right));
}

static void the_server_may_ask_before_it_answers(void **state)
{
    (void)state;
    memset(memory, 0xa5, sizeof(memory));
    expect_answer(ask_before_answering);
}

/* Posted when the server was answered. */
static sem_t answered;

static void ask_alone(int fd)
{
    uint8_t data[8];

    if (ask_memory(fd, 0, sizeof(data), data) != 0)
        return; /* and nobody posts */
    sem_post(&answered);
    server_reply(fd, server_next(fd), &right, sizeof(right));
    server_reply(fd, server_next(fd), &right, sizeof(right));
}

static void the_server_may_ask_while_nobody_calls(void **state)
{
    struct server s = { .json = "{}" };
    struct link l;
    struct timespec end;
    uint32_t answer = 0;

    (void)state;
    sem_init(&answered, 0, 0);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += SERVER_DEADLINE_S;
    open_to(&s, &l, ask_alone);
    assert_int_equal(link_serve(&l), 0);
    assert_int_equal(sem_timedwait(&answered, &end), 0);
    assert_int_equal(ask(&l, &answer), 0);
    assert_int_equal(ask(&l, &answer), 0);
    link_close(&l);
    server_finish(&s);
}

static void answer_all(int fd)
{
    struct vfu_header head;

    while ((head = server_next(fd)).size != 0)
        server_reply(fd, head, &right, sizeof(right));
}

/* The device's memory would be silent, and nobody would know. */
static void a_connection_of_the_servers_that_ends_is_the_end(void **state)
{
    struct server s = { .json = "{}" };
    struct link l;
    int64_t end = clock_now() + SERVER_DEADLINE_S * NS_PER_SEC;
    uint32_t answer;
    int twin[2];
    int ret;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, twin), 0);
    open_to(&s, &l, answer_all);
    l.twin_fd = twin[0];
    assert_int_equal(link_serve(&l), 0);
    assert_int_equal(ask(&l, &answer), 0);
    close(twin[1]);
    do {
        ret = ask(&l, &answer);
    } while (ret == 0 && clock_now() < end);
    assert_int_equal(ret, -EIO);
    link_close(&l);
    server_finish(&s);
}

static void ask_the_unknown(int fd)
{
    struct vfu_header head = server_next(fd);
    struct vfu_header odd = { .id = 1, .command = 77, .size = sizeof(odd) + 8 };
    uint64_t data = 0;

    server_put(fd, odd, &data, sizeof(data));
    if (server_get(fd, &odd, sizeof(odd)) && odd.error == EINVAL)
        server_reply(fd, head, &right, sizeof(right));
    server_reply(fd, server_next(fd), &right, sizeof(right));
}

static void an_unknown_command_is_refused(void **state)
{
    (void)state;
    expect_answer(ask_the_unknown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_major_version_is_refused),
        cmocka_unit_test(nobody_at_the_socket_is_told),
        cmocka_unit_test(limits_are_kept_within_bounds),
        cmocka_unit_test(a_padded_reply_is_drained),
        cmocka_unit_test(a_refusal_is_the_servers_errno),
        cmocka_unit_test(what_makes_no_sense_ends_the_connection),
        cmocka_unit_test(the_server_may_ask_before_it_answers),
        cmocka_unit_test(the_server_may_ask_while_nobody_calls),
        cmocka_unit_test(a_connection_of_the_servers_that_ends_is_the_end),
        cmocka_unit_test(an_unknown_command_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
