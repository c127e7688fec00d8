/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line.
 */
#include <errno.h>

#include "test.h"

#include "emulator/options.h"

#define WORDS_MAX 8

/* Parses the words after the program's name, up to a null. */
static int parse(struct options *o, struct vfm_error *err,
                 const char *const words[])
{
    const char *argv[WORDS_MAX + 1] = { "vfmig-device" };
    int argc = 1;

    while (words[argc - 1] != NULL) {
        argv[argc] = words[argc - 1];
        argc++;
    }
    return options_parse(o, argc, argv, err);
}

#define PARSE(o, err, ...) \
    parse(o, err, (const char *const[]){ __VA_ARGS__, NULL })

static void sizes_have_suffixes(void **state)
{
    static const struct {
        const char *text;
        uint64_t size;
    } rows[] = {
        { "0", 0 },       { "4096", 4096 },  { "0x10", 16 },
        { "64K", 65536 }, { "3M", 3 << 20 }, { "64G", UINT64_C(64) << 30 },
    };
    static const char *const bad[] = { "",
                                       "K",
                                       "-1",
                                       " 1",
                                       "1T",
                                       "1KK",
                                       "1.5",
                                       "99999999999999999999",
                                       "18446744073709551615K" };
    uint64_t size;

    (void)state;
    for (size_t i = 0; i < NUM(rows); i++) {
        assert_int_equal(options_parse_size(rows[i].text, &size), 0);
        assert_int_equal(size, rows[i].size);
    }
    for (size_t i = 0; i < NUM(bad); i++)
        assert_int_equal(options_parse_size(bad[i], &size), -EINVAL);
}

static void the_defaults_are_a_gigabyte_with_everything_but_reinit(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(PARSE(&o, NULL, "--socket", "/s"), 0);
    assert_string_equal(o.socket_path, "/s");
    assert_int_equal(o.size, 1 << 30);
    assert_int_equal(o.dirty_size, 64 << 20);
    assert_int_equal(o.features, 0x7f & ~FEATURE_REINIT);
    assert_int_equal(o.vectors, 8);
    assert_int_equal(o.max_data_xfer, 1 << 20);
}

static void values_follow_or_come_after_an_equals_sign(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(
        PARSE(&o, NULL, "--fd=3", "--size", "64K", "--features=stop-copy,p2p"),
        0);
    assert_int_equal(o.fd, 3);
    assert_int_equal(o.size, 65536);
    assert_int_equal(o.dirty_size, 4096);
    assert_int_equal(o.features, FEATURE_STOP_COPY | FEATURE_P2P);
}

static void that_librarys_features_are_fixed(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(PARSE(&o, NULL, "--fd=3", "--personality=libvfio-user",
                           "--features=stop-copy,p2p,reinit,dma-logging"),
                     0);
    assert_int_equal(o.features, FEATURE_STOP_COPY | FEATURE_PRE_COPY |
                                     FEATURE_DMA_LOGGING);
}

static void bad_words_are_named(void **state)
{
    static const struct {
        const char *words[WORDS_MAX];
        const char *text;
    } rows[] = {
        { { "--size" }, "--size: needs SIZE" },
        { { "--size", "4097", "--fd", "3" }, "whole pages" },
        { { "--size", "65G", "--fd", "3" }, "4K to 64G" },
        { { "--size", "0", "--fd", "3" }, "4K to 64G" },
        { { "--size", "4Q" }, "--size 4Q: not SIZE: device memory, 4K to 64G" },
        { { "--fd", "3", "--dirty-size", "2G" }, "of the memory" },
        { { "--dirty-size", "x" }, "--dirty-size x: not SIZE" },
        { { "--fd", "-1" }, "--fd -1: not N" },
        { { "--fd", "4294967296" }, "not N" },
        { { "--vectors", "0" }, "1 to 2048" },
        { { "--vectors", "2049" }, "1 to 2048" },
        { { "--features", "fly" }, "of stop-copy,pre-copy" },
        { { "--features", "stop" }, "of stop-copy,pre-copy" },
        { { "--fd", "3", "--features", "pre-copy" }, "need stop-copy" },
        { { "--pci-id", "12345:1" }, "not VVVV:DDDD" },
        { { "--data-size-report", "some" }, "not exact|zero|huge|SIZE" },
        { { "--accept-any=yes" }, "takes no value" },
        { { "--fd", "3", "--max-data-xfer", "1G" }, "512 to 64M" },
        { { "--fail", "NOWHERE" }, "NOWHERE" },
        { { "--mutant", "nice" }, "nice" },
        { { "--personality", "nice" }, "not spec|libvfio-user" },
        { { "--fd", "3", "--socket", "/s" }, "one of --socket and --fd" },
        { { "--what" }, "no such option" },
        { { "stray" }, "no such option" },
    };

    (void)state;
    for (size_t i = 0; i < NUM(rows); i++) {
        struct options o;
        struct vfm_error err = { 0 };

        if (parse(&o, &err, rows[i].words) != -EINVAL)
            fail_msg("row %zu is accepted", i);
        if (strstr(err.message, rows[i].text) == NULL)
            fail_msg("row %zu: %s", i, err.message);
    }
}

static void help_and_version_need_nothing_else(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(PARSE(&o, NULL, "--help"), 0);
    assert_true(o.help);
    assert_int_equal(PARSE(&o, NULL, "--version"), 0);
    assert_true(o.version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_suffixes),
        cmocka_unit_test(
            the_defaults_are_a_gigabyte_with_everything_but_reinit),
        cmocka_unit_test(values_follow_or_come_after_an_equals_sign),
        cmocka_unit_test(that_librarys_features_are_fixed),
        cmocka_unit_test(bad_words_are_named),
        cmocka_unit_test(help_and_version_need_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
