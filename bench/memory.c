/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done to all of memory, against what the processor and its memory can
 * do at all, in one run: looking for zeroes against memcmp() and memcpy(), and
 * bitmaps against memcpy() of the same bytes.
 *
 *     bench-memory       prints a table: medians, as ratios
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "dirty/bitmap.h"
#include "util/zero.h"

#define PAGE      4096
#define ROUNDS    9
#define IN_CACHE  ((size_t)256 << 10)
#define IN_MEMORY ((size_t)256 << 20)
/* What is small is done again and again, so that a round takes a while. */
#define BYTES     ((size_t)512 << 20)

static uint8_t *a, *b;
static uint8_t zeroes[PAGE] __attribute__((aligned(PAGE)));
static volatile uint64_t result; /* what nobody may optimize away */

typedef void work_fn(size_t size);

static void do_memcpy(size_t size)
{
    memcpy(b, a, size);
    result += b[size / 2];
}

static void do_memcmp(size_t size)
{
    int differs = 0;

    for (size_t i = 0; i < size; i += PAGE)
        differs += memcmp(a + i, zeroes, PAGE) != 0;
    result += (uint64_t)differs;
}

static enum zero_way way;

static void do_zero(size_t size)
{
    for (size_t i = 0; i < size; i += PAGE)
        result += zero_is_all_by(way, a + i, PAGE);
}

static void do_merge(size_t size)
{
    bitmap_merge((uint64_t *)(void *)b, 0, (uint64_t *)(void *)a, 0, size * 8);
}

static void do_count(size_t size)
{
    result += bitmap_count((uint64_t *)(void *)a, 0, size * 8);
}

static void do_walk(size_t size)
{
    const uint64_t *map = (uint64_t *)(void *)a;
    uint64_t bits = size * 8;

    for (uint64_t bit = bitmap_next(map, 0, bits); bit < bits;
         bit = bitmap_next(map, bit + 1, bits))
        result++;
}

static double seconds(work_fn *work, size_t size)
{
    struct timespec from, to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t done = 0; done < BYTES; done += size)
        work(size);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (double)(to.tv_sec - from.tv_sec) +
           (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static int by_value(const void *x, const void *y)
{
    double d = *(const double *)x - *(const double *)y;

    return (d > 0) - (d < 0);
}

/* The median of @floor's time over @work's, which take turns. */
static double compare(work_fn *work, work_fn *floor, size_t size, double *rate)
{
    double ratios[ROUNDS];
    double times[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        double theirs = seconds(floor, size);

        times[i] = seconds(work, size);
        ratios[i] = theirs / times[i];
    }
    qsort(ratios, ROUNDS, sizeof(ratios[0]), by_value);
    qsort(times, ROUNDS, sizeof(times[0]), by_value);
    *rate = (double)BYTES / times[ROUNDS / 2] / 1e9;
    return ratios[ROUNDS / 2];
}

static void print(const char *name, work_fn *work, work_fn *floor,
                  const char *floor_name)
{
    double rate[2];
    double cache = compare(work, floor, IN_CACHE, &rate[0]);
    double memory = compare(work, floor, IN_MEMORY, &rate[1]);

    printf("%-28s%-10s%10.2f%10.1f%10.2f%10.1f\n", name, floor_name, cache,
           rate[0], memory, rate[1]);
    fflush(stdout);
}

static void print_zero(void)
{
    char name[32];

    memset(a, 0, IN_MEMORY);
    for (int i = 0; i < ZERO_NUM_WAYS; i++) {
        way = (enum zero_way)i;
        if (!zero_way_is_usable(way))
            continue;
        snprintf(name, sizeof(name), "zero pages, %s", zero_way_name(way));
        print(name, do_zero, do_memcmp, "memcmp");
        print("", do_zero, do_memcpy, "memcpy");
    }
}

/* One page in @step is dirty. */
static void set_density(unsigned int step)
{
    memset(a, 0, IN_MEMORY);
    for (uint64_t bit = 0; bit < IN_MEMORY * 8; bit += step)
        bitmap_set((uint64_t *)(void *)a, bit);
}

static void print_bitmaps(void)
{
    set_density(3);
    print("bitmap, merge", do_merge, do_memcpy, "memcpy");
    print("bitmap, count", do_count, do_memcpy, "memcpy");
    set_density(100000);
    print("bitmap, walk, 1 in 100000", do_walk, do_memcpy, "memcpy");
    set_density(1000);
    print("bitmap, walk, 1 in 1000", do_walk, do_memcpy, "memcpy");
}

int main(void)
{
    a = mmap(NULL, IN_MEMORY, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    b = mmap(NULL, IN_MEMORY, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (a == MAP_FAILED || b == MAP_FAILED) {
        perror("bench-memory");
        return 1;
    }
    printf("%-28s%-10s%10s%10s%10s%10s\n", "", "floor", "in cache", "GB/s",
           "memory", "GB/s");
    print_zero();
    print_bitmaps();
    return 0;
}
