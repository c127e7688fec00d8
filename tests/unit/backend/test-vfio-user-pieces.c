/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several accesses in one call: asked for without waiting, and each with an
 * outcome of its own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "backend/vfio-user/client.h"
#include "device/device.h"
#include "fake-server.h"

#define CONFIG 7
#define COUNT  (PIECES_DEPTH + 2)

/* The message of that number finds the socket full, and then there is no memory
 * to keep it in; 0: none does. */
static unsigned int short_at;
static bool is_short;

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    if (short_at == 0 || --short_at > 0)
        return __real_sendmsg(fd, msg, flags);
    is_short = true;
    errno = EAGAIN;
    return -1;
}

void *__wrap_malloc(size_t size)
{
    if (!is_short)
        return __real_malloc(size);
    is_short = false;
    errno = ENOMEM;
    return NULL;
}

static struct fake_server f;
static struct vfm_device *dev;
static uint8_t bytes[COUNT][64];
static struct device_access accesses[COUNT];
static struct vfm_error err;

static int set_up(void **state)
{
    (void)state;
    dev = fake_open(&f, NULL);
    f.asked[VFU_REGION_READ] = 0;
    for (size_t i = 0; i < sizeof(f.config); i++)
        f.config[i] = (uint8_t)(i * 7);
    for (unsigned int i = 0; i < COUNT; i++)
        accesses[i] = (struct device_access){
            .region = CONFIG,
            .offset = 100 * i,
            .buf = bytes[i],
            .len = sizeof(bytes[i]),
            .ret = 1,
        };
    memset(bytes, 0xee, sizeof(bytes));
    err = (struct vfm_error){ 0 };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_close(&f, dev);
    return 0;
}

static struct device_call call_of(enum device_op op)
{
    return (struct device_call){
        .op = op,
        .accesses = accesses,
        .num_accesses = COUNT,
    };
}

static int finish(struct device_call *call)
{
    int ret;

    while ((ret = device_call_finish(dev, call, &err)) == -EAGAIN)
        assert_int_equal(device_wait(dev, NULL), 0);
    return ret;
}

static int make(enum device_op op)
{
    struct device_call call = call_of(op);

    assert_int_equal(device_call_start(dev, &call, NULL), 0);
    return finish(&call);
}

static void expect(unsigned int i, bool is_read)
{
    assert_int_equal(accesses[i].ret, 0);
    assert_int_equal(
        memcmp(bytes[i], f.config + 100 * (size_t)i, sizeof(bytes[i])) == 0,
        is_read);
}

/* The server has not answered any of them yet. */
static void as_many_are_asked_for_at_once_as_may_be_under_way(void **state)
{
    struct device_call call = call_of(DEVICE_REGION_READ);

    (void)state;
    assert_int_equal(device_call_start(dev, &call, NULL), 0);
    f.silent = true;
    fake_serve(&f);
    assert_int_equal(f.asked[VFU_REGION_READ], PIECES_DEPTH);
    assert_int_equal(device_call_finish(dev, &call, &err), -EAGAIN);
    fake_serve(&f);
    assert_int_equal(f.asked[VFU_REGION_READ], PIECES_DEPTH);
    assert_int_equal(finish(&call), -ETIMEDOUT);
    assert_string_equal(err.message, "fake: cannot read region 7 at 0x0: no "
                                     "answer to REGION_READ within 5000 ms");
}

static void every_read_fills_its_own_buffer(void **state)
{
    (void)state;
    assert_int_equal(make(DEVICE_REGION_READ), 0);
    for (unsigned int i = 0; i < COUNT; i++)
        expect(i, true);
    assert_int_equal(f.asked[VFU_REGION_READ], COUNT);
}

static void refuse_denied(struct fake_server *server,
                          const struct fake_message *m)
{
    fake_refuse(server, m, EACCES);
}

/* The second: those that are asked for later are answered, too. */
static void pass_one_then_refuse(struct fake_server *server,
                                 const struct fake_message *m)
{
    server->next[m->header.command] = refuse_denied;
    fake_answer(server, m);
}

static void a_read_that_is_refused_leaves_the_others(void **state)
{
    (void)state;
    f.next[VFU_REGION_READ] = pass_one_then_refuse;
    assert_int_equal(make(DEVICE_REGION_READ), -EACCES);
    assert_string_equal(err.message, "fake: cannot read region 7 at 0x64: "
                                     "Permission denied");
    assert_int_equal(accesses[1].ret, -EACCES);
    assert_int_equal(bytes[1][0], 0xee);
    for (unsigned int i = 0; i < COUNT; i++)
        if (i != 1)
            expect(i, true);
}

static void answer_too_little(struct fake_server *server,
                              const struct fake_message *m)
{
    static const uint8_t reply[16 + 3];

    fake_reply(server, m, reply, sizeof(reply));
}

static void an_answer_that_is_too_short_ends_the_connection(void **state)
{
    (void)state;
    f.on[VFU_REGION_READ] = answer_too_little;
    assert_int_equal(make(DEVICE_REGION_READ), -EPROTO);
    assert_string_equal(err.message, "fake: cannot read region 7 at 0x0: "
                                     "REGION_READ of 64 answered by 3, said to "
                                     "be 0");
}

/* What is under way is waited for, and the connection goes on. */
static void a_piece_there_is_no_memory_for_leaves_the_others(void **state)
{
    static uint8_t much[100000];

    (void)state;
    short_at = 2;
    assert_int_equal(make(DEVICE_REGION_READ), -ENOMEM);
    assert_int_equal(accesses[1].ret, -ENOMEM);
    expect(0, true);
    expect(2, true);
    short_at = 2;
    assert_int_equal(vfm_device_region_write(dev, CONFIG, 0, much, 4096, &err),
                     0);
    assert_int_equal(
        vfm_device_region_write(dev, CONFIG, 0, much, sizeof(much), &err),
        -ENOMEM);
    assert_int_equal(vfm_device_refresh_state(dev, &err), 0);
}

/* What is not yet under way stays undone. */
static void after_a_write_that_is_refused_no_more_are_sent(void **state)
{
    (void)state;
    f.next[VFU_REGION_WRITE] = refuse_denied;
    assert_int_equal(make(DEVICE_REGION_WRITE), -EACCES);
    assert_string_equal(err.message, "fake: cannot write region 7 at 0x0: "
                                     "Permission denied");
    assert_int_equal(f.asked[VFU_REGION_WRITE], PIECES_DEPTH);
    assert_int_not_equal(f.config[0], 0xee);
    assert_int_equal(f.config[300], 0xee);
    assert_int_not_equal(f.config[400], 0xee);
    assert_int_equal(accesses[0].ret, -EACCES);
    assert_int_equal(accesses[3].ret, 0);
    assert_int_equal(accesses[4].ret, -ECANCELED);
}

static void writes_are_made_in_order(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < COUNT; i++) {
        accesses[i].offset = 8;
        memset(bytes[i], (int)i, sizeof(bytes[i]));
    }
    assert_int_equal(make(DEVICE_REGION_WRITE), 0);
    assert_int_equal(f.config[8], COUNT - 1);
}

/* A part that nobody can have, in the middle of one that is cut. */
static void a_piece_that_is_refused_is_the_end_of_its_access(void **state)
{
    static uint8_t much[8 << 20];

    (void)state;
    accesses[0] = (struct device_access){
        .region = CONFIG,
        .buf = much,
        .len = sizeof(much),
    };
    f.on[VFU_REGION_READ] = refuse_denied;
    assert_int_equal(make(DEVICE_REGION_READ), -EACCES);
    assert_int_equal(accesses[0].ret, -EACCES);
    assert_int_equal(accesses[COUNT - 1].ret, -EACCES);
    assert_int_equal(f.asked[VFU_REGION_READ], PIECES_DEPTH + COUNT - 1);
}

static void a_call_without_bytes_asks_the_server_nothing(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < COUNT; i++)
        accesses[i].len = 0;
    assert_int_equal(make(DEVICE_REGION_READ), 0);
    assert_int_equal(f.asked[VFU_REGION_READ], 0);
}

/* A server answers in order: what the reads before them take is not theirs. */
static void accesses_behind_data_get_the_deadline_of_data(void **state)
{
    struct device_call call = call_of(DEVICE_REGION_READ);
    const void *data;

    (void)state;
    fake_enter(dev, VFM_STATE_STOP_COPY);
    f.silent = true;
    assert_int_equal(device_peek(dev, &data, NULL), -EAGAIN);
    assert_int_equal(device_call_start(dev, &call, NULL), 0);
    assert_int_equal(finish(&call), -ETIMEDOUT);
    assert_string_equal(err.message, "fake: cannot read region 7 at 0x0: no "
                                     "answer to REGION_READ within 30000 ms");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(as_many_are_asked_for_at_once_as_may_be_under_way),
        TEST(every_read_fills_its_own_buffer),
        TEST(a_read_that_is_refused_leaves_the_others),
        TEST(an_answer_that_is_too_short_ends_the_connection),
        TEST(a_piece_there_is_no_memory_for_leaves_the_others),
        TEST(after_a_write_that_is_refused_no_more_are_sent),
        TEST(writes_are_made_in_order),
        TEST(a_piece_that_is_refused_is_the_end_of_its_access),
        TEST(a_call_without_bytes_asks_the_server_nothing),
        TEST(accesses_behind_data_get_the_deadline_of_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
