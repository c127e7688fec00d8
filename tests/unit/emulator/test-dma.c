/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings of guest memory: what may be mapped, what is found, and memory
 * that is taken away under the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#include "emulator/dma.h"

#define PAGE UINT64_C(4096)

static int new_memory(size_t size)
{
    int fd = memfd_create("guest", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static int map(struct dma *d, uint64_t iova, uint64_t size, uint32_t flags,
               uint64_t fd_offset, int fd)
{
    const struct vfu_dma_map m = {
        .iova = iova,
        .size = size,
        .flags = flags,
        .fd_offset = fd_offset,
    };

    return dma_map(d, &m, fd);
}

static void mappings_are_found_by_any_of_their_addresses(void **state)
{
    struct dma d;

    (void)state;
    dma_init(&d);
    for (uint64_t i = 200; i > 0; i--)
        assert_int_equal(map(&d, i * 4 * PAGE, 3 * PAGE, 3, 0, -1), 0);
    for (uint64_t i = 1; i <= 200; i++) {
        const struct mapping *m = dma_find(&d, i * 4 * PAGE);

        assert_non_null(m);
        assert_int_equal(m->iova, i * 4 * PAGE);
        assert_ptr_equal(dma_find(&d, m->iova + 3 * PAGE - 1), m);
        assert_null(dma_find(&d, m->iova + 3 * PAGE));
    }
    assert_null(dma_find(&d, 0));
    assert_null(dma_find(&d, UINT64_MAX));
    dma_drop(&d);
}

static void an_overlap_is_refused_and_the_same_again_is_told_apart(void **state)
{
    struct dma d;

    (void)state;
    dma_init(&d);
    assert_int_equal(map(&d, 4 * PAGE, 4 * PAGE, 3, 0, -1), 0);
    assert_int_equal(map(&d, 0, 5 * PAGE, 3, 0, -1), -EEXIST);
    assert_int_equal(map(&d, 7 * PAGE, PAGE, 3, 0, -1), -EEXIST);
    assert_int_equal(map(&d, 0, UINT64_MAX, 3, 0, -1), -EEXIST);
    assert_int_equal(map(&d, 4 * PAGE, 4 * PAGE, 3, 0, -1), -EALREADY);
    assert_int_equal(map(&d, 4 * PAGE, 4 * PAGE, 1, 0, -1), -EEXIST);
    assert_int_equal(map(&d, 0, 4 * PAGE, 3, 0, -1), 0);
    assert_int_equal(map(&d, 8 * PAGE, PAGE, 3, 0, -1), 0);
    dma_drop(&d);
}

static void a_range_that_cannot_be_is_refused(void **state)
{
    struct dma d;

    (void)state;
    dma_init(&d);
    assert_int_equal(map(&d, 0, 0, 3, 0, -1), -EINVAL);
    assert_int_equal(map(&d, UINT64_MAX, 2, 3, 0, -1), -EINVAL);
    assert_int_equal(map(&d, 0, PAGE, 0, 0, -1), -EINVAL);
    assert_int_equal(map(&d, 0, PAGE, 7, 0, -1), -EINVAL);
    assert_int_equal(map(&d, UINT64_MAX, 1, 3, 0, -1), 0);
    assert_int_equal(dma_unmap(&d, UINT64_MAX, 1), 0);
    dma_drop(&d);
}

static void more_than_the_file_has_is_refused(void **state)
{
    struct dma d;

    (void)state;
    dma_init(&d);
    assert_int_equal(map(&d, 0, 3 * PAGE, 3, 0, new_memory(2 * PAGE)), -EINVAL);
    assert_int_equal(map(&d, 0, PAGE, 3, 2 * PAGE, new_memory(2 * PAGE)),
                     -EINVAL);
    assert_int_equal(map(&d, 0, PAGE, 3, UINT64_MAX, new_memory(2 * PAGE)),
                     -EINVAL);
    assert_int_equal(map(&d, 0, PAGE, 3, 7, new_memory(2 * PAGE)), -EINVAL);
    assert_int_equal(d.count, 0);
    dma_drop(&d);
}

static void a_refused_mapping_closes_its_descriptor(void **state)
{
    int fd = new_memory(PAGE);
    struct dma d;

    (void)state;
    dma_init(&d);
    assert_int_equal(map(&d, 0, 0, 3, 0, fd), -EINVAL);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    dma_drop(&d);
}

static void only_the_exact_mapping_is_unmapped(void **state)
{
    struct dma d;

    (void)state;
    dma_init(&d);
    assert_int_equal(map(&d, PAGE, 2 * PAGE, 3, 0, -1), 0);
    assert_int_equal(dma_unmap(&d, PAGE, PAGE), -ENOENT);
    assert_int_equal(dma_unmap(&d, 2 * PAGE, PAGE), -ENOENT);
    assert_int_equal(dma_unmap(&d, PAGE, 2 * PAGE), 0);
    assert_int_equal(dma_unmap(&d, PAGE, 2 * PAGE), -ENOENT);
    dma_drop(&d);
}

static void bytes_go_to_the_clients_file_at_its_offset(void **state)
{
    static const char text[] = "written by the device";
    char got[sizeof(text)];
    int fd = new_memory(4 * PAGE);
    int copy = dup(fd);
    struct dma d;
    struct mapping *m;

    (void)state;
    dma_init(&d);
    assert_int_equal(map(&d, 16 * PAGE, 2 * PAGE, 3, PAGE, fd), 0);
    m = dma_find(&d, 17 * PAGE);
    assert_int_equal(dma_write(&d, m, 17 * PAGE, text, sizeof(text)), 0);
    assert_int_equal(pread(copy, got, sizeof(got), 2 * PAGE), sizeof(got));
    assert_string_equal(got, text);
    memset(got, 0, sizeof(got));
    assert_int_equal(dma_read(m, 17 * PAGE, got, sizeof(got)), 0);
    assert_string_equal(got, text);
    close(copy);
    dma_drop(&d);
}

static void memory_cut_off_under_the_device_is_an_error_not_death(void **state)
{
    int fd = new_memory(4 * PAGE);
    int copy = dup(fd);
    uint8_t bytes[64] = { 0 };
    struct dma d;
    struct mapping *m;

    (void)state;
    dma_init(&d);
    assert_int_equal(map(&d, 0, 4 * PAGE, 3, 0, fd), 0);
    assert_int_equal(ftruncate(copy, PAGE), 0);
    m = dma_find(&d, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dma_read(m, 0, bytes, sizeof(bytes)), 0);
        assert_int_equal(dma_read(m, 2 * PAGE, bytes, sizeof(bytes)), -EFAULT);
        assert_int_equal(dma_write(&d, m, 3 * PAGE, bytes, sizeof(bytes)),
                         -EFAULT);
    }
    close(copy);
    dma_drop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mappings_are_found_by_any_of_their_addresses),
        cmocka_unit_test(
            an_overlap_is_refused_and_the_same_again_is_told_apart),
        cmocka_unit_test(a_range_that_cannot_be_is_refused),
        cmocka_unit_test(more_than_the_file_has_is_refused),
        cmocka_unit_test(a_refused_mapping_closes_its_descriptor),
        cmocka_unit_test(only_the_exact_mapping_is_unmapped),
        cmocka_unit_test(bytes_go_to_the_clients_file_at_its_offset),
        cmocka_unit_test(memory_cut_off_under_the_device_is_an_error_not_death),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
