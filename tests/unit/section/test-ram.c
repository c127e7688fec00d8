/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory as sections: what is gathered at one side is written at the other,
 * through the very bytes of the stream.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "dirty/bitmap.h"
#include "section/ram-load.h"
#include "section/ram-save.h"
#include "stream/encoder.h"

#define PAGE  VFM_RAM_PAGE_SIZE
#define PAGES 600 /* of "main": more than two pieces */
#define ROM   3   /* pages of "rom" */

/* One side: "main" in a memfd, "rom" by pointer. */
struct side {
    int fd;
    uint8_t *main;
    uint8_t *rom;
    struct vfm_ram *ram;
};

static struct side a, b;
static struct ram_save *save;
static struct ram_load *load;
static struct vfm_error err;

static void open_side(struct side *s)
{
    struct vfm_ram_block block = { .size = sizeof(block),
                                   .name = "main",
                                   .bytes = PAGES * PAGE,
                                   .fresh = true };

    s->fd = memfd_create("main", 0);
    assert_true(s->fd >= 0);
    assert_int_equal(ftruncate(s->fd, PAGES * PAGE), 0);
    s->main =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    s->rom = mmap(NULL, ROM * PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(s->main != MAP_FAILED && s->rom != MAP_FAILED);
    assert_int_equal(vfm_ram_new(&s->ram, &err), 0);
    block.fd = s->fd;
    assert_int_equal(vfm_ram_add_block(s->ram, &block, &err), 0);
    block.name = "rom";
    block.bytes = ROM * PAGE;
    block.memory = s->rom;
    assert_int_equal(vfm_ram_add_block(s->ram, &block, &err), 0);
    assert_int_equal(
        vfm_ram_add_mapping(s->ram, "main", 0, 0, PAGES * PAGE, &err), 0);
}

static void close_side(struct side *s)
{
    vfm_ram_free(s->ram);
    munmap(s->main, PAGES * PAGE);
    munmap(s->rom, ROM * PAGE);
    close(s->fd);
}

static int setup(void **state)
{
    (void)state;
    open_side(&a);
    open_side(&b);
    assert_int_equal(ram_save_new(a.ram, &save), 0);
    assert_int_equal(ram_load_new(b.ram, &load), 0);
    assert_int_equal(ram_load_block(load, "main", PAGES * PAGE, &err), 0);
    assert_int_equal(ram_load_block(load, "rom", ROM * PAGE, &err), 0);
    assert_int_equal(ram_load_list_over(load, &err), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ram_save_free(save);
    ram_load_free(load);
    close_side(&a);
    close_side(&b);
    return 0;
}

/* ------------------------------------------------------------ carrying */

/* One stream from beginning to end, so that names stay where they are. */
static struct vfm_decoder *dec;

static void take(const struct vfm_stream_event *ev)
{
    if (ev->type == VFM_STREAM_RAM_PAGE || ev->type == VFM_STREAM_RAM_ZERO)
        assert_int_equal(
            ram_load_page(load, ev->u.ram.block, ev->u.ram.address,
                          ev->type == VFM_STREAM_RAM_PAGE ? ev->data : NULL,
                          ev->len, &err),
            0);
}

static void decode(const void *data, size_t len)
{
    const uint8_t *p = data;
    struct vfm_stream_event ev;
    size_t used;
    int ret;

    while ((ret = vfm_decoder_next(dec, p, len, &used, &ev, &err)) == 1) {
        p += used;
        len -= used;
        take(&ev);
    }
    if (ret < 0)
        fail_msg("%s", err.message);
}

static void decode_encoded(struct encoder *enc)
{
    size_t len;

    assert_int_equal(encoder_finish(enc, &len, &err), 0);
    decode(enc->buf, len);
    encoder_init(enc, enc->buf, enc->size);
}

static void begin_stream(void)
{
    const struct vfm_decoder_options options = { .size = sizeof(options) };
    uint8_t buf[512];
    struct encoder enc;
    void *list;
    size_t len;

    assert_int_equal(vfm_decoder_new(&options, &dec, &err), 0);
    encoder_init(&enc, buf, sizeof(buf));
    encode_header(&enc);
    encode_section_begin(&enc, VFM_SECTION_START, 0, "ram", 0, 4);
    decode_encoded(&enc);
    assert_int_equal(ram_save_list_blocks(a.ram, &list, &len, &err), 0);
    decode(list, len);
    free(list);
    encode_section_footer(&enc, 0);
    decode_encoded(&enc);
}

static uint64_t carry_piece(void)
{
    uint8_t buf[64];
    struct encoder enc;
    uint64_t pages = ram_save_gather(save);
    size_t bytes = 0;

    if (pages == 0)
        return 0;
    encoder_init(&enc, buf, sizeof(buf));
    encode_section_continue(&enc, VFM_SECTION_PART, 0);
    decode_encoded(&enc);
    for (int i = 0; i < save->num_parts; i++) {
        decode(save->parts[i].iov_base, save->parts[i].iov_len);
        bytes += save->parts[i].iov_len;
    }
    assert_int_equal(bytes, save->bytes);
    assert_int_equal(pages, save->normal + save->zero);
    encode_ram_end(&enc);
    encode_section_footer(&enc, 0);
    decode_encoded(&enc);
    return pages;
}

static uint64_t carry_all(void)
{
    uint64_t sum = 0;

    begin_stream();
    for (uint64_t n = carry_piece(); n > 0; n = carry_piece())
        sum += n;
    vfm_decoder_free(dec);
    return sum;
}

static void check_same(void)
{
    assert_memory_equal(a.main, b.main, PAGES * PAGE);
    assert_memory_equal(a.rom, b.rom, ROM * PAGE);
}

/* --------------------------------------------------------------- tests */

static void empty_memory_goes_over_as_nothing(void **state)
{
    unsigned char resident[PAGES];

    (void)state;
    assert_int_equal(carry_all(), PAGES + ROM);
    check_same();
    assert_int_equal(load->zero_pages, PAGES + ROM);
    assert_int_equal(load->normal_pages, 0);
    assert_int_equal(save->dirty_pages, 0);
    (void)resident;
}

static void memory_goes_over(void **state)
{
    (void)state;
    srand(3);
    for (size_t i = 0; i < PAGES; i++)
        if (rand() % 3 != 0)
            a.main[i * PAGE + (size_t)rand() % PAGE] = 1;
    a.rom[PAGE - 1] = 9;
    assert_int_equal(carry_all(), PAGES + ROM);
    check_same();
}

/* A page that was something and is zero now. */
static void what_became_empty_becomes_empty(void **state)
{
    (void)state;
    memset(a.main, 5, PAGES * PAGE);
    carry_all();
    memset(a.main + 7 * PAGE, 0, PAGE);
    bitmap_set(save->dirty[0], 7);
    ram_save_settle(save, false);
    assert_int_equal(carry_all(), 1);
    check_same();
}

static void what_is_blind_waits_for_the_end(void **state)
{
    (void)state;
    /* "rom" is mapped nowhere. */
    assert_int_equal(save->blind_pages, ROM);
    carry_all();
    memset(a.rom, 1, ROM * PAGE);
    memset(a.main, 1, PAGE);
    bitmap_set(save->dirty[0], 0);
    bitmap_set(save->dirty[1], 0);
    ram_save_settle(save, false);
    assert_int_equal(save->dirty_pages, 1);
    assert_int_equal(carry_all(), 1);
    assert_int_equal(b.rom[0], 0);
    ram_save_settle(save, true);
    assert_int_equal(save->dirty_pages, ROM);
    assert_int_equal(carry_all(), ROM);
    check_same();
}

static void all_is_blind_when_nobody_watches(void **state)
{
    (void)state;
    ram_save_mark_all_blind(save);
    assert_int_equal(save->blind_pages, PAGES + ROM);
    carry_all();
    memset(a.main, 3, PAGES * PAGE);
    ram_save_settle(save, true);
    assert_int_equal(carry_all(), PAGES + ROM);
    check_same();
}

static void a_block_that_differs_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ram_load_block(load, "vga", PAGE, &err), -ENODEV);
    assert_string_equal(err.message,
                        "ram: the source has a block \"vga\" of 4096 bytes, "
                        "for which none is waiting");
    assert_int_equal(ram_load_block(load, "rom", PAGE, &err), -ENODEV);
    assert_string_equal(err.message, "ram: the source's block \"rom\" has 4096 "
                                     "bytes, ours 12288");
}

static void a_block_that_is_missing_is_noticed(void **state)
{
    struct ram_load *fresh;

    (void)state;
    assert_int_equal(ram_load_new(b.ram, &fresh), 0);
    assert_int_equal(ram_load_block(fresh, "rom", ROM * PAGE, &err), 0);
    assert_int_equal(ram_load_list_over(fresh, &err), -ENODEV);
    assert_string_equal(err.message, "ram: the source has no block \"main\"");
    ram_load_free(fresh);
}

static void pages_of_another_size_are_refused(void **state)
{
    (void)state;
    assert_int_equal(ram_load_page(load, "main", 0, a.main, 1024, &err),
                     -EOPNOTSUPP);
    assert_int_equal(ram_load_page(load, "main", 1024, NULL, 0, &err),
                     -EOPNOTSUPP);
}

static void what_makes_no_memory_is_refused(void **state)
{
    struct vfm_ram_block block = {
        .size = sizeof(block), .name = "x", .bytes = PAGE, .memory = a.rom
    };
    struct vfm_ram_block bad;

    (void)state;
    bad = block;
    bad.name = "";
    assert_int_equal(vfm_ram_add_block(a.ram, &bad, &err), -EINVAL);
    bad = block;
    bad.bytes = PAGE + 1;
    assert_int_equal(vfm_ram_add_block(a.ram, &bad, &err), -EINVAL);
    bad.bytes = 0;
    assert_int_equal(vfm_ram_add_block(a.ram, &bad, &err), -EINVAL);
    bad = block;
    bad.memory = a.rom + 1;
    assert_int_equal(vfm_ram_add_block(a.ram, &bad, &err), -EINVAL);
    bad = block;
    bad.memory = NULL;
    bad.fd = -1;
    assert_true(vfm_ram_add_block(a.ram, &bad, &err) < 0);
    bad = block;
    bad.name = "rom";
    assert_int_equal(vfm_ram_add_block(a.ram, &bad, &err), -EEXIST);
    bad = block;
    bad.size = sizeof(bad) + 8;
    assert_true(vfm_ram_add_block(a.ram, &block, &err) == 0);
    assert_int_equal(vfm_ram_bytes(a.ram), (PAGES + ROM + 1) * PAGE);
}

static void what_makes_no_mapping_is_refused(void **state)
{
    (void)state;
    assert_int_equal(vfm_ram_add_mapping(a.ram, "no", 0, 1 << 30, PAGE, &err),
                     -ENOENT);
    assert_int_equal(vfm_ram_add_mapping(a.ram, "rom", 0, 0, PAGE, &err),
                     -EEXIST);
    assert_int_equal(
        vfm_ram_add_mapping(a.ram, "rom", 0, 1 << 30, (ROM + 1) * PAGE, &err),
        -EINVAL);
    assert_int_equal(vfm_ram_add_mapping(a.ram, "rom", 1, 1 << 30, PAGE, &err),
                     -EINVAL);
    assert_int_equal(vfm_ram_add_mapping(a.ram, "rom", 0, ~UINT64_C(0) - 4095,
                                         2 * PAGE, &err),
                     -EINVAL);
    assert_int_equal(vfm_ram_add_mapping(a.ram, "rom", 0, 1 << 30, 0, &err),
                     -EINVAL);
    assert_int_equal(vfm_ram_add_mapping(a.ram, "rom", UINT64_MAX - 4095,
                                         1 << 30, 2 * PAGE, &err),
                     -EINVAL);
    /* Two places for the same page are fine. */
    assert_int_equal(vfm_ram_add_mapping(a.ram, "rom", 0, 1 << 30, PAGE, &err),
                     0);
    assert_int_equal(vfm_ram_add_mapping(a.ram, "rom", 0, 2 << 29, PAGE, &err),
                     -EEXIST);
    assert_int_equal(vfm_ram_add_mapping(a.ram, "rom", 0, 3 << 29, PAGE, &err),
                     0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty_memory_goes_over_as_nothing),
        TEST(memory_goes_over),
        TEST(what_became_empty_becomes_empty),
        TEST(what_is_blind_waits_for_the_end),
        TEST(all_is_blind_when_nobody_watches),
        TEST(a_block_that_differs_is_refused),
        TEST(a_block_that_is_missing_is_noticed),
        TEST(pages_of_another_size_are_refused),
        TEST(what_makes_no_memory_is_refused),
        TEST(what_makes_no_mapping_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
