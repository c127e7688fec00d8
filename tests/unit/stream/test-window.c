/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets come in any order, each once, none missing in the end.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vfmig/stream.h>

static struct vfm_multifd_window *new_window(uint32_t span)
{
    struct vfm_multifd_window *win;

    assert_int_equal(vfm_multifd_window_new(span, &win, NULL), 0);
    return win;
}

static void packets_in_any_order_are_complete_with_the_last(void **state)
{
    static const uint32_t order[] = { 2, 0, 5, 3, 1, 4 };
    struct vfm_multifd_window *win = new_window(6);

    (void)state;
    for (int i = 0; i < 6; i++) {
        assert_false(vfm_multifd_window_complete(win));
        assert_int_equal(
            vfm_multifd_window_add(win, order[i], order[i] == 5, NULL), 0);
    }
    assert_true(vfm_multifd_window_complete(win));
    assert_int_equal(vfm_multifd_window_next(win), 6);
    vfm_multifd_window_free(win);
}

static void the_window_moves_along(void **state)
{
    struct vfm_multifd_window *win = new_window(3);

    (void)state;
    for (uint32_t i = 0; i < 1000; i += 2) {
        assert_int_equal(vfm_multifd_window_add(win, i + 1, false, NULL), 0);
        assert_int_equal(vfm_multifd_window_next(win), i);
        assert_int_equal(vfm_multifd_window_add(win, i, false, NULL), 0);
        assert_int_equal(vfm_multifd_window_next(win), i + 2);
    }
    vfm_multifd_window_free(win);
}

static void a_packet_too_far_ahead_is_refused(void **state)
{
    struct vfm_multifd_window *win = new_window(4);
    struct vfm_error err;

    (void)state;
    assert_int_equal(vfm_multifd_window_add(win, 3, false, NULL), 0);
    assert_int_equal(vfm_multifd_window_add(win, 4, false, &err), -ERANGE);
    assert_string_equal(err.message, "packet 4 came before packet 0, which is "
                                     "too far behind");
    assert_int_equal(vfm_multifd_window_add(win, 0x7fffffff, false, NULL),
                     -ERANGE);
    assert_int_equal(vfm_multifd_window_add(win, UINT32_MAX - 1, false, NULL),
                     -ERANGE);
    vfm_multifd_window_free(win);
}

static void a_packet_that_came_twice_is_refused(void **state)
{
    struct vfm_multifd_window *win = new_window(4);

    (void)state;
    assert_int_equal(vfm_multifd_window_add(win, 1, false, NULL), 0);
    assert_int_equal(vfm_multifd_window_add(win, 1, false, NULL), -EEXIST);
    assert_int_equal(vfm_multifd_window_add(win, 0, false, NULL), 0);
    assert_int_equal(vfm_multifd_window_add(win, 0, false, NULL), -EEXIST);
    assert_int_equal(vfm_multifd_window_add(win, 1, false, NULL), -EEXIST);
    vfm_multifd_window_free(win);
}

static void the_configuration_is_the_last_and_only_one(void **state)
{
    struct vfm_multifd_window *win = new_window(10);

    (void)state;
    assert_int_equal(vfm_multifd_window_add(win, 4, false, NULL), 0);
    assert_int_equal(vfm_multifd_window_add(win, 3, true, NULL), -EPROTO);
    assert_int_equal(vfm_multifd_window_add(win, 5, true, NULL), 0);
    assert_int_equal(vfm_multifd_window_add(win, 6, true, NULL), -EPROTO);
    assert_int_equal(vfm_multifd_window_add(win, 6, false, NULL), -ERANGE);
    assert_int_equal(vfm_multifd_window_add(win, 3, false, NULL), 0);
    vfm_multifd_window_free(win);
}

static void spans_that_make_no_sense_are_refused(void **state)
{
    struct vfm_multifd_window *win;

    (void)state;
    assert_int_equal(vfm_multifd_window_new(0, &win, NULL), -EINVAL);
    assert_int_equal(vfm_multifd_window_new(1048577, &win, NULL), -EINVAL);
    vfm_multifd_window_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_in_any_order_are_complete_with_the_last),
        cmocka_unit_test(the_window_moves_along),
        cmocka_unit_test(a_packet_too_far_ahead_is_refused),
        cmocka_unit_test(a_packet_that_came_twice_is_refused),
        cmocka_unit_test(the_configuration_is_the_last_and_only_one),
        cmocka_unit_test(spans_that_make_no_sense_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
