/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log that the device keeps of its own DMA: VFIO_DEVICE_FEATURE, features
 * DMA_LOGGING_START, _STOP and _REPORT.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/vfio/kernel.h"

#define LOG_PAGE_SIZE   UINT64_C(4096)

/* The kernel takes a page of ranges and no more. */
#define LOG_RANGES_MAX  256

/* One report's: its bitmap has half a megabyte. */
#define LOG_PIECE_BYTES (UINT64_C(16) << 30)

static int by_address(const void *a, const void *b)
{
    const struct device_range *x = a;
    const struct device_range *y = b;

    return (x->address > y->address) - (x->address < y->address);
}

/* Those that touch each other become one. */
static void join(struct kernel_device *k)
{
    size_t last = 0;

    qsort(k->ranges, k->num_ranges, sizeof(*k->ranges), by_address);
    for (size_t i = 1; i < k->num_ranges; i++) {
        struct device_range *to = &k->ranges[last];

        if (to->address + to->length == k->ranges[i].address)
            to->length += k->ranges[i].length;
        else
            k->ranges[++last] = k->ranges[i];
    }
    k->num_ranges = k->num_ranges > 0 ? last + 1 : 0;
}

/* Too many: all from the first byte to the last.  What is not mapped in
 * between nobody can write. */
static void cover(struct kernel_device *k)
{
    const struct device_range *last = &k->ranges[k->num_ranges - 1];

    k->ranges[0].length = last->address + last->length - k->ranges[0].address;
    k->num_ranges = 1;
}

static int set_ranges(struct kernel_device *k,
                      const struct device_range *ranges, size_t n)
{
    free(k->ranges);
    k->num_ranges = 0;
    k->ranges = calloc(n + 1, sizeof(*k->ranges));
    if (k->ranges == NULL)
        return -ENOMEM;
    if (n > 0)
        memcpy(k->ranges, ranges, n * sizeof(*k->ranges));
    k->num_ranges = n;
    join(k);
    if (k->num_ranges > LOG_RANGES_MAX)
        cover(k);
    return 0;
}

int log_start(struct kernel_device *k, const struct device_call *call)
{
    struct {
        struct uapi_feature feature;
        struct uapi_log_control control;
    } arg = { .control.page_size = LOG_PAGE_SIZE };
    int ret = set_ranges(k, call->ranges, call->num_ranges);

    if (ret < 0)
        return ret;
    /* struct device_range is the kernel's. */
    arg.control.num_ranges = (uint32_t)k->num_ranges;
    arg.control.ranges = (uintptr_t)k->ranges;
    return kernel_feature(k, UAPI_FEATURE_SET | UAPI_FEATURE_LOG_START, &arg,
                          sizeof(arg));
}

int log_stop(struct kernel_device *k)
{
    struct uapi_feature arg;

    return kernel_feature(k, UAPI_FEATURE_SET | UAPI_FEATURE_LOG_STOP, &arg,
                          sizeof(arg));
}

static int report_piece(struct kernel_device *k, const struct device_call *call,
                        uint64_t address, uint64_t length, uint64_t *bitmap)
{
    uint64_t pages = length / LOG_PAGE_SIZE;
    struct {
        struct uapi_feature feature;
        struct uapi_log_report report;
    } arg = {
        .report.iova = address,
        .report.length = length,
        .report.page_size = LOG_PAGE_SIZE,
        .report.bitmap = (uintptr_t)bitmap,
    };
    int ret;

    memset(bitmap, 0, (size_t)((pages + 63) / 64 * sizeof(*bitmap)));
    ret = kernel_feature(k, UAPI_FEATURE_GET | UAPI_FEATURE_LOG_REPORT, &arg,
                         sizeof(arg));
    if (ret == 0)
        call->mark(call->opaque, address, LOG_PAGE_SIZE, bitmap, pages);
    return ret;
}

static int report_range(struct kernel_device *k, const struct device_call *call,
                        const struct device_range *range, uint64_t *bitmap)
{
    int ret = 0;

    for (uint64_t at = 0; ret == 0 && at < range->length;) {
        uint64_t left = range->length - at;
        uint64_t length = left < LOG_PIECE_BYTES ? left : LOG_PIECE_BYTES;

        ret = report_piece(k, call, range->address + at, length, bitmap);
        at += length;
    }
    return ret;
}

int log_report(struct kernel_device *k, const struct device_call *call)
{
    uint64_t *bitmap = malloc(LOG_PIECE_BYTES / LOG_PAGE_SIZE / 8);
    int ret = bitmap == NULL ? -ENOMEM : 0;

    for (size_t i = 0; ret == 0 && i < k->num_ranges; i++)
        ret = report_range(k, call, &k->ranges[i], bitmap);
    free(bitmap);
    return ret;
}
