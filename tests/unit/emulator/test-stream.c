/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Saved states: what one session saves another loads, however it is cut, and
 * nothing else is taken for a state.
 */
#include <errno.h>
#include <stdlib.h>

#include "test.h"

#include "emulator/loader.h"
#include "emulator/saver.h"
#include "util/clock.h"

#define PAGES   40
#define HOT     6
#define VECTORS 3
#define INITIAL (3 * EDEV_PAGE_SIZE)
#define ROOM    (1u << 20)

struct fixture {
    struct memory memory;
    struct saver saver;
    struct loader loader;
    struct stream_header header;
    struct image image;
    uint8_t bar2[EDEV_BAR2_SIZE];
    uint8_t msix[VECTORS * 16];
    uint8_t *stream;
    size_t size;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->memory = (struct memory){
        .size = PAGES * EDEV_PAGE_SIZE,
        .hot_size = HOT * EDEV_PAGE_SIZE,
        .seed = 42,
        .rate = EDEV_PAGE_SIZE,
    };
    f->header = (struct stream_header){
        .version = STREAM_VERSION,
        .page_size = EDEV_PAGE_SIZE,
        .size = f->memory.size,
        .hot_size = f->memory.hot_size,
        .seed = f->memory.seed,
        .vectors = VECTORS,
    };
    memset(f->bar2, 0x5a, sizeof(f->bar2));
    memset(f->msix, 0x77, sizeof(f->msix));
    f->image = (struct image){
        .bar2 = f->bar2,
        .msix = f->msix,
        .msix_size = sizeof(f->msix),
    };
    f->stream = malloc(ROOM);
    assert_non_null(f->stream);
    assert_int_equal(saver_init(&f->saver, &f->memory), 0);
    assert_int_equal(loader_init(&f->loader, &f->memory, VECTORS), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    saver_free(&f->saver);
    loader_free(&f->loader);
    free(f->stream);
    free(f);
    return 0;
}

/* Time passes: so many pages are rewritten. */
static void rewrite(struct fixture *f, uint64_t pages)
{
    f->memory.writes += pages;
    f->image.registers.mem_writes = f->memory.writes;
}

/* Reads what there is, @cut bytes at a time. */
static void save_some(struct fixture *f, bool stopped, size_t cut)
{
    size_t n;

    do {
        assert_true(f->size + cut <= ROOM);
        n = saver_read(&f->saver, stopped ? &f->image : NULL,
                       f->stream + f->size, cut);
        f->size += n;
    } while (n > 0);
}

static void begin(struct fixture *f, uint64_t reinit_after)
{
    f->size = 0;
    saver_begin(&f->saver, &f->header, INITIAL, reinit_after);
}

static void save(struct fixture *f, size_t cut)
{
    begin(f, 0);
    save_some(f, true, cut);
}

/* Loads @size bytes, @cut at a time; returns what loader_finish() does. */
static int load(struct fixture *f, const uint8_t *stream, size_t size,
                size_t cut, struct vfm_error *err)
{
    loader_begin(&f->loader, &f->header);
    for (size_t at = 0; at < size; at += cut)
        loader_write(&f->loader, stream + at,
                     size - at < cut ? size - at : cut);
    return loader_finish(&f->loader, err);
}

static void expect_refused(struct fixture *f, size_t size, const char *why)
{
    struct vfm_error err;

    assert_int_equal(load(f, f->stream, size, 4096, &err), -EINVAL);
    if (strstr(err.message, why) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, why);
}

static void expect_loaded(struct fixture *f, size_t cut)
{
    struct vfm_error err;

    if (load(f, f->stream, f->size, cut, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(f->loader.result.seed, 42);
    assert_memory_equal(f->loader.result.bar2, f->bar2, sizeof(f->bar2));
    assert_memory_equal(f->loader.result.msix, f->msix, sizeof(f->msix));
    assert_memory_equal(&f->loader.result.registers, &f->image.registers,
                        sizeof(f->image.registers));
}

static void a_state_is_loaded_however_it_is_cut(void **state)
{
    static const size_t cuts[] = { 1, 7, 40, 4096, 32768, ROOM / 2 };
    struct fixture *f = *state;

    rewrite(f, 9);
    f->image.registers.run_ns = 12345;
    f->image.registers.scratch[3] = 99;
    for (size_t i = 0; i < NUM(cuts); i++) {
        save(f, cuts[i]);
        for (size_t k = 0; k < NUM(cuts); k++)
            expect_loaded(f, cuts[k]);
    }
}

static void how_it_is_cut_does_not_change_the_stream(void **state)
{
    struct fixture *f = *state;
    uint8_t *whole = malloc(ROOM);
    size_t size;

    assert_non_null(whole);
    save(f, ROOM / 2);
    size = f->size;
    memcpy(whole, f->stream, size);
    save(f, 1);
    assert_int_equal(f->size, size);
    assert_memory_equal(f->stream, whole, size);
    free(whole);
}

static void rewritten_pages_are_sent_again_and_only_these(void **state)
{
    struct fixture *f = *state;
    size_t before;

    begin(f, 0);
    save_some(f, false, 5000);
    before = f->size;
    save_some(f, false, 5000);
    assert_int_equal(f->size, before);
    rewrite(f, 2);
    save_some(f, false, 5000);
    assert_int_equal(f->size - before,
                     2 * (EDEV_PAGE_SIZE + 4) + STREAM_OVERHEAD);
    rewrite(f, 7);
    save_some(f, true, 5000);
    expect_loaded(f, 1000);
}

static void a_page_rewritten_before_the_end_must_come_again(void **state)
{
    struct fixture *f = *state;

    begin(f, 0);
    save_some(f, true, 5000);
    expect_loaded(f, 4096);
    begin(f, 0);
    save_some(f, false, 5000);
    /* The registers say that a page was rewritten; it is not in there. */
    f->image.registers.mem_writes++;
    save_some(f, true, 5000);
    expect_refused(f, f->size, "is not the last version");
}

static void what_is_left_is_told_to_the_byte(void **state)
{
    struct fixture *f = *state;
    uint64_t total = saver_total(&f->memory, INITIAL, sizeof(f->msix));
    size_t n;

    begin(f, 0);
    assert_int_equal(saver_left(&f->saver), total);
    do {
        uint64_t left = saver_left(&f->saver);

        n = saver_read(&f->saver, &f->image, f->stream, 777);
        f->size += n;
        assert_int_equal(saver_left(&f->saver), left - n);
    } while (n > 0);
    assert_int_equal(f->size, total);
    assert_int_equal(saver_left(&f->saver), 0);
}

static void dirty_bytes_are_told_to_the_byte(void **state)
{
    struct fixture *f = *state;

    begin(f, 0);
    save_some(f, false, 4096);
    for (uint64_t pages = 1; pages < 2 * HOT; pages++) {
        size_t before = f->size;
        uint64_t dirty;

        rewrite(f, pages);
        dirty = saver_dirty_bytes(&f->saver);
        assert_true(dirty > 0);
        assert_int_equal(saver_initial_bytes(&f->saver), 0);
        save_some(f, false, 4096);
        assert_int_equal(f->size - before, dirty);
        assert_int_equal(saver_dirty_bytes(&f->saver), 0);
    }
}

static void initial_bytes_end_with_the_initial_part(void **state)
{
    struct fixture *f = *state;
    uint64_t initial;

    begin(f, 0);
    initial = saver_initial_bytes(&f->saver);
    assert_int_equal(initial, sizeof(struct stream_header) + INITIAL +
                                  2 * STREAM_OVERHEAD);
    assert_int_equal(saver_read(&f->saver, NULL, f->stream, initial - 1),
                     initial - 1);
    assert_int_equal(saver_initial_bytes(&f->saver), 1);
    saver_read(&f->saver, NULL, f->stream, 1);
    assert_int_equal(saver_initial_bytes(&f->saver), 0);
}

static void new_initial_data_appears_once_and_loads(void **state)
{
    struct fixture *f = *state;
    bool seen = false;
    size_t n;

    begin(f, 8 * EDEV_PAGE_SIZE);
    do {
        n = saver_read(&f->saver, NULL, f->stream + f->size, 1000);
        f->size += n;
        if (f->saver.reinit)
            assert_true(saver_initial_bytes(&f->saver) > 0);
        seen = seen || f->saver.reinit;
    } while (n > 0);
    assert_true(seen);
    assert_false(f->saver.reinit);
    save_some(f, true, 4096);
    expect_loaded(f, 4096);
}

static void a_state_cut_short_is_refused(void **state)
{
    struct fixture *f = *state;

    save(f, 4096);
    for (size_t size = 0; size < f->size; size += 61)
        expect_refused(f, size, "the stream ends after");
    expect_refused(f, f->size - 1, "no END");
}

static void a_wrong_byte_anywhere_is_refused(void **state)
{
    struct fixture *f = *state;
    struct vfm_error err;

    rewrite(f, 3);
    save(f, 4096);
    for (size_t at = 0; at < f->size; at += at < 200 ? 1 : 53) {
        f->stream[at] ^= 0x10;
        if (load(f, f->stream, f->size, 32768, &err) == 0)
            fail_msg("byte %zu can be changed", at);
        f->stream[at] ^= 0x10;
    }
    expect_loaded(f, 4096);
}

static void bytes_after_the_end_are_refused(void **state)
{
    struct fixture *f = *state;

    save(f, 4096);
    f->stream[f->size] = 0;
    expect_refused(f, f->size + 1, "bytes after the end");
}

/* Finds the frames of the stream; returns their number. */
static size_t find_frames(const struct fixture *f, size_t at[], size_t room)
{
    size_t count = 0;
    size_t pos = 0;

    while (pos < f->size) {
        struct stream_frame frame;

        assert_true(count + 1 < room);
        at[count++] = pos;
        memcpy(&frame, f->stream + pos, sizeof(frame));
        pos += frame.length + STREAM_OVERHEAD;
    }
    at[count] = pos;
    return count;
}

static void a_missing_frame_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t *part = malloc(ROOM);
    size_t at[64];
    size_t count;

    assert_non_null(part);
    save(f, 4096);
    count = find_frames(f, at, NUM(at));
    for (size_t i = 0; i < count; i++) {
        struct vfm_error err;

        memcpy(part, f->stream, at[i]);
        memcpy(part + at[i], f->stream + at[i + 1], f->size - at[i + 1]);
        assert_int_equal(
            load(f, part, f->size - (at[i + 1] - at[i]), 4096, &err), -EINVAL);
    }
    free(part);
}

static void a_repeated_frame_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t *more = malloc(ROOM);
    size_t at[64];
    size_t count;

    assert_non_null(more);
    save(f, 4096);
    count = find_frames(f, at, NUM(at));
    for (size_t i = 0; i < count; i++) {
        struct vfm_error err;

        memcpy(more, f->stream, at[i + 1]);
        memcpy(more + at[i + 1], f->stream + at[i], f->size - at[i]);
        assert_int_equal(
            load(f, more, f->size + (at[i + 1] - at[i]), 4096, &err), -EINVAL);
        if (i + 1 < count)
            assert_non_null(strstr(err.message, "has number"));
    }
    free(more);
}

static void frames_in_another_order_are_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t *other = malloc(ROOM);
    size_t at[64];
    size_t count;

    assert_non_null(other);
    save(f, 4096);
    count = find_frames(f, at, NUM(at));
    for (size_t i = 0; i + 1 < count; i++) {
        size_t first = at[i + 1] - at[i], second = at[i + 2] - at[i + 1];
        struct vfm_error err;

        memcpy(other, f->stream, f->size);
        memcpy(other + at[i], f->stream + at[i + 1], second);
        memcpy(other + at[i] + second, f->stream + at[i], first);
        assert_int_equal(load(f, other, f->size, 4096, &err), -EINVAL);
    }
    free(other);
}

static void a_foreign_stream_is_refused_by_name(void **state)
{
    struct fixture *f = *state;

    memset(f->stream, 'x', 5000);
    expect_refused(f, 5000, "not the state of such a device");
}

static void the_state_of_another_device_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    const struct stream_header own = f->header;

    save(f, 4096);
    f->header.size += EDEV_PAGE_SIZE;
    expect_refused(f, f->size, "from a device with 163840 bytes of memory");
    f->header = own;
    f->header.vectors++;
    expect_refused(f, f->size, "from a device with 3 vectors");
    f->header = own;
    f->header.version++;
    expect_refused(f, f->size, "version 1 of the state, not 2");
    f->header = own;
    f->header.pci_device++;
    expect_refused(f, f->size, "from another device");
    f->header = own;
    f->header.seed++;
    expect_loaded(f, 4096);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_state_is_loaded_however_it_is_cut),
        TEST(how_it_is_cut_does_not_change_the_stream),
        TEST(rewritten_pages_are_sent_again_and_only_these),
        TEST(a_page_rewritten_before_the_end_must_come_again),
        TEST(what_is_left_is_told_to_the_byte),
        TEST(dirty_bytes_are_told_to_the_byte),
        TEST(initial_bytes_end_with_the_initial_part),
        TEST(new_initial_data_appears_once_and_loads),
        TEST(a_state_cut_short_is_refused),
        TEST(a_wrong_byte_anywhere_is_refused),
        TEST(bytes_after_the_end_are_refused),
        TEST(a_missing_frame_is_refused),
        TEST(a_repeated_frame_is_refused),
        TEST(frames_in_another_order_are_refused),
        TEST(a_foreign_stream_is_refused_by_name),
        TEST(the_state_of_another_device_is_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
