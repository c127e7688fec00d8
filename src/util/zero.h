/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_UTIL_ZERO_H
#define VFM_SRC_UTIL_ZERO_H

#include <stdbool.h>
#include <stddef.h>

/* What @len and the address of a buffer must be multiples of. */
#define ZERO_ALIGNMENT 64

/* Whether all of @len bytes at @buf are 0.  Most that are not differ early,
 * and are not read any further.  As wide as the processor's registers are,
 * which is asked each time: that is a load. */
bool zero_is_all(const void *buf, size_t len);

/* The same, by one way to do it.  For tests and for the bench. */
enum zero_way { ZERO_SCALAR, ZERO_AVX2, ZERO_AVX512, ZERO_NUM_WAYS };
const char *zero_way_name(enum zero_way way);
/* Whether this processor has what it takes. */
bool zero_way_is_usable(enum zero_way way);
bool zero_is_all_by(enum zero_way way, const void *buf, size_t len);

#endif
