/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of mutants, and that a mutant is a device like any other but for
 * its bug.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#include "emulator/area.h"
#include "emulator/device.h"
#include "protocol/vfio-uapi.h"

#define ROOM (1u << 20)

static void every_mutant_has_a_name_of_its_own(void **state)
{
    (void)state;
    assert_null(mutant_name(MUTANT_NONE));
    assert_null(mutant_name(NUM_MUTANTS));
    for (int m = MUTANT_NONE + 1; m < NUM_MUTANTS; m++) {
        const char *name = mutant_name((enum mutant)m);
        enum mutant found = MUTANT_NONE;

        assert_non_null(name);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-"),
                         strlen(name));
        assert_in_range(strlen(name), 3, 40);
        /* The first of two with the same name would be found for both. */
        assert_int_equal(mutant_parse(name, &found, NULL), 0);
        assert_int_equal(found, m);
    }
}

static void every_mutant_says_what_is_wrong_with_it(void **state)
{
    (void)state;
    for (int m = MUTANT_NONE + 1; m < NUM_MUTANTS; m++) {
        const char *sentence = mutant_sentence((enum mutant)m);

        assert_non_null(sentence);
        assert_in_range(strlen(sentence), 15, 100);
        for (int n = m + 1; n < NUM_MUTANTS; n++)
            assert_string_not_equal(sentence, mutant_sentence((enum mutant)n));
    }
}

static void there_are_enough_of_them(void **state)
{
    (void)state;
    assert_true(NUM_MUTANTS - 1 >= 60);
}

static void an_unknown_name_gets_those_that_are_like_it(void **state)
{
    enum mutant mutant = MUTANT_NONE;
    struct vfm_error err;

    (void)state;
    assert_int_equal(mutant_parse("byte-lost", &mutant, &err), -EINVAL);
    assert_non_null(strstr(err.message, "last-byte-lost"));
    assert_non_null(strstr(err.message, "first-byte-lost"));
    assert_null(strstr(err.message, "log-"));
    assert_int_equal(mutant_parse("", &mutant, &err), -EINVAL);
    assert_int_equal(mutant_parse("zzz", &mutant, &err), -EINVAL);
    assert_non_null(strstr(err.message, "--list-mutants"));
    assert_int_equal(mutant_parse("last-byte-lost ", &mutant, NULL), -EINVAL);
    assert_int_equal(mutant, MUTANT_NONE);
}

static struct device *make(struct options *options, enum mutant mutant)
{
    static const char *const argv[] = { "device", "--fd=0", "--size=64K",
                                        "--dirty-size=8K" };
    struct device *d;

    assert_int_equal(options_parse(options, NUM(argv), argv, NULL), 0);
    options->mutant = mutant;
    assert_int_equal(device_create(options, &d, NULL), 0);
    return d;
}

/* A session until its end, or until there is more than of any right state. */
static size_t save(struct device *d, uint8_t *to)
{
    size_t size = 0;
    ssize_t n;

    while (size < ROOM &&
           (n = device_read_state(d, to + size,
                                  ROOM - size < 4096 ? ROOM - size : 4096)) > 0)
        size += (size_t)n;
    return size;
}

/* Through the states and back, whatever it answers. */
static void walk(struct device *d, uint8_t *bytes)
{
    static const uint32_t ways[] = {
        UAPI_STATE_PRE_COPY,
        UAPI_STATE_STOP_COPY,
        UAPI_STATE_PRE_COPY,
        UAPI_STATE_RESUMING,
        99,
        UAPI_STATE_STOP_COPY,
        UAPI_STATE_RUNNING_P2P,
        UAPI_STATE_ERROR,
        UAPI_STATE_RUNNING,
        UAPI_STATE_PRE_COPY_P2P,
        UAPI_STATE_STOP,
        UAPI_STATE_RESUMING,
        UAPI_STATE_STOP,
        UAPI_STATE_RUNNING,
    };

    uint8_t some[64];
    size_t size = 0;

    for (size_t i = 0; i < NUM(ways); i++) {
        struct vfu_precopy_info info = { 0 };

        (void)device_set_state(d, ways[i]);
        (void)device_precopy_info(d, &info);
        (void)device_data_size(d);
        if (d->state == UAPI_STATE_STOP_COPY)
            size = save(d, bytes);
        else
            (void)device_read_state(d, some, sizeof(some) - DEVICE_READ_SLACK);
        (void)device_write_state(d, bytes, size);
        device_raise(d, EDEV_IRQ_SOFTWARE);
    }
    device_disconnect(d);
    device_reset(d);
}

/* The sanitizers watch. */
static void no_mutant_falls_over(void **state)
{
    uint8_t *bytes = malloc(ROOM + 64);

    (void)state;
    assert_non_null(bytes);
    for (int m = MUTANT_NONE; m < NUM_MUTANTS; m++) {
        struct options options;
        struct device *d = make(&options, (enum mutant)m);

        walk(d, bytes);
        walk(d, bytes);
        device_free(d);
    }
    free(bytes);
}

static void a_mutant_has_its_bug_and_others_do_not(void **state)
{
    static uint8_t good[ROOM], bad[ROOM], other[ROOM];
    struct options options[3];
    struct device *d[3] = {
        make(&options[0], MUTANT_NONE),
        make(&options[1], MUTANT_LAST_BYTE_LOST),
        make(&options[2], MUTANT_LOG_NOT_CLEARED),
    };
    size_t size;

    (void)state;
    for (size_t i = 0; i < NUM(d); i++) {
        assert_int_equal(device_set_state(d[i], UAPI_STATE_STOP), 0);
        d[i]->registers.run_ns = 0; /* as old as each other */
        assert_int_equal(device_set_state(d[i], UAPI_STATE_STOP_COPY), 0);
    }
    size = save(d[0], good);
    assert_int_equal(save(d[1], bad), size - 1);
    assert_int_equal(save(d[2], other), size);
    assert_memory_equal(good, bad, size - 1);
    assert_memory_equal(good, other, size);
    for (size_t i = 0; i < NUM(d); i++)
        device_free(d[i]);
}

/* The client's memory ends with a page, and what comes after it is the device's
 * own. */
static void a_read_of_too_much_stays_in_what_is_mapped(void **state)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int fd = memfd_create("area", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct options options;
    struct device *d = make(&options, MUTANT_READS_TOO_MUCH);
    struct area area = { 0 };
    uint8_t *at;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_int_equal(area_map(&area, fd, size), 0);
    at = area_at(&area, size - 512, 512);
    assert_non_null(at);

    assert_int_equal(device_set_state(d, UAPI_STATE_STOP_COPY), 0);
    assert_int_equal(device_read_state(d, at, 512), 512 + DEVICE_READ_SLACK);
    assert_true(at + 512 + DEVICE_READ_SLACK <= area.base + area.mapped);

    area_unmap(&area);
    assert_int_equal(lseek(fd, 0, SEEK_END), size);
    close(fd);
    device_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mutant_has_a_name_of_its_own),
        cmocka_unit_test(every_mutant_says_what_is_wrong_with_it),
        cmocka_unit_test(there_are_enough_of_them),
        cmocka_unit_test(an_unknown_name_gets_those_that_are_like_it),
        cmocka_unit_test(no_mutant_falls_over),
        cmocka_unit_test(a_mutant_has_its_bug_and_others_do_not),
        cmocka_unit_test(a_read_of_too_much_stays_in_what_is_mapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
