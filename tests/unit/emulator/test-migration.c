/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two devices in one process: what is checked beyond checksums, and what a
 * step between states does that no client sees.
 */
#include <errno.h>
#include <stdlib.h>

#include "test.h"

#include "emulator/device.h"
#include "protocol/vfio-uapi.h"

#define ROOM (1u << 20)

struct pair {
    struct options options;
    struct device *from;
    struct device *to;
    uint8_t *state;
    size_t size;
};

static int set_up(void **state)
{
    static const char *const argv[] = { "device", "--fd=0", "--size=64K",
                                        "--dirty-size=8K" };
    struct pair *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    assert_int_equal(options_parse(&p->options, NUM(argv), argv, NULL), 0);
    assert_int_equal(device_create(&p->options, &p->from, NULL), 0);
    assert_int_equal(device_create(&p->options, &p->to, NULL), 0);
    p->state = malloc(ROOM);
    assert_non_null(p->state);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *p = *state;

    device_free(p->from);
    device_free(p->to);
    free(p->state);
    free(p);
    return 0;
}

static void save(struct pair *p)
{
    ssize_t n;

    p->size = 0;
    assert_int_equal(device_set_state(p->from, UAPI_STATE_STOP_COPY), 0);
    while ((n = device_read_state(p->from, p->state + p->size,
                                  ROOM - p->size)) > 0)
        p->size += (size_t)n;
    assert_int_equal(n, 0);
}

static int load(struct pair *p)
{
    assert_int_equal(device_set_state(p->to, UAPI_STATE_RESUMING), 0);
    assert_int_equal(device_write_state(p->to, p->state, p->size), 0);
    return device_set_state(p->to, UAPI_STATE_STOP);
}

static void an_operation_that_cannot_be_under_way_is_refused(void **state)
{
    static const struct {
        uint32_t op;
        uint64_t length, done, sequence;
        int ret;
    } rows[] = {
        { EDEV_DMA_OP_FILL, 4096, 4088, 0, 0 },
        { EDEV_DMA_OP_FILL, 4096, 4096, 0, -EINVAL },
        { EDEV_DMA_OP_FILL, 4096, UINT64_MAX, 0, -EINVAL },
        { EDEV_DMA_OP_FILL, 0, 0, 0, -EINVAL },
        { EDEV_DMA_OP_FILL, 7, 0, 0, -EINVAL },
        { EDEV_DMA_OP_COPY, UINT64_MAX - 7, 0, 0, -EINVAL },
        { EDEV_DMA_OP_RING, 8192, 40960, 10, 0 },
        { EDEV_DMA_OP_RING, 8192, 40960, 11, -EINVAL },
        { EDEV_DMA_OP_RING, 0, 0, 0, -EINVAL },
        { 0, 4096, 0, 0, -EINVAL },
        { 77, 4096, 0, 0, -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < NUM(rows); i++) {
        void *pair;
        struct pair *p;
        struct stream_registers *r;

        assert_int_equal(set_up(&pair), 0);
        p = pair;
        r = &p->from->registers;
        r->dma_status = EDEV_DMA_BUSY;
        r->run_dst = r->run_src = 4096;
        r->run_op = rows[i].op;
        r->run_length = rows[i].length;
        r->dma_done_bytes = rows[i].done;
        r->dma_sequence = rows[i].sequence;
        save(p);
        if (load(p) != rows[i].ret)
            fail_msg("row %zu: not %d", i, rows[i].ret);
        tear_down(&pair);
    }
}

static void what_is_loaded_is_adopted_only_when_it_is_good(void **state)
{
    struct pair *p = *state;

    p->from->registers.scratch[0] = 1;
    p->to->registers.scratch[0] = 2;
    save(p);
    p->state[p->size - 1] ^= 1;
    assert_int_equal(load(p), -EINVAL);
    assert_int_equal(p->to->state, UAPI_STATE_RESUMING);
    assert_int_equal(p->to->registers.scratch[0], 2);
    device_reset(p->to);
    p->state[p->size - 1] ^= 1;
    assert_int_equal(load(p), 0);
    assert_int_equal(p->to->registers.scratch[0], 1);
}

static void the_running_time_stands_still_with_the_device(void **state)
{
    struct pair *p = *state;
    uint64_t ns;

    save(p);
    ns = device_run_ns(p->from);
    assert_true(ns > 0);
    assert_int_equal(device_run_ns(p->from), ns);
    assert_int_equal(load(p), 0);
    assert_int_equal(device_run_ns(p->to), ns);
    assert_int_equal(device_set_state(p->to, UAPI_STATE_RUNNING), 0);
    assert_true(device_run_ns(p->to) >= ns);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operation_that_cannot_be_under_way_is_refused),
        TEST(what_is_loaded_is_adopted_only_when_it_is_good),
        TEST(the_running_time_stands_still_with_the_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
