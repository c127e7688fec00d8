/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The paths whose instructions are counted, each by itself, for callgrind: what
 * it counts is the same in every run on one build, whatever else runs.
 *
 *     instructions WHAT TIMES     prints the units of work in one time
 *
 * The difference of two TIMES is the work without the program's start.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vfmig/stream.h>

#include "dirty/bitmap.h"
#include "stream/encoder.h"
#include "util/zero.h"

#define PAGE       4096
#define BITS       (UINT64_C(1) << 20) /* of a bitmap: 4 GiB of pages */
#define PAGES      1024
#define RECORDS    256 /* of a page each */
#define SECTION    "0000:00:01.0/vfio"
#define RECORD_MAX (PAGE + 2 * ENCODER_PIECE_MAX)

static uint64_t a[BITS / 64], b[BITS / 64];
static uint8_t pages[PAGES * PAGE] __attribute__((aligned(PAGE)));
static uint8_t stream[(RECORDS + 1) * RECORD_MAX];
static volatile uint64_t result; /* what nobody may optimize away */

static void die(const char *what)
{
    fprintf(stderr, "instructions: %s\n", what);
    exit(1);
}

/* A stream of a device's state; returns its length. */
static size_t encode(void)
{
    struct encoder enc;
    size_t len;

    encoder_init(&enc, stream, sizeof(stream));
    encode_header(&enc);
    encode_configuration(&enc, "vfmig");
    encode_section_begin(&enc, VFM_SECTION_START, 1, SECTION, 0, 1);
    encode_vfio_setup(&enc);
    encode_section_footer(&enc, 1);
    for (int i = 0; i < RECORDS; i++) {
        encode_section_continue(&enc, VFM_SECTION_PART, 1);
        encode_vfio_data_head(&enc, PAGE);
        /* The data is where it is; in a real stream nobody copies it. */
        enc.len += PAGE;
        encode_vfio_end(&enc);
        encode_section_footer(&enc, 1);
    }
    if (encoder_finish(&enc, &len, NULL) < 0)
        die("the stream does not fit");
    return len;
}

static void decode(size_t len)
{
    struct vfm_decoder *dec;
    struct vfm_stream_event event;
    struct vfm_error err = { 0 };
    const uint8_t *p = stream;
    size_t used;
    int ret;

    if (vfm_decoder_new(NULL, &dec, &err) < 0)
        die(err.message);
    while ((ret = vfm_decoder_next(dec, p, len, &used, &event, &err)) == 1) {
        p += used;
        len -= used;
        result += event.len;
    }
    if (ret < 0)
        die(err.message);
    vfm_decoder_free(dec);
}

static void do_encode(void)
{
    result += encode();
}

static void do_decode(void)
{
    static size_t len;

    if (len == 0)
        len = encode();
    decode(len);
}

static void do_merge(void)
{
    bitmap_merge(b, 0, a, 0, BITS);
}

static void do_merge_shifted(void)
{
    bitmap_merge(b, 5, a, 0, BITS - 64);
}

static void do_next(void)
{
    for (uint64_t i = bitmap_next(a, 0, BITS); i < BITS;
         i = bitmap_next(a, i + 1, BITS))
        result += i;
}

static void do_count(void)
{
    result += bitmap_count(a, 0, BITS);
}

static void do_zero(void)
{
    for (size_t i = 0; i < PAGES; i++)
        result += zero_is_all(pages + i * PAGE, PAGE);
}

static const struct {
    const char *name;
    void (*run)(void);
    unsigned long units;
} paths[] = {
    { "encode", do_encode, RECORDS },
    { "decode", do_decode, RECORDS },
    { "merge", do_merge, BITS / 64 },
    { "merge-shifted", do_merge_shifted, BITS / 64 },
    { "next", do_next, BITS / 64 },
    { "count", do_count, BITS / 64 },
    { "zero", do_zero, PAGES },
};

int main(int argc, char **argv)
{
    int times = argc == 3 ? atoi(argv[2]) : 0;

    /* Every eighth page was written. */
    for (size_t i = 0; i < BITS / 64; i++)
        a[i] = UINT64_C(0x0101010101010101);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && times > 0; i++) {
        if (strcmp(paths[i].name, argv[1]) != 0)
            continue;
        for (int n = 0; n < times; n++)
            paths[i].run();
        printf("%lu\n", paths[i].units);
        return 0;
    }
    fprintf(stderr, "usage: instructions encode|decode|merge|merge-shifted|"
                    "next|count|zero TIMES\n");
    return 2;
}
