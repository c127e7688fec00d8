/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_EMULATOR_AREA_H
#define VFM_EMULATOR_AREA_H

/*
 * Memory of the client through which the device's state goes.
 *
 * The client may write to it at any time: what is read there twice may differ.
 */

#include <stdint.h>

/* The most that is mapped. */
#define AREA_SIZE_MAX (UINT64_C(64) << 20)

/* Bytes after the client's that may be written, too. */
#define AREA_SLACK    64u

struct area {
    uint8_t *base; /* NULL: there is none */
    uint64_t size;
    uint64_t mapped; /* at @base: the client's and what comes after them */
};

/* Maps @size bytes of @fd, which stays the caller's, and AREA_SLACK of nobody
 * after them, for a device that writes more than it should.
 *   -EEXIST  there is one already
 *   -EINVAL  not that many bytes, more than AREA_SIZE_MAX, or memory that could
 *            be taken away while it is in use */
int area_map(struct area *a, int fd, uint64_t size);

void area_unmap(struct area *a);

/* Where the @size bytes at @offset are; NULL if they are not all in it. */
uint8_t *area_at(const struct area *a, uint64_t offset, uint64_t size);

#endif
