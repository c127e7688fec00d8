/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_BRIDGE_BACKING_H
#define VFM_BRIDGE_BACKING_H

/*
 * What is behind an address of this process: a file that it shares and has
 * open, whose descriptor another process can be given; or nothing of the kind.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Finds the file that all of @size bytes at @address are mapped from, shared.
 * Returns a new descriptor and the offset of the first byte in it, or
 * -ENOENT. */
int backing_find(uint64_t address, uint64_t size, bool writable,
                 uint64_t *offset);

#endif
