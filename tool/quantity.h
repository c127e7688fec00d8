/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_TOOL_QUANTITY_H
#define VFM_TOOL_QUANTITY_H

/*
 * Quantities as people write them on a command line.
 *
 * All return 0, or -EINVAL and in @err what is wrong, naming the word.
 */

#include <stdint.h>

#include <vfmig/error.h>

/* A number of bytes: "65536", "64K", "1.5G"; K, M, G, T count in 1024s and may
 * be spelled KiB and so on, in any case. */
int quantity_parse_size(const char *text, uint64_t *bytes,
                        struct vfm_error *err);

/* A time: "300" and "300ms", "2s", "10min"; up to 49 days. */
int quantity_parse_time(const char *text, uint32_t *ms, struct vfm_error *err);

/* A plain decimal number up to @max. */
int quantity_parse_number(const char *text, uint64_t max, uint64_t *number,
                          struct vfm_error *err);

#endif
