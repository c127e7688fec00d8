/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * States of any size.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "check/image.h"

static void add(struct image *image, const void *data, size_t size)
{
    assert_int_equal(image_reserve(image, size), 0);
    memcpy(image->data + image->size, data, size);
    image->size += size;
}

static void an_image_keeps_what_it_has_when_it_grows(void **state)
{
    struct image image = { .data = NULL };

    (void)state;
    add(&image, "abc", 3);
    assert_int_equal(image_reserve(&image, (size_t)20 << 20), 0);
    assert_true(image.room >= ((size_t)20 << 20) + 3);
    memset(image.data + 3, 1, (size_t)20 << 20);
    assert_memory_equal(image.data, "abc", 3);
    image_free(&image);
    assert_null(image.data);
    image_free(&image);
}

static void the_first_difference_is_found(void **state)
{
    struct image a = { .data = NULL };
    struct image b = { .data = NULL };

    (void)state;
    assert_true(image_equals(&a, &b));
    add(&a, "abcd", 4);
    add(&b, "abxd", 4);
    assert_false(image_equals(&a, &b));
    assert_int_equal(image_difference(&a, &b), 2);
    b.size = 2;
    assert_false(image_equals(&a, &b));
    assert_int_equal(image_difference(&a, &b), 2);
    image_free(&a);
    image_free(&b);
}

static void a_copy_is_equal_and_its_own(void **state)
{
    struct image a = { .data = NULL };
    struct image b = { .data = NULL };

    (void)state;
    add(&a, "abcd", 4);
    assert_int_equal(image_copy(&b, &a), 0);
    assert_true(image_equals(&a, &b));
    a.data[0] = 'x';
    assert_false(image_equals(&a, &b));
    image_free(&a);
    image_free(&b);
}

static void what_no_device_has_is_refused(void **state)
{
    struct image image = { .data = NULL };

    (void)state;
    assert_int_equal(image_reserve(&image, SIZE_MAX), -EFBIG);
    image.size = IMAGE_MAX;
    assert_int_equal(image_reserve(&image, 1), -EFBIG);
    assert_null(image.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_keeps_what_it_has_when_it_grows),
        cmocka_unit_test(the_first_difference_is_found),
        cmocka_unit_test(a_copy_is_equal_and_its_own),
        cmocka_unit_test(what_no_device_has_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
